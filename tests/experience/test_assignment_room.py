"""Which lessons on trial have a place in the prompt, and which lessons count for it."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.assignment import (
    TRIAL_SHARE,
    Selector,
)
from ted_memory.experience.rendering import FRAME_TOKENS, render_block
from ted_memory.models import Experience, Trial
from ted_memory.retrieval.selection import make_selector
from tests.experience.asking import applying, ranked
from tests.experience.exposing import SELECTORS, UNITS, WORDS, near, shown
from tests.experience.lessons import NOW, TOKEN_BUDGET, a_set, lesson, on_trial


def long_trials(count: int, tokens: int, when: str = "") -> list[Experience]:
    """Return lessons on trial that take so many tokens each."""
    lessons = [on_trial(f"l{i}", when=when) for i in range(1, count + 1)]
    return [e.model_copy(update={"tokens": tokens}) for e in lessons]


def in_a_hundred(
    lessons: Sequence[Experience], field: Literal["seen", "withheld", "counted"]
) -> set[str]:
    """Return the ids that a hundred conversations have seen, or missed, or that counted there."""
    ids: set[str] = set()
    for i in range(100):
        one = shown(*lessons, unit=str(i))
        ids.update({"seen": one.seen, "withheld": one.withheld, "counted": one.counted}[field])
    return ids


def test_lessons_on_trial_take_a_share_of_the_block_and_the_others_wait() -> None:
    room = int(TRIAL_SHARE * TOKEN_BUDGET)
    fits, too_long = long_trials(10, room // 4), long_trials(3, room // 2 + 1)
    assert in_a_hundred(fits, "seen") == {"l1", "l2", "l3", "l4"}
    assert in_a_hundred(too_long, "seen") == in_a_hundred(too_long, "withheld") == {"l1"}
    assert in_a_hundred(too_long, "counted") == {"l1"}
    queue = [*long_trials(2, room // 2 + 1), on_trial("l3")]
    assert in_a_hundred(queue, "seen") == in_a_hundred(queue, "withheld") == {"l1"}, (
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
    tried = {e.id for e in lessons if e.trial and e.trial.bet} & applies
    active = {e.id for e in lessons if e.state == "active"}
    assert len(one.seen) + len(one.withheld) == len({*one.seen, *one.withheld})
    assert {*one.seen, *one.withheld} == active | tried
    assert {*one.counted, *one.withheld} <= applies, "who does not apply is not compared"
    assert tried & {*one.seen} <= {*one.counted}, "each lesson on trial counts where it was seen"
    assert len(active & {*one.withheld}) <= 1
    assert len(active & {*one.counted, *one.withheld}) == min(1, len(active & applies))
    by_id = {e.id: e for e in lessons}
    block = [by_id[id] for id in one.seen]
    assert one.block == render_block(block)
    states = [e.state for e in block]
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
    """Two on trial for one place: the second one is not tried where the first one is missing."""
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
