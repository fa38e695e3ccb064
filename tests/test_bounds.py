"""The lower bounds that are declared are versions on which the tests ran."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.bounds import PYTHONS, ROOT, TESTED, classified, declared, read

PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_what_is_declared_is_what_was_tested() -> None:
    assert declared(PYPROJECT) == read(TESTED.read_text()), (
        "run `make lowest`, and raise what does not hold"
    )


def test_a_bound_that_nobody_tested_is_found() -> None:
    lower = PYPROJECT.replace("langchain>=1.2.11", "langchain>=1.2")
    assert lower != PYPROJECT
    assert declared(lower)["langchain"] == Version("1.2") != read(TESTED.read_text())["langchain"]


def test_every_package_has_a_lower_bound() -> None:
    lines = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    assert {Requirement(line).name for line in lines} <= set(declared(PYPROJECT))
    assert "redis" not in declared(PYPROJECT.replace("redis[hiredis]>=6,<9", "redis[hiredis]<9")), (
        "the control"
    )


def test_the_lowest_python_is_the_one_that_the_lowest_versions_were_tested_on() -> None:
    assert declared(PYPROJECT)["python"] == read(TESTED.read_text())["python"]
    older = PYPROJECT.replace('requires-python = ">=3.11"', 'requires-python = ">=3.10"')
    assert declared(older)["python"] < read(TESTED.read_text())["python"], "the control"


def test_the_pythons_that_are_named_are_those_that_were_tested() -> None:
    assert classified(PYPROJECT) == {*PYTHONS.read_text().split()}, "run `make pythons`"
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tested = sorted(classified(PYPROJECT), key=Version)
    assert f"Python {tested[0]} to {tested[-1]}." in page
    untested = PYPROJECT.replace(f":: {tested[-1]}", ":: 3.99")
    assert "3.99" in classified(untested) - {*PYTHONS.read_text().split()}, "the control"
