"""Commands on one experience set."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import options, output


def show(
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Show the experiences of a set."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            snapshot = await memory.load()
            carried, shown = snapshot.presentation, memory.presentation(snapshot)
            if json:
                experiences = [e.model_dump(mode="json") for e in snapshot]
                head = {"namespace": memory.namespace, "epoch": snapshot.epoch, "version": snapshot.version}
                how = {"presentation": carried.model_dump() if carried else None, "shown": shown.model_dump()}
                output.print_json({**head, **how, "experiences": experiences})
                return
            output.out.print(f"namespace {memory.namespace!r}, version {snapshot.version}, {len(snapshot)} experiences")
            output.print_presentation(shown, carried)
            for experience in snapshot:
                output.print_experience(experience)

    asyncio.run(run())


def log(
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest versions to show.")] = 20,
    json: options.Json = False,
) -> None:
    """Show what changed, newest first."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
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


def rollback(
    version: Annotated[int, typer.Argument(min=0, help="The version to restore; 0 is the empty set.")],
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Restore an older version as a new one; the history stays."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            commit = await memory.rollback(version)
            if json:
                result = {"namespace": memory.namespace, "version": commit.version, "restored": version}
                output.print_json({**result, "changed": len(commit.applied)})
            elif commit.applied:
                output.out.print(f"version {commit.version} restores version {version}")
            else:
                output.out.print(f"version {commit.version} already is as version {version} was; nothing changed")

    asyncio.run(run())
