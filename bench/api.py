"""``make api``: what users may import has lost or changed nothing that the changelog does not name.

`docs/api.txt` is the public surface as it was last published: every name of the reference with its
parameters and their defaults. What is new may come at any time. What is gone, or is called another
way, has to stand in the changelog's top section by its name. ``make api ARGS=--write`` takes the
surface of now; that is part of publishing a version.
"""

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.reference import PUBLIC, members, names_of

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "docs" / "api.txt"
KINDS = {
    "KEYWORD_ONLY": "*, ",
    "POSITIONAL_ONLY": "/, ",
    "VAR_KEYWORD": "**",
    "VAR_POSITIONAL": "*",
}
CHANGELOG = ROOT / "CHANGELOG.md"


def surface() -> list[str]:
    """Write the public surface: a line for each name and for each parameter."""
    lines: set[str] = set()
    for name in PUBLIC:
        module = importlib.import_module(name)
        for public in names_of(module):
            value = getattr(module, public)
            lines.update(_lines(f"{name}.{public}", value))
            for member in members(value):
                inner = inspect.getattr_static(value, member)
                lines.update(_lines(f"{name}.{public}.{member}", inner))
    return sorted(lines)


def _lines(name: str, value: Any) -> Iterator[str]:
    yield name
    value = getattr(value, "__func__", value)
    if not callable(value):
        return
    if isinstance(value, type) and issubclass(value, BaseModel):
        value.model_rebuild()  # types build themselves at first use: until then it takes anything
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # some classes of others tell none
        return
    for parameter in parameters:
        if parameter.name != "self" and not parameter.name.startswith("_"):
            yield f"{name}({_written(parameter)})"


def _written(parameter: inspect.Parameter) -> str:
    """A parameter as a caller needs to know it; a default that is an object is only there."""
    default = ""
    if parameter.default is not parameter.empty:
        is_plain = isinstance(parameter.default, bool | int | float | str | None)
        default = f"={parameter.default!r}" if is_plain else "=..."
    return f"{KINDS.get(parameter.kind.name, '')}{parameter.name}{default}"


def unnamed(before: list[str], now: list[str], changelog: str) -> list[str]:
    """List what is gone or changed since, and is not named in the changelog's top section."""
    top = changelog.split("\n## ")[1]
    named = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]+)`", top))))
    gone = sorted(set(before) - set(now))
    return [line for line in gone if re.split(r"\W+", line.split("(")[0])[-1] not in named]


def main() -> int:
    """Compare, or write with ``--write``; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="take the surface of now")
    if parser.parse_args().write:
        SNAPSHOT.write_text("\n".join(surface()) + "\n", encoding="utf-8")
        return 0
    before = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    missing = unnamed(before, surface(), CHANGELOG.read_text(encoding="utf-8"))
    for line in missing:
        sys.stderr.write(f"{line} is gone or has changed; name it in the changelog's top section\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
