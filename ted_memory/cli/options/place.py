"""Where the memory is, who changes it, and how a command answers."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any

import typer

from ted_memory.cli.options import completing
from ted_memory.memory.client import TedMemory
from ted_memory.settings import Settings, make_settings
from ted_memory.wiring import open_memory

_option = partial(typer.Option, rich_help_panel="Memory")

Namespace = Annotated[
    str | None,
    _option(
        "--namespace",
        "-n",
        help="Experience set.  [default: TED_MEMORY_NAMESPACE or 'default']",
        autocompletion=completing.namespaces,
    ),
]
Url = Annotated[
    str | None,
    _option("--url", help="Redis or Valkey server.  [default: TED_MEMORY_URL, else embedded]"),
]
Home = Annotated[
    str | None,
    _option("--home", help="Folder of the embedded server.  [default: ./.ted-memory]"),
]
Author = Annotated[str, typer.Option("--author", help="Who does this; stands in the log.")]
Id = Annotated[
    str,
    typer.Argument(
        help="The lesson, as `ted-memory show` prints it.",
        metavar="ID",
        autocompletion=completing.lessons,
    ),
]
Ids = Annotated[
    list[str],
    typer.Argument(
        help="Ids, as `ted-memory show` prints them.",
        metavar="ID",
        autocompletion=completing.lessons,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def memory_of(
    url: str | None, namespace: str | None, home: str | None, **settings: Any
) -> TedMemory:
    """Open the memory that a command's options name; settings that are None keep their default."""
    return open_memory(url, namespace=namespace, home=home, **settings)


def settings_of(namespace: str | None) -> Settings:
    """Read the settings for a command that needs no memory."""
    return make_settings(namespace=namespace)


def ask(question: str, *, yes: bool) -> None:
    """Have a person confirm what cannot be undone: a command in a script is not asked.

    Raises:
        typer.Abort: the answer is no.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True)
