"""``ted-memory rollback``: an older version comes back."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place


def rollback(
    version: Annotated[
        int, typer.Argument(min=0, help="The version to restore; 0 is the empty set.")
    ],
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Restore an older version as a new one; the history stays.

    Keys of --json: namespace, version (the new one), restored, changed (how many lessons).

    Examples:
        ted-memory log --namespace support
        ted-memory rollback 7 --namespace support
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            commit = await memory.rollback(version)
        if json:
            output.print_json(
                {
                    "namespace": memory.namespace,
                    "version": commit.version,
                    "restored": version,
                    "changed": len(commit.applied),
                }
            )
        elif commit.applied:
            output.out.print(f"version {commit.version} restores version {version}")
        else:
            output.out.print(
                f"version {commit.version} already is as version {version} was; nothing changed"
            )

    asyncio.run(run())
