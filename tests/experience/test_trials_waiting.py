"""What a lesson from traffic waits for, in words and numbers, and what it stakes on its trial."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.evidence import LARGEST_BET, LEAST_BET, Evidence, Sums, live_bet
from ted_memory.experience.trials import ENOUGH, ENOUGH_OUTCOMES, is_replayed
from ted_memory.experience.waiting import outcomes_left, waits_for
from ted_memory.models import Experience, Trial
from ted_memory.settings import make_settings
from tests.experience.lessons import lesson, on_trial, proposed
from tests.experience.tally import BET, Tally, outcomes, pairs, watched

NOTHING = Evidence()
OTHERS = "of them not the busiest principals'"
ROOM = (
    "a learner's next look: its trial is passed. A full set has room only where another helps less"
)
REPLAYS = "replays on others' graded episodes"


def waits(one: Experience, evidence: Evidence = NOTHING, **tunables: object) -> str:
    return waits_for(one, evidence, make_settings(**tunables))


# --- what is replayed, what is waited for, and for how long


@pytest.mark.parametrize(
    ("one", "replayed"),
    [
        (proposed("l1"), True),
        (proposed("l1", by=()), False),
        (proposed("l1", trial=Trial(ended="no result")), False),
        (on_trial("l1"), True),
        (lesson("l1", "trial", Trial(bet=BET, passed=True)), False),
        (lesson("l1"), True),
        (lesson("l1", by=()), False),
        (lesson("l1", "retired"), False),
    ],
)
def test_replays_are_of_lessons_from_traffic_that_are_to_show_something(
    one: Experience, replayed: bool
) -> None:
    assert is_replayed(one) is replayed


@pytest.mark.parametrize(
    ("one", "evidence", "min_principals", "said"),
    [
        (lesson("l1"), NOTHING, 3, "nothing: it is active (wealth against it 1 of 1000)"),
        (
            lesson("l1"),
            watched(4, 0, 1, 4),
            1,
            "nothing: it is active (wealth against it 7.48 of 1000)",
        ),
        (
            on_trial("l1"),
            outcomes(30, lift=0.2),
            3,
            f"live outcomes: wealth 3.04 of 5 after 30, 22 of 600 {OTHERS}",
        ),
        (
            on_trial("l1").model_copy(update={"trial": Trial(bet=BET, rule="quick")}),
            NOTHING,
            3,
            f"live outcomes: wealth 1 of 100 after 0, 0 of 600 {OTHERS}",
        ),
        (on_trial("l1"), outcomes(200, lift=0.9), 3, ROOM),
        (
            proposed("l1"),
            pairs(2, 1, 0, 2),
            3,
            f"{REPLAYS}: wealth 1 of 20 without the 2 loudest principals after 2 pairs",
        ),
        (
            proposed("l1"),
            pairs(2, 1, 0, 2),
            1,
            f"{REPLAYS}: wealth 2.62 of 10 after 2 pairs",
        ),
    ],
)
def test_what_a_lesson_waits_for_is_said_with_its_wealth(
    one: Experience, evidence: Evidence, min_principals: int, said: str
) -> None:
    assert waits(one, evidence, min_principals=min_principals) == said


def left(evidence: Evidence, **tunables: object) -> int | None:
    return outcomes_left(evidence, make_settings(**tunables))


def test_how_much_more_is_needed_is_told_from_how_it_went_so_far() -> None:
    assert left(NOTHING) is None
    assert left(outcomes(50, lift=0.0)) is None, "it gets nowhere"
    assert left(outcomes(400, lift=0.6)) == 0
    some = outcomes(24, lift=0.3)
    assert some.live(2) < ENOUGH_OUTCOMES
    grows = math.log(some.live(2)) / 24
    expected = math.ceil(math.log(ENOUGH_OUTCOMES / some.live(2)) / grows)
    assert left(some) == expected
    early = outcomes(24, lift=0.3, replayed=7)
    assert 10 < early.helps(2) < ENOUGH
    assert (more := left(early)) is not None and more > expected, "its replays have shown less"


# --- the live bet


scores = st.floats(0, 1)


@given(st.lists(st.tuples(scores, scores), max_size=30), st.sampled_from([0.0, -0.1]))
def test_the_live_bet_is_never_nothing_and_never_everything(
    shown: list[tuple[float, float]],
    refuted: float,
) -> None:
    tally = Tally(1)
    for with_it, without_it in shown:
        tally.pair(0, with_it, without_it)
    bet = live_bet(tally.total, refuted)
    assert LEAST_BET <= bet <= LARGEST_BET
    assert Trial(bet=bet).bet == bet, "it can be kept"


def replays(lift: float, mean: float = 0.5) -> Sums:
    return Sums(
        pairs=100, score_with=100 * (mean + lift / 2), score_without=100 * (mean - lift / 2)
    )


def test_who_has_shown_more_stakes_more() -> None:
    bets = [live_bet(replays(lift), 0.0) for lift in (-0.2, 0.0, 0.1, 0.2, 0.4, 0.9)]
    assert bets[0] == bets[1] == 0.75 * 1.6 * 0.05 == pytest.approx(0.06)
    assert bets[1:] == sorted(bets[1:]) and len(set(bets)) == 5
    assert live_bet(replays(1.0, 0.5), 0.0) == pytest.approx(LARGEST_BET)


@pytest.mark.parametrize("refuted", [0.0, -0.1])
@pytest.mark.parametrize(("lift", "mean"), [(0.1, 0.5), (0.2, 0.5), (0.2, 0.3), (0.4, 0.6)])
def test_the_live_bet_lets_the_wealth_grow_almost_as_fast_as_the_best_one(
    lift: float, mean: float, refuted: float
) -> None:
    """Lessons on trial have been lucky, and three quarters of the best bet cost little growth."""

    def growth(bet: float) -> float:
        total = 0.0
        for sign, chance in ((1, mean + lift / 2), (-1, mean - lift / 2)):
            for score, weight in ((1, chance), (0, 1 - chance)):
                z = sign * 2 * (score - mean)
                total += weight / 2 * math.log(1 + bet * (z - refuted) / (1.6 + abs(refuted)))
        return total

    best = max(growth(bet / 100) for bet in range(1, 91))
    assert growth(live_bet(replays(lift, mean), refuted)) > 0.85 * best
    assert growth(LARGEST_BET) < 0.85 * best or lift >= 0.4, "the control: not every bet does"
