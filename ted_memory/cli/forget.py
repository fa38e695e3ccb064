"""``ted-memory forget``: a person, a run or a conversation is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.errors import InvalidInput

if TYPE_CHECKING:
    from ted_memory.memory.forgetting import ForgetReport

_Kind = Literal["principal", "run", "thread"]


def forget(
    principal: Annotated[str | None, typer.Option("--principal", help="Forget a person.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Forget one run, by its id.")] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", help="Forget one conversation, by its thread id.")
    ] = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    yes: place.Yes = False,
    json: place.Json = False,
) -> None:
    """Forget a person, a run or a conversation, for good.

    What was recorded of it goes, and what was learned from it.

    Keys of --json: namespace, episodes, runs, words, drafts (numbers), compacted, lessons (as
    `purge` prints it).

    Examples:
        ted-memory forget --principal anna --namespace support
    """
    kind, name = _one_of(principal, run, thread)
    place.ask(
        f"Forget all that was recorded of {kind} {name!r} and learned from it? "
        "Nothing brings it back",
        yes=yes,
    )

    async def work() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            report = await memory.forget(kind, name)
        if json:
            output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
        else:
            _print_report(report)

    asyncio.run(work())


def _one_of(principal: str | None, run: str | None, thread: str | None) -> tuple[_Kind, str]:
    named: list[tuple[_Kind, str]] = []
    if principal:
        named.append(("principal", principal))
    if run:
        named.append(("run", run))
    if thread:
        named.append(("thread", thread))
    if len(named) != 1:
        raise InvalidInput("say whom or what to forget: one of --principal, --run, --thread")
    return named[0]


def _print_report(report: ForgetReport) -> None:
    lessons = report.lessons
    output.out.print(
        f"{report.episodes} episodes that waited, {report.runs} runs, "
        f"{report.words} words of feedback, {lessons.archived} archived episodes forgotten; "
        f"version {lessons.version}: {len(lessons.removed)} lessons removed, "
        f"{len(lessons.restored)} put back as they were before"
    )
    if lost := (*lessons.waiting, *lessons.unknown):
        output.out.print(
            f"  not as they were before, for want of room or of history: {', '.join(lost)}",
            markup=False,
        )
    if report.drafts:
        output.out.print(f"  {report.drafts} runs of distill that held some of it begin anew")
    if not report.compacted:
        output.out.print(
            "  the server is yours: its append-only file and its backups hold what was deleted "
            "until they are rewritten (BGREWRITEAOF)"
        )
