"""``ted-memory status``: how learning from live traffic goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place, spending
from ted_memory.cli.output.funnel import costs, print_funnel
from ted_memory.cli.output.metrics import exposition
from ted_memory.cli.output.watching import watch_always
from ted_memory.errors import InvalidInput, StoreError
from ted_memory.memory.client import TedMemory

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.episodes import Standing, Traffic
    from ted_memory.learner import Funnel
    from ted_memory.llm.spend import Prices
    from ted_memory.models import ExperienceSet, LogEntry


def status(
    *,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    prices: spending.Prices = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print it in Prometheus' text format.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Look again and again, until q or Ctrl-C."),
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", min=0.2, max=3600, help="Seconds between looks of --watch."),
    ] = 2.0,
    json: place.Json = False,
) -> None:
    """Show how far learning from traffic has come.

    From episodes to lessons, and what each lesson waits for. With --prices also what today has
    cost. --watch keeps it on the terminal; where there is none, and with --json, each look is a
    line.

    Keys of --json: namespace, version, experiences (active, trial, proposed), last_commit, traffic
    (the queue), funnel (stage by stage), cost_today (null without --prices), waiting_for (a list:
    id, state, for, and its evidence).

    Examples:
        ted-memory status --namespace support
        ted-memory status -n support --watch --interval 5
        ted-memory status -n support --metrics > /var/lib/node_exporter/ted_memory.prom
    """
    if metrics and (json or watch):
        raise InvalidInput("--metrics is a format of its own, for one look: leave --json, --watch")
    price_list, memory = spending.prices_of(prices), place.memory_of(url, namespace, home)
    if metrics:
        asyncio.run(_print_metrics(memory, price_list))
    elif watch:
        asyncio.run(_watch(memory, price_list, interval, as_json=json))
    else:
        asyncio.run(_print_status(memory, price_list, as_json=json))


@dataclass(frozen=True)
class _Status:
    """What one look has found."""

    now: ExperienceSet
    traffic: Traffic
    way: Funnel
    waiting: Sequence[Standing]
    last: LogEntry | None


async def _look(memory: TedMemory) -> _Status:
    from ted_memory.learner.overview import funnel
    from ted_memory.learner.standing import standings

    [last, *_] = await memory.log(1) or [None]
    return _Status(
        now=await memory.load(),
        traffic=await memory.traffic(),
        way=await funnel(memory),
        waiting=await standings(memory),
        last=last,
    )


async def _print_metrics(memory: TedMemory, prices: Prices | None) -> None:
    from ted_memory.learner.overview import funnel

    async with memory:
        now, traffic = await memory.load(), await memory.traffic()
        way = await funnel(memory)
    typer.echo(exposition(now, traffic, way, prices), nl=False)


async def _print_status(memory: TedMemory, prices: Prices | None, *, as_json: bool) -> None:
    async with memory:
        found = await _look(memory)
    if as_json:
        output.print_json(_as_json(memory, found, prices))
    else:
        _print(found, prices)


async def _watch(
    memory: TedMemory, prices: Prices | None, interval: float, *, as_json: bool
) -> None:
    async def look() -> None:
        try:
            found = await _look(memory)
        except StoreError as error:  # it may come back while somebody watches
            told = output.err if as_json else output.out
            told.print(f"{error}; looking again", markup=False)
            return
        if as_json:
            output.print_json_line(_as_json(memory, found, prices))
        elif output.out.is_terminal:
            _print(found, prices)
        else:
            output.out.print(_in_one_line(found), markup=False)

    async with contextlib.aclosing(memory):
        await watch_always(look, interval, on_one_page=not as_json)


def _as_json(memory: TedMemory, found: _Status, prices: Prices | None) -> dict[str, Any]:
    now = found.now
    return {
        "namespace": memory.namespace,
        "version": now.version,
        "experiences": {
            "active": len(now.active),
            "trial": len(now.trial),
            "proposed": len(now.proposed),
        },
        "last_commit": found.last.at.isoformat() if found.last else None,
        "traffic": found.traffic.model_dump(mode="json"),
        "funnel": found.way.model_dump(mode="json"),
        "cost_today": costs(found.way, prices),
        "waiting_for": [_brief(standing) for standing in found.waiting],
    }


def _print(found: _Status, prices: Prices | None) -> None:
    _print_set(found.now, found.last)
    _print_traffic(found.traffic)
    print_funnel(found.way, found.traffic.counts, prices)
    for standing in found.waiting:
        output.print_experience(standing.experience)
        output.out.print(f"        {output.waits_for(standing)}", markup=False)


def _in_one_line(found: _Status) -> str:
    """What a log keeps of one look."""
    now, traffic = found.now, found.traffic
    queue = f"{traffic.waiting} waiting, {traffic.claimed} being learned from, {traffic.dead} dead"
    lessons = f"{len(now.active)} active, {len(now.trial)} on trial, {len(now.proposed)} proposed"
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"{at} version {now.version}: {queue}; {traffic.learners} learners; {lessons}"


def _brief(standing: Standing) -> dict[str, Any]:
    numbers = standing.model_dump(mode="json", exclude={"experience", "waits_for"})
    return {
        "id": standing.experience.id,
        "state": standing.experience.state,
        "for": standing.waits_for,
        **numbers,
    }


def _print_set(now: ExperienceSet, last: LogEntry | None) -> None:
    ago = f"; last commit {_ago(last.at)} ago" if last else ""
    output.out.print(
        f"namespace {now.namespace!r} at version {now.version}: {len(now.active)} active, "
        f"{len(now.trial)} on trial, {len(now.proposed)} proposed{ago}"
    )


def _print_traffic(traffic: Traffic) -> None:
    oldest = (
        f", the oldest for {output.rounded(traffic.oldest)}" if traffic.oldest is not None else ""
    )
    output.out.print(
        f"waiting: {traffic.waiting}{oldest}; being learned from: {traffic.claimed}; "
        f"{_dead(traffic)}; {traffic.bytes / 1e6:.1f} MB"
    )
    settled = f"; the last {_ago(traffic.last_settled)} ago" if traffic.last_settled else ""
    hour = f"settled within the last two hours: {traffic.hour}{settled}"
    output.out.print(f"learners: {traffic.learners}; {hour}")
    for role in ("student", "teacher"):
        _print_spent_today(role, traffic)
    if traffic.waiting and not traffic.learners:
        output.out.print("[red]nobody learns from it: run ted-memory learn[/]")
    if traffic.last_error:
        output.out.print(f"last error: {output.one_line(traffic.last_error)}", markup=False)


def _dead(traffic: Traffic) -> str:
    dead = f"dead letters: {traffic.dead}"
    return f"[red]{dead} (ted-memory dead list)[/]" if traffic.dead else dead


def _print_spent_today(role: str, traffic: Traffic) -> None:
    calls, tokens_in, tokens_out = (
        int(traffic.today.get(f"{role}_{name}", 0)) for name in ("calls", "tokens_in", "tokens_out")
    )
    if calls or tokens_in or tokens_out:
        output.out.print(f"{role} today: {calls} calls, {tokens_in} tokens in, {tokens_out} out")


def _ago(at: datetime) -> str:
    return output.rounded(max(0.0, (datetime.now(UTC) - at).total_seconds()))
