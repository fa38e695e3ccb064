"""``ted-memory reject``: lessons are retired by a person's word."""

import asyncio

from ted_memory.cli import output
from ted_memory.cli.options import place


def reject(
    ids: place.Ids,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    author: place.Author = "cli",
    json: place.Json = False,
) -> None:
    """Retire lessons.

    They leave the set; the log keeps them, and a rollback may bring them back.

    Keys of --json: namespace, version, changed (ids).

    Examples:
        ted-memory reject zue7z7 --namespace support --author anna
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            commit = await memory.reject(*ids, author=author)
            output.print_commit(memory.namespace, commit, as_json=json)

    asyncio.run(run())
