"""``make reference``: what `--json` prints, command by command, written to ``docs/cli-json.md``.

The keys of a command are those that its help names, and objects within are the models that it
prints. A test runs each command and compares.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from ted_memory.cli import COMMANDS, dead, help_of
from ted_memory.distill import Report
from ted_memory.episodes import DeadLetter, Traffic
from ted_memory.evaluation import Evaluation
from ted_memory.findings import Finding
from ted_memory.learner import Funnel
from ted_memory.models import Experience, LogEntry, Presentation

PAGE = Path(__file__).parent.parent / "docs" / "cli-json.md"
HOLDS: dict[str, dict[str, type[BaseModel]]] = {
    "doctor": {"findings": Finding},
    "explain": {"experience": Experience},
    "dead list": {"dead": DeadLetter},
    "learn": {"funnel": Funnel},
    "log": {"log": LogEntry},
    "show": {"experiences": Experience, "presentation": Presentation, "shown": Presentation},
    "status": {"funnel": Funnel, "traffic": Traffic},
}
"""What stands under a key of a command: such an object, a list of them, or null."""
IN_JSON: dict[Any, str] = {
    Any: "anything",
    **{bool: "true or false", datetime: "time", float: "number", int: "number"},
    **{NoneType: "null", str: "string"},
}
WHOLE: dict[str, type[BaseModel]] = {"distill": Report, "eval": Evaluation}
"""Commands that print one object."""

HEAD = """# What `--json` prints

Every command but `desk` takes `--json`, and prints one JSON object on standard output;
`status --watch --json` one a line. Progress and errors are on standard error. New keys may come in
any version; a key that goes, or comes to mean something else, stands in the changelog. Times are
ISO 8601, in UTC. `make reference` writes this page, and a test runs each command and compares.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it could not be done: the last line says what was kept and what to do |
| 1 | `doctor` found a problem; `distill` set every sample aside |
| 2 | the command was written wrongly; nothing was done |
| 130 | interrupted (Ctrl-C); `distill`, `eval` and `learn` go on where they stopped |
"""


def documented() -> dict[str, str]:
    """Give each command's help, by its name."""
    found = {}
    for name, made in [pair for group in COMMANDS.values() for pair in group.items()]:
        if not isinstance(made, typer.Typer):
            found[name] = help_of(made)
    for word in dead.app.registered_commands:
        found[f"dead {word.name}"] = inspect.getdoc(word.callback) or ""
    return found


def keys(text: str) -> str:
    """Read from a command's help which keys its JSON has, "" where it prints none."""
    told = re.search(r"Keys of --json: (.*?)\n\n", text, re.DOTALL)
    return " ".join(told[1].split()) if told else ""


def nested(kind: Any) -> list[type[BaseModel]]:
    """Tell which models stand in a type, however deep in lists and alternatives."""
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in nested(part)]


def names_of(model: type[BaseModel]) -> set[str]:
    """Name the keys of a model that is printed."""
    return {name.rstrip("_") for name in (*model.model_fields, *model.model_computed_fields)}


def page() -> str:
    """Write the page, as Markdown."""
    parts = [HEAD, "\n## Commands\n"]
    for name, text in documented().items():
        if told := keys(text):
            parts.append(f"\n### `{name}`\n\n{told}\n")
            holds = HOLDS.get(name, {}) | ({"all of it": WHOLE[name]} if name in WHOLE else {})
            parts += [f"\n- {key}: `{model.__name__}`" for key, model in holds.items()]
            parts.append("\n" if holds else "")
    parts.append("\n## Objects\n")
    for model in _models():
        parts.append(f"\n### `{model.__name__}`\n\n| key | type |\n|---|---|\n")
        parts += [f"| `{name}` | {kind} |\n" for name, kind in _fields(model)]
    return "".join(parts)


def _models() -> list[type[BaseModel]]:
    """Name all objects that stand in the commands' JSON, and those in them."""
    todo = [*WHOLE.values(), *(model for holds in HOLDS.values() for model in holds.values())]
    found: dict[str, type[BaseModel]] = {}
    while todo:
        model = todo.pop()
        if model.__name__ not in found:
            found[model.__name__] = model
            todo += [
                one for field in model.model_fields.values() for one in nested(field.annotation)
            ]
    return [found[name] for name in sorted(found)]


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield name.rstrip("_"), _type(field.annotation)
    for name, computed in model.model_computed_fields.items():
        yield name, _type(computed.return_type)


def _type(kind: Any) -> str:
    """Write a type in JSON's words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"by name: {_type(parts[1])}"
    if origin in {list, tuple, frozenset}:
        inner = dict.fromkeys(_type(part) for part in parts if part is not Ellipsis)
        return f"list of {' and '.join(inner)}"
    return IN_JSON.get(kind) or f"`{kind.__name__}`"


def write() -> None:
    """Write the page anew."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
