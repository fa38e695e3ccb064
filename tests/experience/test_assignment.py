"""Who is shown which lesson: by a fair coin for each conversation and lesson."""

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.episodes import ANONYMOUS, Exposure
from ted_memory.experience import assignment
from ted_memory.experience.assignment import (
    COIN,
    LONGEST_SHOWN,
    LONGEST_TRIAL,
    Selector,
    draw,
    is_from,
    principals,
)
from ted_memory.models import Experience, Trial
from tests.experience.asking import ranked
from tests.experience.exposing import SELECTORS, UNITS, WORDS, near, shown
from tests.experience.lessons import NOW, lesson, on_trial, proposed

Array = np.ndarray


# --- draws


def test_a_draw_is_always_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def digest(self) -> bytes:
            return b"\xff" * 32

    monkeypatch.setattr(hashlib, "sha256", lambda _: Highest())
    assert 0.999 < draw("u") < 1, "else the last of n would be n + 1st"
    assert shown(lesson("l1"), withhold=0.5).seen == ("l1",)


@given(st.text(), st.text())
def test_the_same_parts_give_the_same_draw(unit: str, id: str) -> None:
    assert draw(unit, id) == draw(unit, id)
    assert 0 <= draw(unit, id) < 1


def test_draws_are_spread_evenly() -> None:
    drawn = [draw("epoch", f"unit-{i}", "lesson") for i in range(UNITS)]
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert counts.sum() == UNITS
    assert all(near(count / UNITS, 1 / 20) for count in counts)


def test_parts_are_told_apart() -> None:
    assert draw("ab", "c") != draw("a", "bc")


# --- the coin


CROWD = ("l1", "l2", "l3", "l4")
ACTIVE = ("l6", "l7", "l8", "l9")


@cache
def exposures() -> list[Exposure]:
    """Return what many conversations are shown of a set with lessons of both kinds."""
    lessons = [*map(on_trial, CROWD), *map(lesson, ACTIVE)]
    return [shown(*lessons, unit=f"unit-{i}", withhold=0.1) for i in range(UNITS)]


def test_half_of_the_conversations_see_a_lesson_on_trial_and_the_rest_miss_it() -> None:
    seen = Counter(id for one in exposures() for id in one.seen)
    withheld = Counter(id for one in exposures() for id in one.withheld)
    assert COIN == 0.5
    assert all(near(seen[id] / UNITS, 0.5) for id in CROWD), seen
    assert all(seen[id] + withheld[id] == UNITS for id in CROWD)


def test_trials_do_not_disturb_each_other() -> None:
    """Each two lessons on trial are drawn independently of each other, and so are all together."""
    saw = np.array([[id in one.seen for id in CROWD] for one in exposures()])
    correlations = np.corrcoef(saw.T)[np.triu_indices(len(CROWD), 1)]
    assert np.abs(correlations).max() <= 4 / UNITS**0.5
    combinations = Counter(map(tuple, saw.tolist()))
    assert len(combinations) == 2 ** len(CROWD)
    assert all(near(count / UNITS, 1 / 2 ** len(CROWD)) for count in combinations.values())


def test_one_coin_for_all_lessons_would_be_noticed() -> None:
    """The control: with one coin for each conversation, some users would see all of them."""
    saw = np.array([[draw("epoch", f"unit-{i}") < COIN for _ in CROWD] for i in range(UNITS)])
    assert np.abs(np.corrcoef(saw.T)[np.triu_indices(len(CROWD), 1)]).max() > 0.99


def test_the_coin_is_salted_with_the_epoch() -> None:
    """Whoever chooses the id of a conversation does not choose the side: epochs differ."""

    def sides(epoch: str) -> Array:
        return np.array(
            [bool(shown(on_trial("l1"), unit=str(i), epoch=epoch).seen) for i in range(2000)]
        )

    assert near(float((sides("a") == sides("b")).mean()), 0.5, 2000)
    assert (sides("a") == sides("a")).all()


@given(st.text(), st.sampled_from(SELECTORS), st.sampled_from(WORDS))
def test_a_conversation_is_always_shown_the_same(unit: str, choose: Selector, asked: str) -> None:
    lessons = [lesson("l1"), lesson("l2", when="tea"), on_trial("l3"), on_trial("l4", when="rain")]
    one, two = (
        shown(*lessons, unit=unit, withhold=0.5, choose=choose, asked=asked) for _ in range(2)
    )
    assert one == two


