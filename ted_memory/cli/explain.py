"""``ted-memory explain``: why one lesson stands where it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.lineage import is_blank
from ted_memory.experience.trials import loudest
from ted_memory.memory.client import TedMemory
from ted_memory.models import Trial

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.episodes import Standing
    from ted_memory.learner import Departure, Pace


def explain(
    id: place.Id,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Explain where one lesson stands, and why.

    Its evidence, what it waits for, about how long that takes. Of one that is no longer in the set:
    when it left, by whom, and why.

    Keys of --json: namespace, experience, waits_for, pairs, outcomes, principals, lift, helps,
    useless, live, harms, turned, needed, left, without_the_loudest, a_day, days. Of a lesson that
    has left: namespace, experience, version, at, author, why, into.

    Examples:
        ted-memory explain zue7z7 --namespace support
    """
    asyncio.run(_explain(place.memory_of(url, namespace, home), id, as_json=json))


async def _explain(memory: TedMemory, id: str, *, as_json: bool) -> None:
    from ted_memory.learner.overview import departure, pace
    from ted_memory.learner.standing import explain as standing_of

    async with memory:
        is_there = id in (await memory.load()).by_id
        if not is_there and (gone := await departure(memory, id)):
            _print_departure(memory.namespace, gone, as_json=as_json)
            return
        standing = await standing_of(memory, id)
    going, left_out = pace(standing), loudest(memory.settings)
    if as_json:
        output.print_json(
            {
                "namespace": memory.namespace,
                "experience": standing.experience.model_dump(mode="json"),
                **standing.model_dump(mode="json", exclude={"experience"}),
                "without_the_loudest": left_out,
                **going.model_dump(),
            }
        )
        return
    output.print_experience(standing.experience)
    for line in _evidence(standing, going, left_out):
        output.out.print(f"  {line}", markup=False)


def _print_departure(namespace: str, gone: Departure, *, as_json: bool) -> None:
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


def _evidence(standing: Standing, going: Pace, left_out: int) -> list[str]:
    """Put the evidence on one lesson in words, a stage a line."""
    lines = [output.waits_for(standing), *_stages(standing)]
    if standing.experience.state == "trial":
        lines += _of_the_trial(standing, going)
    else:
        lines += _of_the_replays(standing, going)
    if standing.principals:
        without = f"; wealths are without the {left_out} loudest" if left_out else ""
        lines.append(f"principals heard: {standing.principals}{without}")
    sources = output.one_line(", ".join(standing.experience.sources)) or "nobody who is named"
    lines.append(f"comes from: {sources}")
    return lines


def _stages(standing: Standing) -> list[str]:
    lines: list[str] = []
    if standing.pairs:
        lines.append(
            f"replays: lift {standing.lift:+.2f} in {standing.pairs} pairs of answers; "
            f"wealth {standing.helps:.3g} of {standing.needed['helps']:g} that it helps, "
            f"{standing.useless:.3g} of {standing.needed['useless']:g} that it is useless"
        )
    if standing.outcomes:
        rule = (standing.experience.trial or Trial()).rule
        lines.append(
            f"live ({rule}): {standing.outcomes} outcomes; "
            f"wealth {standing.live:.3g} of {standing.needed['live']:.3g} that it helps, "
            f"{standing.harms:.3g} of {standing.needed['harms']:g} that it hurts"
        )
    return lines


def _of_the_replays(standing: Standing, going: Pace) -> list[str]:
    if going.a_day is None:
        return []
    lines = [
        f"so far {going.a_day:.3g} pairs a day since {standing.experience.created_at:%Y-%m-%d}"
    ]
    if going.days:
        rate = f"at this rate about {_rounded(going.days)} more"
        lines.append(f"{rate}, if it goes on helping as much")
    return lines


def _of_the_trial(standing: Standing, going: Pace) -> list[str]:
    trial = standing.experience.trial
    if trial is None or trial.began_at is None:
        return []
    ends = trial.began_at + LONGEST_TRIAL
    rate = f"; {going.a_day:.3g} outcomes a day" if going.a_day is not None else ""
    lines = [f"on trial since {trial.began_at:%Y-%m-%d}, until {ends:%Y-%m-%d} at most{rate}"]
    if going.days is not None and not trial.passed:
        lines.append(f"at this rate about {_rounded(going.days)} more")
    return lines


def _rounded(days: float) -> str:
    return f"{days:.1f} days" if days < 10 else f"{days:.0f} days"
