"""``ted-memory drop``: a namespace is deleted."""

import asyncio
import contextlib
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import completing, place


def drop(
    namespace: Annotated[
        str,
        typer.Argument(
            help="The namespace that is to go, by its name.", autocompletion=completing.namespaces
        ),
    ],
    url: place.Url = None,
    home: place.Home = None,
    yes: place.Yes = False,
    json: place.Json = False,
) -> None:
    """Delete a namespace for good.

    Lessons, history, episodes and evidence go. `ted-memory export` keeps the lessons.

    Keys of --json: namespace, dropped (false: there was none of this name).

    Examples:
        ted-memory export support.jsonl --namespace support
        ted-memory drop support
    """
    place.ask(f"Delete all of namespace {namespace!r}? Nothing brings it back", yes=yes)

    async def run() -> None:
        # closed, but not entered: that would watch the set, and warn when it is gone
        async with contextlib.aclosing(place.memory_of(url, namespace, home)) as memory:
            sets, queues = await memory.namespaces(), await memory.namespaces(with_traffic=True)
            existed = namespace in sets or namespace in queues
            await memory.repository.drop()
            await memory.store.compact()
        if json:
            output.print_json({"namespace": memory.namespace, "dropped": existed})
            return
        message = "deleted" if existed else f"there was no namespace {namespace!r}"
        output.out.print(message, markup=False)

    asyncio.run(run())
