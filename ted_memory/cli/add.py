"""``ted-memory add``: a lesson written by hand."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.memory.commits import refuse_unless_whole
from ted_memory.models import Add


def add(
    text: Annotated[str, typer.Option("--text", help="What to do then.")],
    when: Annotated[
        str, typer.Option("--when", help="The situation it is for; none: every task.")
    ] = "",
    example: Annotated[str, typer.Option("--example", help="One short example.")] = "",
    proposed: Annotated[
        bool, typer.Option("--proposed", help="Have it wait for a person or evidence.")
    ] = False,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    author: place.Author = "cli",
    json: place.Json = False,
) -> None:
    """Add a lesson by hand; every agent sees it from now on.

    Keys of --json: namespace, version, changed (ids).

    Examples:
        ted-memory add -n support --when "asked for a refund" --text "Ask for the order number."
    """
    lesson = Add(text=text, when=when, example=example, state="proposed" if proposed else "active")

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            commit = await memory.commit([lesson], author=author, why="by hand", atomic=True)
            output.print_commit(memory.namespace, refuse_unless_whole(commit), as_json=json)

    asyncio.run(run())
