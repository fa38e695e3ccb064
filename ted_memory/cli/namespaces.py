"""``ted-memory namespaces``: which sets there are."""

import asyncio

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.errors import StoreError
from ted_memory.memory.client import TedMemory


def namespaces(url: place.Url = None, home: place.Home = None, json: place.Json = False) -> None:
    """List the experience sets of this memory.

    Keys of --json: namespaces (by name: version, active, all; or error, where a set cannot be
    read).

    Examples:
        ted-memory namespaces
        ted-memory namespaces --url redis://memory:6379/0 --json
    """

    async def run() -> None:
        async with place.memory_of(url, None, home) as memory:
            found = {name: await _sizes(memory, name) for name in await memory.namespaces()}
        if json:
            output.print_json({"namespaces": found})
            return
        for name, sizes in found.items():
            output.out.print(f"{name}: {_in_words(sizes)}", markup=False)
        if not found:
            output.out.print("no experience set here yet")

    asyncio.run(run())


async def _sizes(memory: TedMemory, namespace: str) -> dict[str, int | str]:
    """Count the lessons of one set; one that cannot be read must not hide the others."""
    try:
        snapshot = await memory.for_namespace(namespace).load()
    except StoreError as error:
        return {"error": str(error)}
    return {"version": snapshot.version, "active": len(snapshot.active), "all": len(snapshot)}


def _in_words(sizes: dict[str, int | str]) -> str:
    if "error" in sizes:
        return str(sizes["error"])
    return f"version {sizes['version']}, {sizes['active']} active of {sizes['all']} lessons"
