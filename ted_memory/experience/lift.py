"""Usage statistics that mean something: lift, estimated from randomised comparisons.

An experience that stands in every prompt is "used" every time, which says nothing. What counts is
how much more often attempts succeed with it than without it. Within one sample's group of attempts
each experience is left out at random, so the group's own difference is free of the sample's
difficulty. A group with ``a`` attempts with and ``b`` without it estimates the lift with variance
``sigma^2 (1/a + 1/b)``, where ``sigma^2 <= 1/4`` for scores in [0, 1]; its weight is therefore ``w
= a b / (a + b)``. Groups add up: ``weight += w``, ``weighted_difference += w * d``.

The posterior is the conjugate normal one with the prior ``N(0, 0.2^2)``: at small n it stays near
zero.
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
    """Posterior mean of the lift and its 90 % bounds; all in units of score."""

    mean: float
    low: float
    high: float


def estimate(usage: Usage) -> Utility:
    """Return the posterior of the lift; with no evidence, the prior."""
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
    """Return lift and 90 % bounds from the outcomes alone, without a prior; None when there are no outcomes."""
    weight, total = _evidence(usage)
    if not weight:
        return None
    half = Z90 * math.sqrt(SCORE_VARIANCE / weight)
    return Utility(total / weight, total / weight - half, total / weight + half)


def group_usage(trajectories: Sequence[Trajectory]) -> dict[str, Usage]:
    """Return what one group of attempts at one sample says about each experience that was eligible in it.

    Attempts without a score are left out; so are experiences that all attempts, or none, had seen.
    """
    scored = [(t, t.score) for t in trajectories if t.score is not None]
    usages: dict[str, Usage] = {}
    for id in sorted({id for t, _ in scored for id in t.eligible}):
        with_it = [score for t, score in scored if id in t.eligible and id in t.seen]
        without = [score for t, score in scored if id in t.eligible and id not in t.seen]
        if with_it and without:
            weight = len(with_it) * len(without) / (len(with_it) + len(without))
            difference = sum(with_it) / len(with_it) - sum(without) / len(without)
            usages[id] = Usage(weight=weight, weighted_difference=weight * difference)
    return usages


def add_citations(
    usages: Mapping[str, Usage], helped: Iterable[str], hurt: Iterable[str]
) -> dict[str, Usage]:
    """Return the usages with the critic's citations counted in."""
    counted = dict(usages)
    for ids, field in ((helped, "helped"), (hurt, "hurt")):
        for id in ids:
            usage = counted.get(id, Usage())
            counted[id] = usage.model_copy(update={field: getattr(usage, field) + 1})
    return counted


def keepers_first(
    experiences: Iterable[Experience], usage: Mapping[str, Usage], compaction: Compaction
) -> list[Experience]:
    """Return the experiences in the order in which they are kept; when a cap presses, the last one goes first.

    By estimated lift (``utility``), by how often the critic said that one helped (``count``), or
    the newest first (``age``); the latter two are there to be compared with.
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
