"""The part of the report on an agent in service that learns from its traffic."""

from collections.abc import Sequence
from statistics import fmean

from examples.live_desk import PRINCIPALS
from examples.results_summary import Figures, plain

ENDS = 4  # windows at the beginning and at the end that are compared: one alone is a matter of luck
WISHED_FOR = 0.3


def about_traffic(run: Figures) -> str:
    """Return the section on a run of `examples.live_desk.serve`."""
    size = run["window"]
    rows = (
        f"| {i * size + 1} to {(i + 1) * size} | {score:.2f} |"
        for i, score in enumerate(run["windows"])
    )
    lines = [
        f"## Learning from traffic: {run['family']}\n",
        f"{_what_came(run)}\n",
        f"{_what_was_learned(run)}\n",
        f"{_what_it_took(run)}\n",
        f"{_gain(run['windows'], size)} Wished for was {WISHED_FOR:+.2f} within 1,000 requests. "
        "The desk has few questions, and each of them comes again and again.\n",
        "| requests | accuracy |",
        "|---|---|",
        *rows,
        "",
        *(f"- {plain(lesson)}" for lesson in run["lessons"]),
        "",
    ]
    return "\n".join(lines)


def _what_came(run: Figures) -> str:
    came = (
        f"{run['requests']:,} requests of {PRINCIPALS} users, of which {run['graded']} were graded"
    )
    return (
        f"{came}, in {run['seconds'] / 60:.0f} minutes, with the code of commit {run['code']}; "
        f"one learner beside the agent. {_days(run)} Requests wait for the learner: no more than a "
        f"few graded episodes wait at a time ({run['waited_in_vain']} times for a minute in vain). "
        "`python -m examples.results --only traffic --again` makes this run alone; it is the last "
        "of `make results`, whose two hours may not come to it."
    )


def _days(run: Figures) -> str:
    """Return how the days passed, for what is allowed a day."""
    by_day, allowed = run["replay_calls_by_day"], run["funnel"]["replay_calls_a_day"]
    return (
        f"All settings are the profile's defaults. {run['requests_a_day']} requests come on a "
        f"day: then the server's clock goes on to the next one. Replays took {max(by_day):,} "
        f"student calls on the busiest of {len(by_day)} days, of {allowed:,} that they may take."
    )


def _what_was_learned(run: Figures) -> str:
    way = run["funnel"]
    return (
        f"Episodes learned from: {way['learned_from']} ({way['taught']} taught something), "
        f"waiting at the end: {way['waiting']}. Pairs replayed: {way['pairs']} for the lessons "
        f"that are there. Lessons proposed: {way['proposed']}, "
        f"on trial: {way['trial']}, active: {way['active']}."
    )


def _what_it_took(run: Figures) -> str:
    way = run["funnel"]
    student, teacher = (
        sum(way[work][who]["calls"] for work in ("learning", "replays"))
        for who in ("student", "teacher")
    )
    replays = way["replays"]["student"]["calls"]
    share = run["cpu_seconds"] / max(run["seconds"], 1)
    return (
        f"It took {student:,} calls of the student ({replays:,} of them for replays) and "
        f"{teacher:,} of the teacher besides the agent's own. Agent and learner themselves took "
        f"{share:.0%} of one core; the server of the models, a process of its own, is not in that."
    )


def _gain(windows: Sequence[float], size: int) -> str:
    if len(windows) < 2 * ENDS:
        return "There were too few requests to tell whether it got better."
    first, last = fmean(windows[:ENDS]), fmean(windows[-ENDS:])
    told = f"From the first {ENDS} windows of {size} requests to the last {ENDS}"
    return f"{told}: {first:.2f} to {last:.2f}, {last - first:+.2f}."
