"""Who is shown which lesson: a fair coin for each conversation and lesson, and what counts of it."""

import hashlib
import math
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
    TRIAL_SHARE,
    Selector,
    draw,
    expose,
    is_from,
    principals,
)
from ted_memory.experience.ranking import Ranking
from ted_memory.experience.rendering import FRAME_TOKENS, render_block
from ted_memory.models import Experience, Trial
from ted_memory.retrieval.selection import make_selector
from tests.experience.asking import applying, ranked
from tests.experience.lessons import NOW, TOKEN_BUDGET, a_set, lesson, on_trial, proposed

Array = np.ndarray
UNITS = 6000
ALL = make_selector("all", top_k=3, token_budget=TOKEN_BUDGET)
SELECTORS = [
    ALL,
    *(make_selector(name, top_k=2, token_budget=90) for name in ("budget", "relevant")),
]
WORDS = ["tea", "coffee", "rain", "tea or rain"]


def shown(
    *lessons: Experience,
    unit: str = "u",
    by: str = "carl",
    withhold: float = 0,
    choose: Selector = ALL,
    asked: str = "",
    epoch: str = "epoch",
    ranking: Ranking | None = None,
    now: datetime = NOW,
) -> Exposure:
    held = a_set(*lessons, epoch=epoch)
    ranking = ranking or ranked(held.candidates, asked)
    return expose(held, choose, ranking, unit=unit, principal=by, withhold_share=withhold, now=now)


def near(share: float, expected: float, count: int = UNITS) -> bool:
    """Tell whether a share is within four standard errors."""
    return abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)


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
    """Every pair of lessons on trial is drawn as if the other one were not there, and so are all of them."""
    saw = np.array([[id in one.seen for id in CROWD] for one in exposures()])
    correlations = np.corrcoef(saw.T)[np.triu_indices(len(CROWD), 1)]
    assert np.abs(correlations).max() <= 4 / UNITS**0.5
    combinations = Counter(map(tuple, saw.tolist()))
    assert len(combinations) == 2 ** len(CROWD)
    assert all(near(count / UNITS, 1 / 2 ** len(CROWD)) for count in combinations.values())


def test_one_coin_for_all_lessons_would_be_noticed() -> None:
    """The control: drawn by the conversation alone, the same users would see all lessons on trial."""
    saw = np.array([[draw("epoch", f"unit-{i}") < COIN for _ in CROWD] for i in range(UNITS)])
    assert np.abs(np.corrcoef(saw.T)[np.triu_indices(len(CROWD), 1)]).max() > 0.99


def test_the_coin_is_salted_with_the_epoch() -> None:
    """Who chooses the id of a conversation does not choose the side: it falls anew in another epoch."""

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
    """One that stands alone on easy requests and among many on hard ones is withheld more on easy ones."""
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


# --- room


def long_trials(count: int, tokens: int, when: str = "") -> list[Experience]:
    """Return lessons on trial that take so many tokens each."""
    lessons = [on_trial(f"l{i}", when=when) for i in range(1, count + 1)]
    return [e.model_copy(update={"tokens": tokens}) for e in lessons]


