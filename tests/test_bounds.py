"""The lower bounds that are declared are versions on which the tests ran."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.bounds import ROOT, TESTED, declared, read

PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_what_is_declared_is_what_was_tested() -> None:
    assert declared(PYPROJECT) == read(TESTED.read_text()), "run `make lowest`, and raise what does not hold"


def test_a_bound_that_nobody_tested_is_found() -> None:
    lower = PYPROJECT.replace("langchain>=1.2.11", "langchain>=1.2")
    assert lower != PYPROJECT
    assert declared(lower)["langchain"] == Version("1.2") != read(TESTED.read_text())["langchain"]


def test_every_package_has_a_lower_bound() -> None:
    lines = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    assert {Requirement(line).name for line in lines} <= set(declared(PYPROJECT))
    assert "redis" not in declared(PYPROJECT.replace("redis[hiredis]>=6,<9", "redis[hiredis]<9")), "the control"
