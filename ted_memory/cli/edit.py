"""``ted-memory edit``: a lesson gets another text."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.memory.commits import refuse_unless_whole
from ted_memory.models import Rewrite


def edit(
    id: place.Id,
    text: Annotated[str, typer.Option("--text", help="What to do.")],
    when: Annotated[
        str | None, typer.Option("--when", help="Where it applies.  [default: as it was]")
    ] = None,
    example: Annotated[
        str | None, typer.Option("--example", help="One worked example.  [default: as it was]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="What the example answers: both become an earlier turn."),
    ] = None,
    index_terms: Annotated[
        str | None,
        typer.Option(
            help="Words by which it is found besides --when.  "
            "[default: as they were, none with a new --when]"
        ),
    ] = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    author: place.Author = "cli",
    json: place.Json = False,
) -> None:
    """Give a lesson another text.

    Keys of --json: namespace, version, changed (ids).

    Examples:
        ted-memory edit zue7z7 --text "Ask for the order number first." --namespace support
    """
    rewrite = Rewrite(
        id=id, text=text, when=when, example=example, task=task, index_terms=index_terms
    )

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            commit = await memory.commit([rewrite], author=author, why="by hand", atomic=True)
            output.print_commit(memory.namespace, refuse_unless_whole(commit), as_json=json)

    asyncio.run(run())
