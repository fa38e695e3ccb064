"""``ted-memory dead``: episodes that could not be learned from. One command with three words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.cli.output.help import Command, Commands
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory

_EVERY_ONE = 1_000_000  # more dead letters than are ever kept

_Seqs = Annotated[
    list[int] | None, typer.Argument(help="Numbers of dead letters, as `dead list` shows them.")
]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]

app: typer.Typer = typer.Typer(
    cls=Commands,
    help="Episodes that could not be learned from.\n\n"
    "Examples:\n"
    "    ted-memory dead list --namespace support\n"
    "    ted-memory dead retry --all --namespace support",
    no_args_is_help=True,
)


@app.command("list", cls=Command)
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 20,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Show dead letters, newest first, with the reason.

    Keys of --json: dead (a list: seq, run_id, reason, deliveries, at, episode).

    Examples:
        ted-memory dead list --namespace support
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            letters = await memory.dead_letters(limit)
        if json:
            output.print_json({"dead": [letter.model_dump(mode="json") for letter in letters]})
            return
        for letter in letters:
            when = f"{letter.at:%Y-%m-%d %H:%M:%S}Z"
            run_id, reason = output.one_line(letter.run_id), output.one_line(letter.reason)
            output.out.print(f"{letter.seq}  run {run_id}  {when}  {reason}", markup=False)
        if not letters:
            output.out.print("no dead letters")

    asyncio.run(run())


@app.command("retry", cls=Command)
def retry(
    seqs: _Seqs = None,
    every: _All = False,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Put dead letters back into the queue.

    Keys of --json: retried (a number).

    Examples:
        ted-memory dead retry 12 13 --namespace support
        ted-memory dead retry --all --namespace support
    """
    _check(seqs, every=every)
    memory = place.memory_of(url, namespace, home)
    count = asyncio.run(_each(memory, seqs, TedMemory.retry_dead_letters))
    if json:
        output.print_json({"retried": count})
    else:
        output.out.print(f"{count} dead letters wait again{_hint(count)}")


@app.command("drop", cls=Command)
def drop(
    seqs: _Seqs = None,
    every: _All = False,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Forget dead letters for good.

    Keys of --json: dropped (a number).

    Examples:
        ted-memory dead drop 12 --namespace support
    """
    _check(seqs, every=every)
    memory = place.memory_of(url, namespace, home)
    count = asyncio.run(_each(memory, seqs, TedMemory.drop_dead_letters))
    if json:
        output.print_json({"dropped": count})
    else:
        output.out.print(f"{count} dead letters are forgotten{_hint(count)}")


def _check(seqs: list[int] | None, *, every: bool) -> None:
    """Refuse both numbers and ``--all``, and neither."""
    if bool(seqs) == every:
        raise InvalidInput("give numbers of dead letters, or --all")


def _hint(count: int) -> str:
    return "" if count else " (`ted-memory dead list` shows their numbers)"


async def _each(
    memory: TedMemory,
    seqs: list[int] | None,
    change: Callable[[TedMemory, list[int]], Awaitable[int]],
) -> int:
    """Change the dead letters of these numbers, without them all; count those that were there."""
    async with memory:
        named = seqs or [letter.seq for letter in await memory.dead_letters(_EVERY_ONE)]
        return await change(memory, named) if named else 0
