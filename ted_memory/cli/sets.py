"""Commands on one experience set."""

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ted_memory.cli import options, output
from ted_memory.errors import StoreError
from ted_memory.experience.lift import estimate, observed


def show(
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Show the experiences of a set, with what each adds to the score (lift, 90 % bounds) where it was measured."""

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            snapshot, usage = await memory.load(), await memory.usage()
            lifts = {id: estimate(counted) for id, counted in usage.items() if observed(counted)}
            carried, shown = snapshot.presentation, memory.presentation(snapshot)
            if json:
                experiences = [e.model_dump(mode="json") for e in snapshot]
                head = {
                    "namespace": memory.namespace,
                    "epoch": snapshot.epoch,
                    "version": snapshot.version,
                }
                how = {
                    "presentation": carried.model_dump() if carried else None,
                    "shown": shown.model_dump(),
                }
                measured = {id: asdict(lift) for id, lift in lifts.items()}
                output.print_json({**head, **how, "experiences": experiences, "lifts": measured})
                return
            output.out.print(
                f"namespace {memory.namespace!r}, version {snapshot.version}, {len(snapshot)} experiences"
            )
            output.print_presentation(shown, carried)
            for experience in snapshot:
                output.print_experience(experience, lifts.get(experience.id))

    asyncio.run(run())


def namespaces(
    url: options.Url = None, home: options.Home = None, json: options.Json = False
) -> None:
    """List the experience sets of this memory."""

    async def run() -> None:
        async with options.memory_of(url, None, home) as memory:
            found: dict[str, dict[str, int | str]] = {}
            for name in await memory.namespaces():
                try:
                    snapshot = await memory.for_namespace(name).load()
                    found[name] = {
                        "version": snapshot.version,
                        "active": len(snapshot.active),
                        "all": len(snapshot),
                    }
                except StoreError as error:  # one that cannot be read keeps nobody from the others
                    found[name] = {"error": str(error)}
            if json:
                output.print_json({"namespaces": found})
                return
            for name, told in found.items():
                said = (
                    told.get("error")
                    or f"version {told['version']}, {told['active']} active of {told['all']} lessons"
                )
                output.out.print(f"{name}: {said}", markup=False)
            if not found:
                output.out.print("no experience set here yet")

    asyncio.run(run())


def drop(
    namespace: Annotated[str, typer.Argument(help="The namespace that is to go, by its name.")],
    url: options.Url = None,
    home: options.Home = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Delete a namespace for good: lessons, history, episodes, evidence. `ted-memory export` keeps the lessons."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete all of namespace {namespace!r}? Nothing brings it back", abort=True)

    async def run() -> None:
        async with options.memory_of(url, namespace, home) as memory:
            known = namespace in {
                *await memory.namespaces(),
                *await memory.store.episodes.namespaces(),
            }
            await memory.store.drop(memory.namespace)
            await memory.store.compact()
            if json:
                output.print_json({"namespace": memory.namespace, "dropped": known})
            else:
                output.out.print(
                    "deleted" if known else f"there was no namespace {namespace!r}", markup=False
                )

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
    version: Annotated[
        int, typer.Argument(min=0, help="The version to restore; 0 is the empty set.")
    ],
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
                result = {
                    "namespace": memory.namespace,
                    "version": commit.version,
                    "restored": version,
                }
                output.print_json({**result, "changed": len(commit.applied)})
            elif commit.applied:
                output.out.print(f"version {commit.version} restores version {version}")
            else:
                output.out.print(
                    f"version {commit.version} already is as version {version} was; nothing changed"
                )

    asyncio.run(run())
