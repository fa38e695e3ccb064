"""The way from episodes to lessons, in words: of one namespace stage by stage, of many a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ted_memory.cli import output

if TYPE_CHECKING:  # what brings LangChain is imported where it is needed
    from ted_memory.learner import Funnel
    from ted_memory.llm.spend import Prices, Spend


def costs(way: Funnel, prices: Prices | None) -> dict[str, float] | None:
    """Return what today has cost, None where nobody told the prices."""
    if prices is None:
        return None

    def cost(spend: Spend) -> float:
        return round(prices.cost(spend), 6)

    return {"learning": cost(way.learning), "replays": cost(way.replays)}


def print_funnel(way: Funnel, counts: Mapping[str, int], prices: Prices | None) -> None:
    """Print one line for each stage; ``counts`` are the totals of `episodes.Traffic`."""
    lost = [
        f"{counts[name]} {name}" for name in ("dropped", "limited", "expired") if counts.get(name)
    ]
    calls = way.learning.student.calls + way.learning.teacher.calls
    quota = f"{way.replay_calls} of {way.replay_calls_a_day} calls today"
    by_hand = ["ted-memory approve, reject"] if way.for_a_person else []
    spent = costs(way, prices)
    paid = (
        {name: f"{cost:.4f} {prices.currency}" for name, cost in spent.items()}
        if spent and prices
        else {}
    )
    stages = [
        ("recorded", way.recorded, "episodes", lost),
        (
            "learned from",
            way.learned_from,
            "episodes",
            [f"{calls} calls today", paid.get("learning", "")],
        ),
        ("archived", way.archived, "episodes", ["graded, for replays"]),
        ("proposed", way.proposed, "lessons", [f"{way.taught} episodes led to a proposal"]),
        ("replayed", way.pairs, "pairs", [quota, paid.get("replays", "")]),
        ("on trial", way.trial, "lessons", [f"{way.outcomes} live outcomes"]),
        ("for a person", way.for_a_person, "lessons", by_hand),
        ("active", way.active, "lessons", [f"{way.comparisons} comparisons since"]),
    ]
    output.out.print("from traffic to lessons:")
    for name, number, unit, more in stages:
        told = "; ".join(part for part in more if part)
        output.out.print(f"  {name:<13}{number:>7} {unit:<9}{told}".rstrip(), markup=False)
    _print_moved(way)


def in_one_line(namespace: str, way: Funnel, prices: Prices | None) -> str:
    """Return one namespace's way in a line."""
    lessons = f"{way.proposed} proposed, {way.trial} on trial, {way.for_a_person} for a person, {way.active} active"
    spent = costs(way, prices)
    paid = f"; {sum(spent.values()):.4f} {prices.currency} today" if spent and prices else ""
    return f"{namespace}: {way.recorded} recorded, {way.learned_from} learned from; {way.pairs} pairs; {lessons}{paid}"


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
        output.out.print(f"lessons today: {told}", markup=False)
