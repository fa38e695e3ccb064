"""``ted-memory approve``: lessons become active by a person's word."""

import asyncio

from ted_memory.cli import output
from ted_memory.cli.options import place


def approve(
    ids: place.Ids,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    author: place.Author = "cli",
    json: place.Json = False,
) -> None:
    """Make lessons active: every agent sees them from now on.

    Keys of --json: namespace, version, changed (ids).

    Examples:
        ted-memory approve zue7z7 sqzwty --namespace support --author anna
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            commit = await memory.approve(*ids, author=author)
            output.print_commit(memory.namespace, commit, as_json=json)

    asyncio.run(run())
