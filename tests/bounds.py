"""The lowest versions that the package declares, and which of them are installed.

``python -m tests.bounds`` writes that for this environment.

``make lowest`` installs them, runs the tests of the integrations on them, and keeps the list in
tests/lowest.txt. ``make pythons`` runs some tests on each Python that is declared, and keeps their
versions in tests/pythons.txt.
"""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
TESTED = Path(__file__).parent / "lowest.txt"
PYTHONS = Path(__file__).parent / "pythons.txt"
EXTRAS = ("langchain",)
"""Of the optional packages, those that agents need."""


def declared(pyproject: str) -> dict[str, Version]:
    """The lower bounds of Python and of each package that the base and the integrations need."""
    project = tomllib.loads(pyproject)["project"]
    lines = [
        *project["dependencies"],
        *(line for e in EXTRAS for line in project["optional-dependencies"][e]),
    ]
    requirements = [Requirement(f"python{project['requires-python']}"), *map(Requirement, lines)]
    return {
        r.name: Version(s.version) for r in requirements for s in r.specifier if s.operator == ">="
    }


def read(tested: str) -> dict[str, Version]:
    """Return the versions of a list with a line for each package, such as ``redis==6.0.0``."""
    pairs = (line.partition("==") for line in tested.splitlines() if not line.startswith("#"))
    return {name: Version(number) for name, _, number in pairs}


def classified(pyproject: str) -> set[str]:
    """Return the versions of Python that the package's page names."""
    prefix = "Programming Language :: Python :: "
    lines = tomllib.loads(pyproject)["project"]["classifiers"]
    return {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}


def main() -> None:
    """Write the installed versions of what has a bound; with ``--python`` that of Python alone."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.argv[1:] == ["--python"]:
        print(python)
        return
    print("# What `make lowest` tested; it writes this.")
    for name in sorted(declared((ROOT / "pyproject.toml").read_text())):
        print(f"{name}=={python if name == 'python' else version(name)}")


if __name__ == "__main__":
    main()
