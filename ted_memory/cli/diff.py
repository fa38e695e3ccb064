"""``ted-memory diff``: two versions of a set side by side."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place


def diff(
    old: Annotated[int, typer.Argument(min=0, help="The older version.")],
    new: Annotated[int | None, typer.Argument(min=0, help="The newer one.  [default: now]")] = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Show what changed between two versions.

    Keys of --json: namespace, old, new (null: now), changes (a list: id, before, after).

    Examples:
        ted-memory diff 7 --namespace support
        ted-memory diff 3 7 --namespace support
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            changes = await memory.diff(old, new)
        if json:
            dumped = [change.model_dump(mode="json") for change in changes]
            output.print_json(
                {"namespace": memory.namespace, "old": old, "new": new, "changes": dumped}
            )
            return
        for change in changes:
            output.print_difference(change.before, change.after)
        if not changes:
            output.out.print("no difference")

    asyncio.run(run())
