"""Commands that tell how learning from live traffic goes: all of it, and one lesson."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ted_memory.cli import options, output
from ted_memory.cli.funnel import costs, print_funnel
from ted_memory.cli.metrics import exposition
from ted_memory.errors import InvalidInput
from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.lineage import is_blank
from ted_memory.experience.trials import loudest
from ted_memory.memory.client import TedMemory
from ted_memory.models import Trial

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.episodes import Standing, Traffic
    from ted_memory.learner import Departure, Pace
    from ted_memory.llm.spend import Prices


def status(
    *,
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    prices: options.Prices = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print it in Prometheus' text format.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show how far learning from traffic has come, from episodes to lessons, and what each lesson waits for.

    With --prices also what today has cost.
    """
    if metrics and json:
        raise InvalidInput("--metrics and --json are two formats: ask for one")
    price_list, memory = options.prices_of(prices), options.memory_of(url, namespace, home)
    asyncio.run(
        _metrics(memory, price_list) if metrics else _status(memory, price_list, as_json=json)
    )


async def _metrics(memory: TedMemory, prices: Prices | None) -> None:
    from ted_memory.learner.overview import funnel

    async with memory:
        now, traffic = await memory.load(), await memory.store.episodes.traffic(memory.namespace)
        way = await funnel(memory)
    typer.echo(exposition(now, traffic, way, prices), nl=False)


async def _status(memory: TedMemory, prices: Prices | None, *, as_json: bool) -> None:
    from ted_memory.learner.overview import funnel
    from ted_memory.learner.standing import standings

    async with memory:
        now, traffic = await memory.load(), await memory.store.episodes.traffic(memory.namespace)
        way, waiting = await funnel(memory), await standings(memory)
        [last, *_] = await memory.log(1) or [None]
    if as_json:
        output.print_json(
            {
                "namespace": memory.namespace,
                "version": now.version,
                "experiences": {s: len(getattr(now, s)) for s in ("active", "trial", "proposed")},
                "last_commit": last.at.isoformat() if last else None,
                "traffic": traffic.model_dump(mode="json"),
                "funnel": way.model_dump(mode="json"),
                "cost_today": costs(way, prices),
                "waiting_for": [_brief(one) for one in waiting],
            }
        )
        return
    output.out.print(
        f"namespace {memory.namespace!r} at version {now.version}: {len(now.active)} active, "
        f"{len(now.trial)} on trial, {len(now.proposed)} proposed"
        + (f"; last commit {_ago(last.at)} ago" if last else "")
    )
    _print_traffic(traffic)
    print_funnel(way, traffic.counts, prices)
    for one in waiting:
        output.print_experience(one.experience)
        output.out.print(f"        waits for {one.waits_for}{_more(one)}", markup=False)


def _print_traffic(traffic: Traffic) -> None:
    oldest = f", the oldest for {_seconds(traffic.oldest)}" if traffic.oldest is not None else ""
    output.out.print(
        f"waiting: {traffic.waiting}{oldest}; being learned from: {traffic.claimed}; "
        f"dead letters: {traffic.dead}; {traffic.bytes / 1e6:.1f} MB"
    )
    settled = f"; the last {_ago(traffic.last_settled)} ago" if traffic.last_settled else ""
    hour = f"settled within the last two hours: {traffic.hour}{settled}"
    output.out.print(f"learners: {traffic.learners}; {hour}")
    for role in ("student", "teacher"):
        spent = [
            int(traffic.today.get(f"{role}_{name}", 0))
            for name in ("calls", "tokens_in", "tokens_out")
        ]
        if any(spent):
            output.out.print(
                f"{role} today: {spent[0]} calls, {spent[1]} tokens in, {spent[2]} out"
            )
    if traffic.waiting and not traffic.learners:
        output.out.print("nobody learns from it: run ted-memory learn", markup=False)
    if traffic.last_error:
        output.out.print(f"last error: {output.one_line(traffic.last_error)}", markup=False)


def _brief(one: Standing) -> dict[str, Any]:
    numbers = one.model_dump(mode="json", exclude={"experience", "waits_for"})
    return {"id": one.experience.id, "state": one.experience.state, "for": one.waits_for, **numbers}


