"""Pages of the documentation that the code itself writes: command line, settings, docstrings.

``make reference`` writes them beside ``docs/reference.md``, and a test compares them with the code.
The pages of modules only name what mkdocstrings puts in their place when the site is built.
"""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from typer.testing import CliRunner

from bench.reference import PUBLIC, fields, first_line, meaning, members, names_of
from ted_memory import settings
from ted_memory.cli import COMMANDS, app
from ted_memory.memory import SyncTedMemory

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
WIDTH = 96  # columns of the command line's help

CONCERNS = (
    ("Where the memory lives", settings.StoreSettings),
    ("How large a set may grow", settings.SetSettings),
    ("What a prompt shows", settings.PromptSettings),
    ("How lessons are made", settings.DistillSettings),
    ("What a lesson from traffic must show", settings.TrialSettings),
    ("What is recorded", settings.RecordingSettings),
    ("How learners share their work", settings.LearnerSettings),
)


def pages() -> dict[str, str]:
    """All pages by their file's name."""
    made = {"cli.md": command_line(), "settings.md": all_settings()}
    known: set[int] = set()
    for name in PUBLIC:
        made[f"{name.replace('.', '-')}.md"] = of_module(importlib.import_module(name), known)
    return made


def command_line() -> str:
    """Write each command's help."""
    parts = [
        "# Command line\n\n`ted-memory COMMAND --help`, as it is printed. Without `--url` or "
        "`TED_MEMORY_URL` the memory is an embedded server\nwith its data in `./.ted-memory`. "
        "Exit codes: 0, 1 for what could not be done, 2 for a wrong option, 130 after Ctrl-C.\n"
    ]
    for group, commands in COMMANDS.items():
        parts.append(f"\n## {group}\n")
        for name, made in commands.items():
            words: list[tuple[str, ...]] = [(name, str(word.name)) for word in _words(made)]
            parts += [_help_of(*path) for path in words or [(name,)]]
    return "".join(parts)


def _words(made: Any) -> list[Any]:
    return made.registered_commands if isinstance(made, typer.Typer) else []


def _help_of(*path: str) -> str:
    runner = CliRunner(env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)})
    done = runner.invoke(app, [*path, "--help"], prog_name="ted-memory", terminal_width=WIDTH)
    text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"\n### {' '.join(path)}\n\n```\n{text}\n```\n"


def all_settings() -> str:
    """Write a table of all settings, by what they are about."""
    parts = [
        "# Settings\n\nArguments of `open_memory`, or environment variables: `TED_MEMORY_` and the "
        "name in upper case. Arguments win over the\nenvironment, that over what a profile says, "
        "and that over the defaults here.\n"
    ]
    for title, concern in CONCERNS:
        parts.append(f"\n## {title}\n\n| name | default | meaning |\n|---|---|---|\n")
        for name, field in concern.model_fields.items():
            default = "none" if field.default is None else str(field.default) or "empty"
            parts.append(f"| `{name}` | `{default}` | {field.description} |\n")
    parts.append("\n## What profiles change\n\n| profile | changes |\n|---|---|\n")
    for name, changes in settings.PROFILES.items():
        told = ", ".join(f"`{key}={value}`" for key, value in changes.items()) or "nothing"
        parts.append(f"| `{name}` | {told} |\n")
    return "".join(parts)


def of_module(module: ModuleType, known: set[int]) -> str:
    """Write what mkdocstrings fills in: the names of a module that no other page has."""
    parts = [f"# {module.__name__}\n\n{first_line(module)}\n"]
    others = []
    for name in names_of(module):
        value = getattr(module, name)
        if id(value) in known:
            others.append(f"- `{name}` stands on another page\n")
        elif inspect.isclass(value) or inspect.isfunction(value):
            known.add(id(value))
            parts.append("".join(_directive(value)))
        else:
            others.append(f"- `{name}`: {meaning(value)}\n")
    if others:
        parts.append("\n## Also here\n\n" + "".join(others))
    return "".join(parts)


def _directive(value: Any) -> Iterator[str]:
    yield f"\n::: {value.__module__}.{value.__qualname__}\n"
    if value is SyncTedMemory:  # its methods are made, and are those of TedMemory
        yield "    options:\n      members: []\n"
    elif inspect.isclass(value):
        told = [*fields(value), *members(value)]
        yield "    options:\n      inherited_members: true\n"
        yield f"      members: [{', '.join(dict.fromkeys(told))}]\n"


def write() -> None:
    """Write all pages, and remove those of modules that are public no longer."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
