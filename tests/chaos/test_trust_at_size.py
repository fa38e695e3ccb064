"""What trials let through, over many lessons: the rates that the simulation of `experience` asserts in a small size."""

from collections.abc import Sequence

import pytest

from tests.chaos.sizes import report, size
from tests.experience.test_trust_simulation import (
    BASES,
    LESSONS,
    Life,
    after_each_outcome,
    lifts_at_decision,
    live,
    share,
    share_pooled_active,
)

COUNT = size(20, 2000)
SEED = 2  # not that of the small simulation
KINDS = {"-0.2": 0.05, "+0": 0.05, "+0.2": 1.0}  # lift -> share that may become active
SMALL_CHANCE = size(0.1, 0.0)  # few lessons are far from their mean


def many(lift: float, base: str, **how: object) -> list[Life]:
    """Return the lives of `COUNT` lessons; in sets of limited size, as they are anywhere."""
    seeds = range(SEED, SEED + -(-COUNT // LESSONS))
    return [life for seed in seeds for life in live(lift, BASES[base], seed=seed, lessons=min(COUNT, LESSONS), **how)]


def told(lives: Sequence[Life]) -> str:
    harmed = sum(life.hurt for life in lives) / len(lives)
    requests = sum(life.requests for life in lives) / len(lives)
    return f"{share(lives, 'active'):.2%} active, {harmed:.2%} ended by harm, {requests:.0f} requests on average"


@pytest.mark.parametrize("base", list(BASES))
@pytest.mark.parametrize("lift", list(KINDS))
def test_the_right_lessons_become_active(lift: str, base: str) -> None:
    lives = many(float(lift), base)
    assert share(lives, "active") <= KINDS[lift] + SMALL_CHANCE
    if float(lift) > 0:
        assert share(lives, "active") >= 0.95 - SMALL_CHANCE
    report(f"{len(lives)} lessons of lift {lift} at base rate {base}: {told(lives)}")


def test_deciding_after_each_outcome_would_let_many_in() -> None:
    lives = many(0.0, "0.5", look=after_each_outcome)
    assert share(lives, "active") > 0.1 - SMALL_CHANCE
    report(f"{len(lives)} lessons of lift 0, decided after each outcome (the control): {told(lives)}")


def test_without_strata_a_change_of_the_traffic_would_be_a_lift() -> None:
    lives = many(0.0, "soon")
    strata, pooled = lifts_at_decision(lives)
    assert abs(strata) < 0.03 + SMALL_CHANCE
    assert share_pooled_active(lives) > 0.5
    report(
        f"{len(lives)} lessons of lift 0 while the base rate goes from 0.3 to 0.8 within 500 requests: lift "
        f"{strata:+.3f} with strata; {pooled:+.3f} without, and {share_pooled_active(lives):.2%} active (the control)"
    )
