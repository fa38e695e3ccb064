# `make demo` shows what it does, `make test` proves it. Both need Python 3.11 or newer and nothing else.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(p)),$(p))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install demo docs check test lowest pythons weight coverage chaos bench results house walks reference api wheel lint format clean

help:
	@echo "make install  set up .venv with the package and its extras"
	@echo "make demo     learn, keep, inject and measure, with real models on this machine"
	@echo "make check    format, lint, types, layers, and the quick tests (within a minute)"
	@echo "make test     the same with all tests (minutes); docs/tests.md says what runs where"
	@echo "make lowest   the integrations' tests on the lowest versions that pyproject.toml declares"
	@echo "make pythons  the tests of the fundamentals on each Python that pyproject.toml names"
	@echo "make weight   how many packages and megabytes an installation brings"
	@echo "make coverage the tests once more, with the lines that they reach (takes twice as long)"
	@echo "make chaos    the fault tests at full size, with figures (needs time)"
	@echo "make bench    measure speed, beside peers, into docs/results/benchmarks.md (8 minutes); ARGS='loading sharing' for areas"
	@echo "make results  measure the method with real models, into docs/results (stops after two hours, goes on when run again)"
	@echo "make house    how the code reads, in numbers: long files, dense lines, functions with many paths"
	@echo "make walks    the way of four things through the package: functions, files, and how often one goes back"
	@echo "make docs     build the documentation site into site/, warnings are errors; ARGS=serve shows it while one writes"
	@echo "make reference write docs/reference.md, docs/cli-json.md and docs/reference/ anew: what users may import and parse, commands, settings"
	@echo "make api      whether what users may import has lost anything that the changelog does not name"
	@echo "make wheel    build wheel and source archive; install and use the wheel with no extra, and with each"
	@echo "make lint     only format, lint, types and layers"
	@echo "make format   format the code"
	@echo "make clean    remove .venv (data in .ted-memory and downloaded models stay)"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ted-memory needs Python 3.11 or newer; say which one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing ted-memory and its extras into .venv ..."
	@$(PIP) install --quiet --editable '.[local]' 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(BIN)/python -c 'import ted_memory, langchain_openai'
	@touch $@

.venv/developed: .venv/installed
	@echo "installing what the tests need ..."
	@$(PIP) install --quiet --editable '.[dev]' 2>&1 | { grep -v '^WARNING: Location' || true; }
	@$(BIN)/python -c 'import pytest, mypy'
	@touch $@

install: .venv/installed

demo: .venv/installed
	@$(BIN)/python -m examples.demo $(ARGS)

lint: .venv/developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m bench.api

# Tests wait for servers and processes about half of their time: twice as many workers as cores of a small machine. Their order
# is random; the seed is printed, and ARGS=--randomly-seed=N takes it again. What tests draw is not seeded, or all workers
# would draw the same ports.
WORKERS ?= 4
PYTEST := $(BIN)/python -m pytest --dist loadgroup --randomly-dont-reset-seed

# the rules without their simulations, how texts are found, graded and read, what documents name, and the fundamentals
SIMULATED := $(patsubst %,tests/experience/test_%.py,betting forecast lift_simulation rendering_fuzz trials_simulation)
QUICK := $(filter-out $(SIMULATED),$(wildcard tests/experience/test_*.py)) \
	tests/retrieval tests/grading tests/datasets tests/fundamentals \
	$(patsubst %,tests/test_%.py,documents face house memory reference settings site)

check: lint
	$(PYTEST) -n 2 $(QUICK) $(ARGS)

test: lint
	$(PYTEST) -n $(WORKERS) $(ARGS)

LOWEST := .venv-lowest
UV := $(LOWEST)/tools/bin/uv

