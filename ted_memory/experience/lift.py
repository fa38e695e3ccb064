"""Which experiences are worth their place: their lift, estimated from randomised comparisons.

For whoever orders experiences (`capacity`, the compactor, selection). An experience that stands in
every prompt is "used" every time, which says nothing. What counts is its *lift*: by how much the
mean score is higher with it than without it, in units of score ([0, 1]).

There are two kinds of comparison. Within one sample's group of attempts each experience is left out
at random, so the difference within the group is free of the sample's difficulty. A group with ``a``
attempts with it and ``b`` without it estimates the lift with variance ``sigma^2 (1/a + 1/b)``; its
weight is therefore ``w = a b / (a + b)``. Groups add up: ``weight += w``, ``weighted_difference +=
w d``. Live requests that a coin decided on count as one group of their own.

The estimate is the posterior of a normal mean whose variance is known (the conjugate one; any
textbook): with the prior ``N(0, 0.2^2)``, and ``sigma^2 = 1/4``, the largest variance that scores
in [0, 1] can have. After few comparisons it stays near 0. It only orders; whether a lesson helps at
all is decided by bets (`betting`, `evidence`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ted_memory.models import Experience, Trajectory, Usage
from ted_memory.settings import Compaction

PRIOR_DEVIATION = 0.2
SCORE_VARIANCE = 0.25
"""The largest variance that scores in [0, 1] can have: bounds are never too narrow."""

Z90 = 1.6448536269514722
"""Half-width of a two-sided 90 % interval, in standard deviations."""


@dataclass(frozen=True)
class Utility:
    """An estimate of the lift and its two-sided 90 % bounds, all in units of score."""

    mean: float
    low: float
    high: float


def estimate(usage: Usage) -> Utility:
    """Return the posterior of the lift. Without any comparison it is the prior: 0 +- 0.33."""
    weight, total = _evidence(usage)
    precision = 1 / PRIOR_DEVIATION**2 + weight / SCORE_VARIANCE
    mean = (total / SCORE_VARIANCE) / precision
    half = Z90 / math.sqrt(precision)
    return Utility(mean, mean - half, mean + half)


def _evidence(usage: Usage) -> tuple[float, float]:
    """Return the weight of all comparisons, and their weighted differences added up."""
    weight, total = usage.weight, usage.weighted_difference
    if usage.n_with and usage.n_without:
        arms = usage.n_with * usage.n_without / (usage.n_with + usage.n_without)
        difference = usage.successes_with / usage.n_with - usage.successes_without / usage.n_without
        weight, total = weight + arms, total + arms * difference
    return weight, total


def observed(usage: Usage) -> Utility | None:
    """Return the lift that was observed, without a prior; None where nothing was compared.

    The bounds are on the safe side: they take the largest variance that scores can have.
    """
    weight, total = _evidence(usage)
    if not weight:
        return None
    half = Z90 * math.sqrt(SCORE_VARIANCE / weight)
    return Utility(total / weight, total / weight - half, total / weight + half)


def group_usage(trajectories: Sequence[Trajectory]) -> dict[str, Usage]:
    """Return what one group of attempts at one sample says about each experience.

    Only experiences that some attempts saw and others missed by chance are compared. Attempts
    without a score are left out.
    """
    scored = [t for t in trajectories if t.score is not None]
    usages: dict[str, Usage] = {}
    for id in sorted({id for t in scored for id in t.eligible}):
        with_it, without = _sides(id, scored)
        if with_it and without:
            weight = len(with_it) * len(without) / (len(with_it) + len(without))
            difference = _mean(with_it) - _mean(without)
            usages[id] = Usage(weight=weight, weighted_difference=weight * difference)
    return usages


def _sides(id: str, scored: Iterable[Trajectory]) -> tuple[list[float], list[float]]:
    """Return the scores of the attempts that saw an experience, and of those that missed it."""
    with_it: list[float] = []
    without: list[float] = []
    for trajectory in scored:
        if id in trajectory.eligible and trajectory.score is not None:
            side = with_it if id in trajectory.seen else without
            side.append(trajectory.score)
    return with_it, without


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def add_citations(
    usages: Mapping[str, Usage], helped: Iterable[str], hurt: Iterable[str]
) -> dict[str, Usage]:
    """Return the usages, with one more citation by the critic for each of these ids."""
    counted = dict(usages)
    for id in helped:
        usage = counted.get(id, Usage())
        counted[id] = usage.model_copy(update={"helped": usage.helped + 1})
    for id in hurt:
        usage = counted.get(id, Usage())
        counted[id] = usage.model_copy(update={"hurt": usage.hurt + 1})
    return counted


def keepers_first(
    experiences: Iterable[Experience], usage: Mapping[str, Usage], compaction: Compaction
) -> list[Experience]:
    """Return the experiences, those to keep first: when a cap presses, the last one goes first.

    ``utility`` orders by estimated lift, ``count`` by how often the critic said that one helped,
    ``age`` puts the newest first. The latter two are there to be compared with.
    """
    if compaction == "count":
        return sorted(experiences, key=lambda e: (-usage.get(e.id, Usage()).helped, -e.order))
    if compaction == "age":
        return sorted(experiences, key=lambda e: -e.order)
    return rank(experiences, usage)


def rank(experiences: Iterable[Experience], usage: Mapping[str, Usage]) -> list[Experience]:
    """Return the experiences, highest estimated lift first; citations break ties, then age."""

    def key(experience: Experience) -> tuple[float, float, int]:
        known = usage.get(experience.id, Usage())
        return (-round(estimate(known).mean, 9), known.hurt - known.helped, experience.order)

    return sorted(experiences, key=key)
