"""Rules of the house that no linter knows."""

import ast
import fnmatch
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ted_memory
from bench import house, walks

ROOT = Path(__file__).parent.parent
FOLDERS = ("ted_memory", "graphs", "examples", "bench", "tests")
FUNCTION_LIMIT = 60
TEXT = {".py", ".md", ".lua", ".toml", ".json", ".jsonl", ".yml", ".yaml", ".ini", ".cfg", ""}

# written so that this file does not find itself
LEFTOVERS = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")
OF_ONE_MACHINE = re.compile(r"/(root|work|Users|home)/\w|/tmp/\w+/")


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (ROOT / folder).rglob("*.py")


def modules() -> list[str]:
    return [found.name for found in pkgutil.walk_packages(ted_memory.__path__, "ted_memory.")]


# parsed at import: CPython 3.11's parser can fail when the garbage collector steps in after a long
# test run
TREES = {source: ast.parse(source.read_text(encoding="utf-8")) for source in sources()}


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Every line of ours in which something stands that should not."""
    found = [*ROOT.glob("*"), *(ROOT / ".ci").rglob("*"), ROOT / ".pre-commit-config.yaml"]
    for folder in FOLDERS:
        found += (ROOT / folder).rglob("*")
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in found
        if path.is_file()
        and path.suffix in TEXT
        and path.name != ".git"
        and not path.name.startswith(".coverage")
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
        if pattern.search(line)
    ]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_sources_are_found() -> None:
    assert {source.relative_to(ROOT).parts[0] for source in sources()} == set(FOLDERS)
    assert "ted_memory.storage.embedded.server" in modules()


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{source.relative_to(ROOT)}:{function.lineno} {function.name}"
        for source, tree in TREES.items()
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LIMIT
    ]
    assert long == []


def test_tests_are_functions_with_sentences_for_names() -> None:
    for source, tree in TREES.items():
        if not source.name.startswith("test_"):
            continue
        classes = [
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        ]
        assert classes == [], source.name
        names = [f.name for f in functions(tree) if f.name.startswith("test_")]
        assert len(names) == len(set(names)), f"a test of {source.name} hides another one"
        assert [name for name in names if name.count("_") < 3] == [], source.name


@pytest.mark.parametrize("name", ["ted_memory", *modules()])
def test_every_module_can_be_imported_and_says_what_it_is(name: str) -> None:
    if name == "ted_memory.__main__":
        return  # runs the command line
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"


def test_every_prompt_and_script_is_shipped_beside_the_code_that_reads_it() -> None:
    package = Path(ted_memory.__file__).parent
    from ted_memory.distill.profiles import PLACEHOLDERS

    for folder in (
        path for path in (package / "distill" / "profiles").iterdir() if any(path.glob("*.md"))
    ):
        assert {path.stem for path in folder.glob("*.md")} | {"labels", "example"} == set(
            PLACEHOLDERS
        ), folder.name
    for script in (package / "storage" / "redis" / "lua").glob("*.lua"):
        assert script.read_text(encoding="utf-8").startswith("-- "), f"{script.name} has no head"


def test_only_the_settings_read_the_environment() -> None:
    package = Path(ted_memory.__file__).parent
    reads = re.compile(r"\bos\.(environ|getenv)|from os import .*(environ|getenv)")
    assert [
        path.name
        for path in package.rglob("*.py")
        if reads.search(path.read_text(encoding="utf-8"))
    ] == ["settings.py"]


def test_contracts_hold_for_a_file_when_it_is_born(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "ted_memory", tmp_path / "ted_memory", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    born = {
        "capture/born.py": ("import redis", "Only storage speaks Redis"),
        "memory/born.py": (
            "from langchain_core.messages import AIMessage",
            "The core does not know LangChain",
        ),
        "distill/born.py": ("import numpy", "Only embeddings need numpy"),
        "cli/born.py": (
            "from ted_memory.storage.redis import keys",
            "Only wiring and testing name a concrete store",
        ),
        "born.py": ("", "An import only points down"),
        "experience/born.py": (
            "from ted_memory.memory import client",
            "An import only points down",
        ),
    }
    for name, (line, _) in born.items():
        (tmp_path / "ted_memory" / name).write_text(f"{line}\n")
    told = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1, told.stderr
    broken = {name for _, name in born.values() if f"{name} BROKEN" in told.stdout}
    assert broken == {name for _, name in born.values()}, told.stdout
    assert "In memory an import only points down BROKEN" in told.stdout, (
        "each file of it has its place"
    )


def test_nothing_is_left_to_be_done_later() -> None:
    assert matches(LEFTOVERS) == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert matches(OF_ONE_MACHINE) == []


def test_a_folder_of_one_machine_would_be_found() -> None:
    slash = "/"
    assert OF_ONE_MACHINE.search(f"see {slash}home/anna/x")
    assert OF_ONE_MACHINE.search(f"{slash}tmp/w/v")
    assert not OF_ONE_MACHINE.search("a socket in /tmp/ted-memory-1000, ~/x or home/anna")


def test_a_source_archive_holds_what_tests_and_makefile_name() -> None:
    """Whoever packages it for a distribution runs the tests from there."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["sdist"]["include"]
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    tracked = listed.stdout.split("\n")
    top = {f"/{name.partition('/')[0]}" for name in tracked if name and not name.startswith(".")}
    always = {"/pyproject.toml"}
    missing = {
        name
        for name in top - always
        if not any(fnmatch.fnmatch(name, pattern) for pattern in included)
    }
    assert missing == set()


def test_the_package_tells_its_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", ted_memory.__version__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ted_memory.nothing  # noqa: B018


def test_the_measure_of_the_house_counts_what_it_says() -> None:
    text = '''
"""No code."""

def public(x, /, way=None):
    """Neither is this."""
    if x and way:  # nor this
        return [y for y in x if y]
    return sum(1 for a in {b for b in x}) if way.get("z") else 0

_private = 1
shown: int = 2
'''
    found = house.Measure()
    found.add(text, "there.py")
    assert found.paths == {"there.py:4 public": 1 + 2 + 2 + 1 + 2}
    assert (found.comprehensions, found.nested, found.unsure, found.public_names) == (3, 1, 1, 2)
    assert (found.code_lines, found.file_lines, found.long_lines) == (6, [11], 0)
    assert found.with_many_paths == []


def test_no_function_of_the_package_has_more_than_ten_paths() -> None:
    """Conditions count as well, which the linter's measure (C901) leaves out."""
    assert house.measure(house.PACKAGE).with_many_paths == []


def test_a_function_of_many_paths_is_found(tmp_path: Path) -> None:
    """The control of it."""
    many = " or ".join(f"x == {i}" for i in range(house.MOST_PATHS))
    (tmp_path / "one.py").write_text(f"def f(x):\n    return 1 if {many} else 0\n", "utf-8")
    [[found, _]] = house.measure(tmp_path).with_many_paths
    assert found.endswith("one.py:1 f")


async def test_a_way_is_told_by_the_files_that_it_goes_back_to() -> None:
    walk = walks.Walk(
        dict.fromkeys([("a.py", "f"), ("a.py", "g"), ("b.py", "f"), ("a.py", "h"), ("c.py", "f")])
    )
    assert walk.files == ["a.py", "b.py", "a.py", "c.py"]
    assert walk.row() == ("5", "3", "3", "1")
    forgotten = await walks.walked("forget")
    assert forgotten.steps
    assert {"memory/curation.py", "memory/forgetting.py", "memory/purging.py"} <= {*forgotten.files}
    assert not any(name.startswith(walks.BESIDE) for name in forgotten.files)