def test_lessons_on_trial_take_a_share_of_the_block_and_the_others_wait() -> None:
    room = int(TRIAL_SHARE * TOKEN_BUDGET)
    fits, too_long = long_trials(10, room // 4), long_trials(3, room // 2 + 1)
    seen = Counter(id for i in range(100) for id in shown(*fits, unit=str(i)).seen)
    assert set(seen) == {"l1", "l2", "l3", "l4"}
    ones = [shown(*too_long, unit=str(i)) for i in range(100)]
    assert {id for one in ones for id in (*one.seen, *one.withheld, *one.counted)} == {"l1"}
    assert any(one.withheld for one in ones) and any(one.seen for one in ones)
    queue = [*long_trials(2, room // 2 + 1), on_trial("l3")]
    ones = [shown(*queue, unit=str(i)) for i in range(100)]
    assert {id for one in ones for id in (*one.seen, *one.withheld)} == {"l1"}, (
        "a short one does not pass by"
    )


def test_a_trial_that_begins_takes_no_room_from_one_under_way() -> None:
    room = int(TRIAL_SHARE * TOKEN_BUDGET)
    older_lesson, under_way = long_trials(2, room // 2 + 1)
    began = {"began_at": NOW - timedelta(days=9)}
    under_way = under_way.model_copy(update={"trial": Trial(bet=0.4, **began)})
    zoneless = Trial(bet=0.4, began_at=NOW.replace(tzinfo=None))
    for lesson_ in (older_lesson, older_lesson.model_copy(update={"trial": zoneless})):
        ones = [shown(lesson_, under_way, unit=str(i)) for i in range(100)]
        assert {id for one in ones for id in (*one.seen, *one.withheld)} == {"l2"}


def test_a_lesson_on_trial_that_is_about_something_else_takes_no_room() -> None:
    tea, rain = long_trials(4, TOKEN_BUDGET // 4, when="tea"), [on_trial("l9", when="rain")]
    ones = [shown(*tea, *rain, unit=str(i), asked="rain") for i in range(100)]
    assert {id for one in ones for id in (*one.seen, *one.withheld)} == {"l9"}


# --- what counts


mixed = st.lists(
    st.builds(
        lambda state, bet, when: (state, Trial(bet=bet) if state == "trial" else None, when),
        st.sampled_from(["active", "active", "trial", "proposed"]),
        st.sampled_from([0.0, 0.05, 0.9]),
        st.sampled_from(["", *WORDS]),
    ),
    max_size=7,
).map(lambda drawn: [lesson(f"l{i}", *kind, when=when) for i, (*kind, when) in enumerate(drawn)])


@given(mixed, st.text(max_size=5), st.sampled_from(WORDS), st.sampled_from([0.0, 0.5]))
def test_what_is_seen_and_what_is_withheld_are_all_that_would_have_stood_there(
    lessons: list[Experience], unit: str, asked: str, withhold: float
) -> None:
    one = shown(*lessons, unit=unit, asked=asked, withhold=withhold)
    applies = applying(lessons, asked)
    tried = {e.id for e in lessons if e.trial and e.trial.bet and e.id in applies}
    active = {e.id for e in lessons if e.state == "active"}
    assert len(one.seen) + len(one.withheld) == len({*one.seen, *one.withheld})
    assert {*one.seen, *one.withheld} == active | tried
    assert {*one.counted, *one.withheld} <= applies, "who does not apply is not compared"
    assert tried & {*one.seen} <= {*one.counted}, "each lesson on trial counts where it was seen"
    assert len(active & {*one.withheld}) <= 1
    assert len(active & {*one.counted, *one.withheld}) == min(1, len(active & applies))
    assert one.block == render_block([e for id in one.seen for e in lessons if e.id == id])
    states = [e.state for id in one.seen for e in lessons if e.id == id]
    assert states == sorted(states), (
        "active ones first: what is on trial stands last, and none is proposed"
    )
    assert (one.epoch, one.version, one.withhold_share) == ("epoch", 5, withhold)


@given(mixed, st.text(max_size=5), st.sampled_from(WORDS), st.sampled_from(SELECTORS))
def test_nothing_counts_that_would_not_have_been_chosen(
    lessons: list[Experience], unit: str, asked: str, choose: Selector
) -> None:
    one = shown(*lessons, unit=unit, asked=asked, withhold=0.5, choose=choose)
    applies = applying(lessons, asked)
    tried = [e for e in lessons if e.trial and e.trial.bet and e.id in applies]
    candidates = a_set(*lessons).candidates
    chosen = choose(
        [*(e for e in lessons if e.state == "active"), *tried], {}, ranked(candidates, asked)
    )
    eligible = {e.id for e in chosen}
    assert {*one.counted, *one.withheld} <= eligible & applies
    assert {*one.counted} <= {*one.seen}
    assert {*one.seen}.isdisjoint(one.withheld)
    assert all(e.state == "active" for e in lessons if e.id in {*one.seen} - eligible)


@given(mixed, st.sampled_from(WORDS), st.sampled_from(SELECTORS))
def test_without_trials_the_block_is_what_render_gives(
    lessons: list[Experience],
    asked: str,
    choose: Selector,
) -> None:
    lessons = [e for e in lessons if e.state != "trial"]
    active = [e for e in lessons if e.state == "active"]
    expected = render_block(choose(active, {}, ranked(active, asked)))
    assert shown(*lessons, choose=choose, asked=asked).block == expected


@pytest.mark.parametrize("choose", SELECTORS[::2])
def test_lessons_on_trial_stand_last(choose: Selector) -> None:
    lessons = [on_trial("l1", when="tea tea tea"), lesson("l2", when="tea with rain")]
    orders = {shown(*lessons, unit=str(i), choose=choose, asked="tea").seen for i in range(50)}
    assert orders == {("l2", "l1"), ("l2",)}
    # the control: by their order, or by how well they fit, it would stand first
    assert [e.id for e in choose(lessons, {}, ranked(lessons, "tea"))] == ["l1", "l2"]


def test_nothing_counts_that_takes_the_place_of_what_is_missing() -> None:
    """Two on trial for one place: the second has no coin of its own where the first one is missing."""
    choose = make_selector("relevant", top_k=1, token_budget=TOKEN_BUDGET)
    rivals = [
        on_trial("l1", when="tea tea"),
        on_trial("l2", when="tea"),
        lesson("l3", when="rain, tea"),
    ]
    ones = [shown(*rivals, unit=str(i), choose=choose, asked="tea") for i in range(2000)]
    seen = Counter(id for one in ones for id in one.seen)
    assert near(seen["l1"] / 2000, 0.5, 2000)
    assert seen["l2"] == 0
    assert seen["l3"] == 2000 - seen["l1"], "what is active may stand there"
    assert {id for one in ones for id in (*one.counted, *one.withheld)} == {"l1"}, (
        "but it does not count"
    )


def sized(one: Experience, tokens: int) -> Experience:
    return one.model_copy(update={"tokens": tokens})


def test_a_coin_stays_fair_where_another_one_decides_who_fits() -> None:
    """Where `l1` is missing, the long `l2` takes its place, and `l3` no longer fits.

    Were `l3` then called withheld where its own coin says so, and left out where it does not, less
    than half of what counts would have seen it. Any guess that is wrong would look like lift.
    """
    choose = make_selector("relevant", top_k=1, token_budget=FRAME_TOKENS + 100)
    lessons = [
        sized(on_trial("l1", when="tea tea"), 50),
        sized(lesson("l2", when="rain, tea"), 90),
        sized(on_trial("l3"), 40),
    ]
    ranking = ranked(lessons, "tea")
    ones = [shown(*lessons, unit=str(i), choose=choose, ranking=ranking) for i in range(UNITS)]
    counted = [one for one in ones if "l3" in (*one.counted, *one.withheld)]
    assert near(len(counted) / UNITS, 0.5), "it counts where it fits, whatever its coin says"
    assert near(sum("l3" in one.seen for one in counted) / len(counted), 0.5, len(counted))
