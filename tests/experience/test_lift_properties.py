"""What holds for the estimate of a lift whatever the evidence: symmetry, bounds, order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.lift import Utility, estimate, group_usage, observed
from ted_memory.models import Trajectory, Usage
from tests.experience.lessons import added


def swapped(usage: Usage) -> Usage:
    """Exchange the arms: with it becomes without it."""
    return Usage(
        n_with=usage.n_without,
        successes_with=usage.successes_without,
        n_without=usage.n_with,
        successes_without=usage.successes_with,
        weight=usage.weight,
        weighted_difference=-usage.weighted_difference,
    )


@st.composite
def evidence(draw: st.DrawFn) -> Usage:
    n, m = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    weight = draw(st.floats(0, 100))
    return Usage(
        n_with=n,
        successes_with=draw(st.integers(0, n)),
        n_without=m,
        successes_without=draw(st.integers(0, m)),
        weight=weight,
        weighted_difference=weight * draw(st.floats(-1, 1)),
    )


def close(one: Utility, two: Utility) -> bool:
    return (one.mean, one.low, one.high) == pytest.approx((two.mean, two.low, two.high), abs=1e-9)


@given(evidence())
def test_exchanging_the_arms_turns_the_estimate_round(usage: Usage) -> None:
    one, two = estimate(usage), estimate(swapped(usage))
    assert close(one, Utility(-two.mean, -two.high, -two.low))


@given(evidence())
def test_the_estimate_lies_between_nothing_and_what_was_observed(usage: Usage) -> None:
    seen, shrunk = observed(usage), estimate(usage)
    if seen is None:
        assert shrunk == estimate(Usage())
        return
    assert abs(shrunk.mean) <= abs(seen.mean) + 1e-12
    assert shrunk.mean * seen.mean >= 0
    assert (
        shrunk.high - shrunk.low
        < min(seen.high - seen.low, estimate(Usage()).high - estimate(Usage()).low) + 1e-12
    )


@given(st.floats(0, 100), st.floats(0.01, 100), st.floats(-1, 1))
def test_bounds_become_narrower_with_weight_alone(weight: float, more: float, lift: float) -> None:
    light, heavy = (
        Usage(weight=weight),
        Usage(weight=weight + more, weighted_difference=lift * (weight + more)),
    )
    assert estimate(heavy).high - estimate(heavy).low < estimate(light).high - estimate(light).low


@given(st.lists(evidence(), min_size=2, max_size=5), st.randoms())
def test_the_order_of_evidence_of_both_kinds_does_not_matter(
    each: list[Usage], chance: object
) -> None:
    mixed = list(each)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert close(estimate(added(*each)), estimate(added(*mixed)))


scored = st.builds(
    Trajectory,
    score=st.floats(0, 1),
    seen=st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
    eligible=st.just(("a", "b")),
)


unscored = st.builds(Trajectory, seen=st.sampled_from([(), ("a",)]), eligible=st.just(("a", "b")))


of_others = st.builds(
    Trajectory, score=st.floats(0, 1), seen=st.sampled_from([(), ("a",)]), eligible=st.just(("c",))
)


@given(st.lists(scored, max_size=6), st.lists(unscored | of_others, max_size=4), st.randoms())
def test_attempts_without_a_score_or_of_others_change_nothing(
    counted: list[Trajectory], ignored: list[Trajectory], chance: object
) -> None:
    mixed = [*counted, *ignored]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    one, two = group_usage(counted), group_usage(mixed)
    assert one.keys() == two.keys()
    for id, usage in one.items():
        assert two[id].weight == usage.weight
        assert two[id].weighted_difference == pytest.approx(usage.weighted_difference, abs=1e-9)