# The wheel is what is tested: the tests run in a folder that has no source of the package.
WHEEL = $(abspath $(wildcard $(LOWEST)/dist/*.whl))
BESIDE := tests bench examples docs graphs README.md pyproject.toml

.PHONY: built
built: .venv/developed
	@rm -rf $(LOWEST)/dist $(LOWEST)/run
	@$(BIN)/python -m build --outdir $(LOWEST)/dist . > /dev/null
	@mkdir $(LOWEST)/run
	@for name in $(BESIDE); do ln -s ../../$$name $(LOWEST)/run/$$name; done
	@$(PYTHON) -m venv --clear $(LOWEST)/tools
	@$(LOWEST)/tools/bin/python -m pip --disable-pip-version-check install --quiet uv

lowest: built
	@$(UV) venv --quiet --clear --python $(PYTHON) $(LOWEST)/env
	@$(UV) pip install --quiet --python $(LOWEST)/env --resolution lowest-direct \
		'$(WHEEL)[langchain]' -r pyproject.toml --extra langchain
	@$(UV) pip freeze --python $(LOWEST)/env | grep -v '^ted-memory' > $(LOWEST)/versions.txt
	@$(UV) pip install --quiet --python $(LOWEST)/env --constraint $(LOWEST)/versions.txt \
		'hypothesis>=6.120' 'packaging' 'pytest>=8.3' 'pytest-asyncio>=1.0' 'pytest-timeout>=2.3'
	cd $(LOWEST)/run && TED_MEMORY_CHAOS=full ../env/bin/python -m pytest -p no:anyio --timeout 600 \
		tests/integrations tests/fundamentals tests/test_base_install.py $(ARGS)
	@cd $(LOWEST)/run && ../env/bin/python -m tests.bounds > tests/lowest.txt

EXTRAS := langchain math data plots embeddings web otel local

wheel: built
	@set -e; cp tests/installed.py $(LOWEST)/dist; \
	for extra in '' $(EXTRAS); do \
		$(UV) venv --quiet --clear --python $(PYTHON) $(LOWEST)/wheel; \
		$(UV) pip install --quiet --python $(LOWEST)/wheel "$(WHEEL)$${extra:+[$$extra]}"; \
		$(LOWEST)/wheel/bin/python $(LOWEST)/dist/installed.py $$extra; \
	done

PYTHONS := python3.11 python3.12 python3.13

pythons: built
	@: > $(LOWEST)/pythons.txt
	@set -e; for python in $(PYTHONS); do \
		$(UV) venv --quiet --clear --python $$python $(LOWEST)/any; \
		$(UV) pip install --quiet --python $(LOWEST)/any '$(WHEEL)[langchain]' \
			'hypothesis>=6.120' 'packaging' 'pytest>=8.3' 'pytest-asyncio>=1.0' 'pytest-timeout>=2.3'; \
		(cd $(LOWEST)/run && ../any/bin/python -m pytest -p no:anyio tests/fundamentals tests/test_base_install.py $(ARGS)); \
		(cd $(LOWEST)/run && ../any/bin/python -m tests.bounds --python) >> $(LOWEST)/pythons.txt; \
	done
	@mv $(LOWEST)/pythons.txt tests/pythons.txt

weight: .venv/installed
	@$(BIN)/python -m bench.weight

coverage: .venv/developed
	$(PYTEST) -n $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)

chaos: .venv/developed
	TED_MEMORY_CHAOS=full $(BIN)/python -m pytest tests/chaos -p no:xdist -p no:randomly -v $(ARGS)

results: .venv/developed
	$(BIN)/python -m examples.results $(ARGS)

house: .venv/installed
	@$(BIN)/python -m bench.house $(ARGS)

reference: .venv/installed
	@$(BIN)/python -m bench.reference
	@$(BIN)/python -m bench.cli_json

api: .venv/installed
	@$(BIN)/python -m bench.api $(ARGS)

# build, or serve: mkdocs' own words
ARGS ?=
docs: .venv/developed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(or $(ARGS),build --strict)

walks: .venv/installed
	@$(BIN)/python -m bench.walks $(ARGS)

bench: .venv/developed
	@$(BIN)/python -m bench.peers
	@$(BIN)/python -m bench $(ARGS)

format: .venv/developed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-lowest .venv-peers
