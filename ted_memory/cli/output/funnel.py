"""The way from episodes to lessons: of one namespace a line a stage, of many a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ted_memory.cli.output.terminal import out

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.learner import Funnel
    from ted_memory.llm.spend import Prices, Spend


def costs(way: Funnel, prices: Prices | None) -> dict[str, float] | None:
    """Say what today has cost for learning and for replays; None where nobody told the prices."""
    if prices is None:
        return None
    return {"learning": _cost(way.learning, prices), "replays": _cost(way.replays, prices)}


def _cost(spend: Spend, prices: Prices) -> float:
    return round(prices.cost(spend), 6)


def print_funnel(way: Funnel, counts: Mapping[str, int], prices: Prices | None) -> None:
    """Print one line for each stage; ``counts`` are the totals of `episodes.Traffic`."""
    out.print("from traffic to lessons:")
    for stage, number, unit, details in _stages(way, counts, prices):
        told = "; ".join(detail for detail in details if detail)
        out.print(f"  {stage:<13}{number:>7} {unit:<9}{told}".rstrip(), markup=False)
    _print_moved(way)


def in_one_line(namespace: str, way: Funnel, prices: Prices | None) -> str:
    """Write one namespace's way in a line."""
    lessons = (
        f"{way.proposed} proposed, {way.trial} on trial, "
        f"{way.for_a_person} for a person, {way.active} active"
    )
    spent, paid = costs(way, prices), ""
    if spent and prices:
        paid = f"; {sum(spent.values()):.4f} {prices.currency} today"
    episodes = f"{way.recorded} recorded, {way.learned_from} learned from"
    return f"{namespace}: {episodes}; {way.pairs} pairs; {lessons}{paid}"


def _stages(
    way: Funnel, counts: Mapping[str, int], prices: Prices | None
) -> list[tuple[str, int, str, list[str]]]:
    """List the stages: name, number, unit, and what else is to be said of it (or "")."""
    lost = [
        f"{counts[name]} {name}" for name in ("dropped", "limited", "expired") if counts.get(name)
    ]
    learning, replays = _paid(way.learning, prices), _paid(way.replays, prices)
    calls = way.learning.student.calls + way.learning.teacher.calls
    quota = f"{way.replay_calls} of {way.replay_calls_a_day} calls today"
    by_hand = "ted-memory approve, reject" if way.for_a_person else ""
    led = f"{way.taught} episodes led to a proposal"
    return [
        ("recorded", way.recorded, "episodes", lost),
        ("learned from", way.learned_from, "episodes", [f"{calls} calls today", learning]),
        ("archived", way.archived, "episodes", ["graded, for replays"]),
        ("proposed", way.proposed, "lessons", [led]),
        ("replayed", way.pairs, "pairs", [quota, replays]),
        ("on trial", way.trial, "lessons", [f"{way.outcomes} live outcomes"]),
        ("for a person", way.for_a_person, "lessons", [by_hand]),
        ("active", way.active, "lessons", [f"{way.comparisons} comparisons since"]),
    ]


def _paid(spend: Spend, prices: Prices | None) -> str:
    return f"{_cost(spend, prices):.4f} {prices.currency}" if prices else ""


def _print_moved(way: Funnel) -> None:
    """Print what learners did with lessons today."""
    moved = {
        "put on trial": way.trials_begun,
        "activated": way.activated,
        "retired": way.retired,
        "demoted": way.demoted,
    }
    if any(moved.values()):
        told = ", ".join(f"{number} {what}" for what, number in moved.items() if number)
        out.print(f"lessons today: {told}", markup=False)