def test_a_lesson_that_waits_and_one_whose_trial_has_not_begun_are_shown_to_nobody() -> None:
    passed = lesson("l4", "trial", Trial(passed=True))
    waiting = [proposed("l1"), on_trial("l2", bet=0), lesson("l3", "trial"), passed]
    for i in range(50):
        one = shown(*waiting, unit=str(i), withhold=0.5)
        assert (one.block, one.seen, one.withheld, one.counted) == ("", (), (), ())
    begun = Counter(len(shown(on_trial("l2"), unit=str(i)).seen) for i in range(50))
    assert set(begun) == {0, 1}, "the control: one that has begun is seen by some"


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("is_naive", [False, True])
def test_a_trial_that_no_learner_has_ended_in_time_is_neither_shown_nor_counted(
    passed: bool, is_naive: bool
) -> None:
    began = NOW.replace(tzinfo=None) if is_naive else NOW
    late = lesson("l1", "trial", Trial(bet=0.4, began_at=began, passed=passed))

    def given(now: datetime) -> list[Exposure]:
        return [shown(late, lesson("l2"), unit=str(i), now=now) for i in range(50)]

    for now in (NOW - timedelta(days=400), NOW, NOW + LONGEST_SHOWN):
        assert {one.seen for one in given(now)} == {("l2",), ("l2", "l1")}
        assert any("l1" in one.counted for one in given(now))
    for one in given(NOW + LONGEST_SHOWN + timedelta(seconds=1)):
        assert (one.seen, one.withheld, "l1" in one.counted) == (("l2",), (), False)
    assert LONGEST_SHOWN > LONGEST_TRIAL, "what a learner ends in time counts to its end"


def test_were_time_no_end_a_trial_would_be_shown_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(assignment, "LONGEST_SHOWN", timedelta.max)
    with pytest.raises(AssertionError):
        test_a_trial_that_no_learner_has_ended_in_time_is_neither_shown_nor_counted(False, False)


# --- active lessons


def test_one_active_lesson_is_withheld_in_its_share_of_the_units_and_each_as_often() -> None:
    missing = [[id for id in one.withheld if id in ACTIVE] for one in exposures()]
    assert max(map(len, missing)) == 1
    counts = Counter(id for ids in missing for id in ids)
    assert near(counts.total() / UNITS, 0.1)
    assert all(near(counts[id] / UNITS, 0.025) for id in ACTIVE), counts


def test_one_active_lesson_counts_for_each_unit_missing_or_not() -> None:
    watched = [[id for id in (*one.counted, *one.withheld) if id in ACTIVE] for one in exposures()]
    assert {len(ids) for ids in watched} == {1}
    counts = Counter(ids[0] for ids in watched)
    assert all(near(counts[id] / UNITS, 0.25) for id in ACTIVE), counts


def test_an_exposure_says_with_which_chance_an_active_lesson_was_withheld() -> None:
    assert shown(lesson("l1"), withhold=0.1).withhold_share == 0.1
    assert (shown(lesson("l1")).epoch, shown(lesson("l1")).version) == ("epoch", 5)
    assert all(shown(lesson("l1"), unit=str(i)).withheld == () for i in range(200)), (
        "at a share of 0 none is"
    )


def test_an_active_lesson_is_measured_on_the_same_requests_with_and_without_it() -> None:
    """Take a lesson that stands alone on easy requests, and among many on hard ones.

    If all in the block counted, it would be withheld more often on the easy ones.
    """
    ease = {"tea": 0.9, "coffee": 0.3}  # whatever is shown: no lesson does anything
    crowd = [
        lesson("l0", when="tea or coffee"),
        *(lesson(f"l{i}", when="coffee") for i in range(1, 10)),
    ]
    rankings = {asked: ranked(crowd, asked) for asked in ease}
    counted, without, seen = [], [], []
    for i in range(8000):
        asked = "tea" if i % 2 else "coffee"
        one = shown(*crowd, unit=str(i), withhold=0.3, ranking=rankings[asked])
        counted += [ease[asked]] * ("l0" in one.counted)
        without += [ease[asked]] * ("l0" in one.withheld)
        seen += [ease[asked]] * ("l0" in one.seen)
    assert abs(np.mean(counted) - np.mean(without)) < 0.03
    assert np.mean(seen) - np.mean(without) < -0.15, (
        "the control: had all counted, it would be demoted"
    )


# --- sources


def test_a_lesson_is_neither_tried_nor_watched_on_those_whom_it_came_from() -> None:
    def measured_on(name: str, one: Experience) -> int:
        answers = [shown(one, unit=str(i), by=name, withhold=0.5) for i in range(200)]
        return sum(bool(answer.counted or answer.withheld) for answer in answers)

    assert [measured_on(name, on_trial("l1")) for name in ("anna", "bert", "carl")] == [0, 0, 200]
    assert [measured_on(name, lesson("l1")) for name in ("anna", "bert", "carl")] == [0, 0, 200]
    by_anna = [shown(lesson("l1"), unit=str(i), by="anna", withhold=0.5) for i in range(200)]
    assert all(one.seen for one in by_anna), "all may see it"
    assert not any(shown(on_trial("l1"), unit=str(i), by="anna").seen for i in range(200))


def test_nobody_is_known_to_be_anonymous() -> None:
    by = (f"principal:{ANONYMOUS}", "run:r1", "principal:anna")
    told = lesson("l1", sources=by)
    assert is_from(told, "anna")
    assert not is_from(told, "carl")
    assert not is_from(told, ANONYMOUS), "who that is nobody knows"
    assert is_from(told, ANONYMOUS, "r1")
    assert is_from(told, "carl", "r1")
    assert principals(told) == {ANONYMOUS, "anna"}
