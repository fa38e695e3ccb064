"""The lowest versions that the package declares: ``python -m tests.bounds`` writes which of them are installed here.

``make lowest`` installs them, runs the tests of the integrations on them, and keeps the list in tests/lowest.txt.
"""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
TESTED = Path(__file__).parent / "lowest.txt"
EXTRAS = ("langchain",)
"""Of the optional packages, those that agents need."""


def declared(pyproject: str) -> dict[str, Version]:
    """Return the lower bound of each package that the base and the integrations need."""
    project = tomllib.loads(pyproject)["project"]
    lines = [*project["dependencies"], *(line for e in EXTRAS for line in project["optional-dependencies"][e])]
    requirements = [Requirement(line) for line in lines]
    return {r.name: Version(s.version) for r in requirements for s in r.specifier if s.operator == ">="}


def read(tested: str) -> dict[str, Version]:
    """Return the versions of a list with a line for each package, such as ``redis==6.0.0``."""
    pairs = (line.partition("==") for line in tested.splitlines() if not line.startswith("#"))
    return {name: Version(number) for name, _, number in pairs}


def main() -> None:
    """Write the installed versions of what has a bound."""
    print("# What `make lowest` tested; it writes this.")
    for name in sorted(declared((ROOT / "pyproject.toml").read_text())):
        print(f"{name}=={version(name)}")


if __name__ == "__main__":
    main()
