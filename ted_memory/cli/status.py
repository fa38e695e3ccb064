"""``ted-memory status``: how learning from live traffic goes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place, spending
from ted_memory.cli.output.funnel import costs, print_funnel
from ted_memory.cli.output.metrics import exposition
from ted_memory.errors import InvalidInput
from ted_memory.memory.client import TedMemory

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.episodes import Standing, Traffic
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
    json: place.Json = False,
) -> None:
    """Show how far learning from traffic has come.

    From episodes to lessons, and what each lesson waits for. With --prices also what today has
    cost.

    Keys of --json: namespace, version, experiences (active, trial, proposed), last_commit, traffic
    (the queue), funnel (stage by stage), cost_today (null without --prices), waiting_for (a list:
    id, state, for, and its evidence).

    Examples:
        ted-memory status --namespace support
        ted-memory status -n support --metrics > /var/lib/node_exporter/ted_memory.prom
    """
    if metrics and json:
        raise InvalidInput("--metrics and --json are two formats: ask for one")
    price_list, memory = spending.prices_of(prices), place.memory_of(url, namespace, home)
    if metrics:
        asyncio.run(_print_metrics(memory, price_list))
    else:
        asyncio.run(_print_status(memory, price_list, as_json=json))


async def _print_metrics(memory: TedMemory, prices: Prices | None) -> None:
    from ted_memory.learner.overview import funnel

    async with memory:
        now, traffic = await memory.load(), await memory.traffic()
        way = await funnel(memory)
    typer.echo(exposition(now, traffic, way, prices), nl=False)


async def _print_status(memory: TedMemory, prices: Prices | None, *, as_json: bool) -> None:
    from ted_memory.learner.overview import funnel
    from ted_memory.learner.standing import standings

    async with memory:
        now, traffic = await memory.load(), await memory.traffic()
        way, waiting = await funnel(memory), await standings(memory)
        [last, *_] = await memory.log(1) or [None]
    if as_json:
        output.print_json(
            {
                "namespace": memory.namespace,
                "version": now.version,
                "experiences": {
                    "active": len(now.active),
                    "trial": len(now.trial),
                    "proposed": len(now.proposed),
                },
                "last_commit": last.at.isoformat() if last else None,
                "traffic": traffic.model_dump(mode="json"),
                "funnel": way.model_dump(mode="json"),
                "cost_today": costs(way, prices),
                "waiting_for": [_brief(standing) for standing in waiting],
            }
        )
        return
    _print_set(now, last)
    _print_traffic(traffic)
    print_funnel(way, traffic.counts, prices)
    for standing in waiting:
        output.print_experience(standing.experience)
        output.out.print(f"        {output.waits_for(standing)}", markup=False)


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
    oldest = f", the oldest for {_rounded(traffic.oldest)}" if traffic.oldest is not None else ""
    output.out.print(
        f"waiting: {traffic.waiting}{oldest}; being learned from: {traffic.claimed}; "
        f"dead letters: {traffic.dead}; {traffic.bytes / 1e6:.1f} MB"
    )
    settled = f"; the last {_ago(traffic.last_settled)} ago" if traffic.last_settled else ""
    hour = f"settled within the last two hours: {traffic.hour}{settled}"
    output.out.print(f"learners: {traffic.learners}; {hour}")
    for role in ("student", "teacher"):
        _print_spent_today(role, traffic)
    if traffic.waiting and not traffic.learners:
        output.out.print("nobody learns from it: run ted-memory learn", markup=False)
    if traffic.last_error:
        output.out.print(f"last error: {output.one_line(traffic.last_error)}", markup=False)


def _print_spent_today(role: str, traffic: Traffic) -> None:
    calls, tokens_in, tokens_out = (
        int(traffic.today.get(f"{role}_{name}", 0)) for name in ("calls", "tokens_in", "tokens_out")
    )
    if calls or tokens_in or tokens_out:
        output.out.print(f"{role} today: {calls} calls, {tokens_in} tokens in, {tokens_out} out")


def _ago(at: datetime) -> str:
    return _rounded(max(0.0, (datetime.now(UTC) - at).total_seconds()))


def _rounded(seconds: float) -> str:
    """Write a time in the largest unit that it has two of."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
