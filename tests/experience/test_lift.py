"""Lift from randomised comparisons: what the estimate says, and that its bounds hold."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.lift import (
    PRIOR_DEVIATION,
    Z90,
    add_citations,
    estimate,
    group_usage,
    rank,
)
from ted_memory.models import Experience, Trajectory, Usage

Attempt = tuple[float | None, str]
"""A score, and the ids that it saw as letters."""


def attempts(*scored: Attempt, eligible: str = "ab") -> list[Trajectory]:
    return [
        Trajectory(score=score, seen=tuple(seen), eligible=tuple(eligible))
        for score, seen in scored
    ]


def total(usages: list[Usage]) -> Usage:
    return Usage(
        weight=sum(u.weight for u in usages),
        weighted_difference=sum(u.weighted_difference for u in usages),
    )


# --- estimate


def test_without_evidence_it_is_the_prior() -> None:
    prior = estimate(Usage())
    assert prior.mean == 0
    assert prior.high == pytest.approx(Z90 * PRIOR_DEVIATION)
    assert prior.low == -prior.high
    assert estimate(Usage(n_with=50, successes_with=50)) == prior, "one arm alone says nothing"
    assert estimate(Usage(helped=9)) == prior, "citations are no evidence of lift"


def test_little_evidence_is_shrunk_to_zero_and_much_is_believed() -> None:
    def mean(weight: float) -> float:
        return estimate(Usage(weight=weight, weighted_difference=weight * 0.4)).mean

    assert mean(0.8) < 0.1
    assert mean(0.8) < mean(5) < mean(50) < 0.4
    assert mean(5000) == pytest.approx(0.4, abs=0.001)


def test_the_posterior_is_the_conjugate_one() -> None:
    # prior precision 25; weight 10 at variance 1/4 adds 40: mean = 40 / 65 of what was seen
    seen = estimate(Usage(weight=10, weighted_difference=3))
    assert seen.mean == pytest.approx(0.3 * 40 / 65)
    assert seen.high - seen.low == pytest.approx(2 * Z90 / 65**0.5)


def test_arms_of_live_trials_count_like_a_group_of_the_same_size() -> None:
    arms = Usage(n_with=6, successes_with=5, n_without=3, successes_without=1)
    difference = 5 / 6 - 1 / 3
    assert estimate(arms).mean == pytest.approx(
        estimate(Usage(weight=2, weighted_difference=2 * difference)).mean
    )


@given(st.floats(0.01, 1000), st.floats(-1, 1), st.floats(0.01, 100))
def test_more_evidence_narrows_the_bounds_and_never_turns_the_sign(
    weight: float, lift: float, more: float
) -> None:
    one = estimate(Usage(weight=weight, weighted_difference=weight * lift))
    two = estimate(Usage(weight=weight + more, weighted_difference=(weight + more) * lift))
    assert two.high - two.low < one.high - one.low
    assert one.mean * lift >= 0
    assert abs(one.mean) <= abs(two.mean) + 1e-12
    assert abs(two.mean) <= abs(lift) + 1e-12


# --- group_usage


def test_a_group_compares_attempts_with_and_without_each_lesson() -> None:
    usage = group_usage(attempts((1.0, "ab"), (1.0, "a"), (0.0, "b"), (0.0, "")))
    assert usage["a"] == Usage(weight=1.0, weighted_difference=1.0)
    assert usage["b"] == Usage(weight=1.0, weighted_difference=0.0)


def test_the_direction_is_with_minus_without() -> None:
    assert group_usage(attempts((0.0, "a"), (1.0, "")))["a"].weighted_difference < 0
    assert group_usage(attempts((1.0, "a"), (0.0, "")))["a"].weighted_difference > 0


def test_a_lesson_that_all_or_none_had_seen_says_nothing() -> None:
    assert group_usage(attempts((1.0, "a"), (0.0, "a"))) == {}
    assert group_usage(attempts((1.0, ""), (0.0, ""))) == {}
    assert group_usage([]) == {}


def test_attempts_without_a_score_are_left_out() -> None:
    assert group_usage(attempts((1.0, "a"), (None, ""))) == {}
    assert group_usage(attempts((1.0, "a"), (None, ""), (0.0, "")))["a"] == Usage(
        weight=0.5, weighted_difference=0.5
    )


def test_a_lesson_that_was_not_eligible_counts_in_no_arm() -> None:
    mixed = [*attempts((1.0, "a"), (0.0, "")), *attempts((1.0, "b"), (1.0, "a"), eligible="b")]
    assert group_usage(mixed)["a"] == Usage(weight=0.5, weighted_difference=0.5)


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from(["", "a", "b", "ab"])), max_size=8),
)
def test_a_harder_sample_changes_nothing(easier: float, scored: list[Attempt]) -> None:
    shifted = [(0.0 if score is None else score + easier / 2, seen) for score, seen in scored]
    one, two = group_usage(attempts(*scored)), group_usage(attempts(*shifted))
    assert one.keys() == two.keys()
    for id, usage in one.items():
        assert two[id].weighted_difference == pytest.approx(usage.weighted_difference, abs=1e-9)


# --- simulation


def _simulated(lift: float, chance: random.Random, groups: int) -> Usage:
    """Simulate a lesson of this lift, in groups of five attempts that each see it at 0.8."""
    usages = []
    for _ in range(groups):
        ease = chance.uniform(max(0.0, -lift), min(1.0, 1.0 - lift))
        group = []
        for _ in range(5):
            seen = chance.random() < 0.8
            group.append((float(chance.random() < ease + lift * seen), "a" if seen else ""))
        usages.extend(group_usage(attempts(*group, eligible="a")).values())
    return total(usages)


def _lifts(chance: random.Random, count: int) -> list[float]:
    return [max(-0.9, min(0.9, chance.gauss(0, PRIOR_DEVIATION))) for _ in range(count)]


@pytest.mark.parametrize("groups", [2, 10])
def test_the_bounds_cover_nine_of_ten_lifts(groups: int) -> None:
    chance = random.Random(20261124)
    lifts = _lifts(chance, 2000)
    covered = 0
    for lift in lifts:
        seen = estimate(_simulated(lift, chance, groups))
        covered += seen.low <= lift <= seen.high
    assert covered / len(lifts) >= 0.88


def test_the_bounds_are_not_so_wide_that_they_say_nothing() -> None:
    chance = random.Random(7)
    half = [estimate(_simulated(0.0, chance, 100)).high for _ in range(20)]
    assert max(half) < Z90 * PRIOR_DEVIATION


def test_ranking_by_estimate_puts_a_better_lesson_first() -> None:
    chance = random.Random(3)
    usage = {
        id: _simulated(lift, chance, 150)
        for id, lift in (("worse", -0.3), ("none", 0.0), ("better", 0.3))
    }
    lessons = [Experience(id=id, text=id, order=i) for i, id in enumerate(usage)]
    assert [e.id for e in rank(lessons, usage)] == ["better", "none", "worse"]


# --- citations


def test_citations_are_counted_on_top_of_what_is_there() -> None:
    usages = {"a": Usage(weight=1, helped=1)}
    counted = add_citations(usages, helped=["a", "b"], hurt=["b", "b"])
    assert counted == {"a": Usage(weight=1, helped=2), "b": Usage(helped=1, hurt=2)}
    assert usages == {"a": Usage(weight=1, helped=1)}, "what was handed in stays as it was"
