"""``ted-memory log``: the history of a set."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place


def log(
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest versions to show.")] = 20,
    json: place.Json = False,
) -> None:
    """Show what changed, newest first.

    Keys of --json: namespace, log (a list: version, at, author, why, changes).

    Examples:
        ted-memory log --namespace support --limit 5
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            entries = await memory.log(limit)
            if json:
                dumped = [entry.model_dump(mode="json") for entry in entries]
                output.print_json({"namespace": memory.namespace, "log": dumped})
                return
            for entry in entries:
                output.print_entry(entry)
            if not entries:
                output.out.print(f"namespace {memory.namespace!r} has no history")

    asyncio.run(run())