def explain(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="The lesson, as `show` and `status` print it.")
    ],
    namespace: options.Namespace = None,
    url: options.Url = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Explain where one lesson stands and why: its evidence, what it waits for, about how long that takes.

    Of one that is no longer in the set: when it left, by whom, and why.
    """
    asyncio.run(_explain(options.memory_of(url, namespace, home), id, as_json=json))


async def _explain(memory: TedMemory, id: str, *, as_json: bool) -> None:
    from ted_memory.learner.overview import departure, pace
    from ted_memory.learner.standing import explain as standing_of

    async with memory:
        known = id in (await memory.load()).by_id
        if not known and (gone := await departure(memory, id)):
            _tell_departure(memory.namespace, gone, as_json=as_json)
            return
        one = await standing_of(memory, id)
    going, k = pace(one), loudest(memory.settings)
    if as_json:
        told = one.model_dump(mode="json", exclude={"experience"})
        output.print_json(
            {
                "namespace": memory.namespace,
                "experience": one.experience.model_dump(mode="json"),
                **told,
                "without_the_loudest": k,
                **going.model_dump(),
            }
        )
        return
    output.print_experience(one.experience)
    for line in _explained(one, going, k):
        output.out.print(f"  {line}", markup=False)


def _tell_departure(namespace: str, gone: Departure, *, as_json: bool) -> None:
    """Print when, by whom and why a lesson was taken out of the set."""
    if as_json:
        output.print_json({"namespace": namespace, **gone.model_dump(mode="json")})
        return
    output.print_experience(gone.experience.model_copy(update={"state": "retired"}))
    done = f"merged into {', '.join(gone.into)}" if gone.into else "taken out of the set"
    by = f"by {gone.author} at {gone.at:%Y-%m-%d %H:%M}Z (version {gone.version})"
    output.out.print(f"  {done} {by}: {gone.why or 'no reason is kept'}", markup=False)
    if not is_blank(gone.experience):
        sources = ", ".join(gone.experience.sources) or "nobody who is named"
        output.out.print(f"  came from: {sources}", markup=False)


def _explained(one: Standing, going: Pace, k: int) -> list[str]:
    """Return the evidence on one lesson, a stage a line."""
    lines = [f"waits for {one.waits_for}{_more(one)}"]
    if one.pairs:
        lines.append(
            f"replays: lift {one.lift:+.2f} in {one.pairs} pairs of answers; wealth {one.helps:.3g} of "
            f"{one.needed['helps']:g} that it helps, {one.useless:.3g} of {one.needed['useless']:g} that it is useless"
        )
    if one.outcomes:
        rule = (one.experience.trial or Trial()).rule
        lines.append(
            f"live ({rule}): {one.outcomes} outcomes; wealth {one.live:.3g} of {one.needed['live']:.3g} that it helps, "
            f"{one.harms:.3g} of {one.needed['harms']:g} that it hurts"
        )
    if one.experience.state == "trial":
        lines += _of_the_trial(one, going)
    elif going.a_day is not None:
        lines.append(
            f"so far {going.a_day:.3g} pairs a day since {one.experience.created_at:%Y-%m-%d}"
        )
        if going.days:
            lines.append(
                f"at this rate about {_days(going.days)} more, if it goes on helping as much"
            )
    if one.principals:
        left_out = f"; wealths are without the {k} loudest" if k else ""
        lines.append(f"principals heard: {one.principals}{left_out}")
    lines.append(
        f"comes from: {output.one_line(', '.join(one.experience.sources)) or 'nobody who is named'}"
    )
    return lines


def _of_the_trial(one: Standing, going: Pace) -> list[str]:
    trial = one.experience.trial
    if trial is None or trial.began_at is None:
        return []
    ends = trial.began_at + LONGEST_TRIAL
    rate = f"; {going.a_day:.3g} outcomes a day" if going.a_day is not None else ""
    lines = [f"on trial since {trial.began_at:%Y-%m-%d}, until {ends:%Y-%m-%d} at most{rate}"]
    if going.days is not None and not trial.passed:
        lines.append(f"at this rate about {_days(going.days)} more")
    return lines


def _more(one: Standing) -> str:
    """Return about how much more a lesson needs, in words."""
    state, trial = one.experience.state, one.experience.trial or Trial()
    if not one.left or state == "active" or trial.ended or trial.passed:
        return ""
    unit = "graded requests that it applies to" if state == "trial" else "pairs"
    return f"; about {one.left} {unit} more"


def _days(days: float) -> str:
    return f"{days:.1f} days" if days < 10 else f"{days:.0f} days"


def _ago(at: datetime) -> str:
    return _seconds(max(0.0, (datetime.now(UTC) - at).total_seconds()))


def _seconds(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
