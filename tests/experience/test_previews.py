"""A set as it would be with edits in place, and the edits that lead from one set to another."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.edits import (
    difference,
    preview,
)
from ted_memory.experience.rendering import lesson_tokens
from ted_memory.models import (
    Add,
    Edit,
    Experience,
    Merge,
    Remove,
    Restore,
    Rewrite,
    SetState,
)
from tests.experience.planned import A, B, C, held, lesson, planned, refused


def test_a_preview_is_the_set_with_the_edits_in_place_and_refused_ones_change_nothing() -> None:
    base = held(A, B, C)
    edits = [
        Rewrite(id="a", text="First."),
        Remove(id="b"),
        Add(text="Four."),
        Remove(id="x"),
        Add(text=""),
    ]
    assert [e.text for e in preview(edits, base, max_text=400)] == ["First.", "Three.", "Four."]
    assert [e.text for e in base] == ["One.", "Two.", "Three."]
    assert preview([], base, max_text=400) == base.experiences


def test_additions_of_a_preview_stand_behind_the_rest_in_their_order() -> None:
    edits: list[Edit] = [Add(text="Four."), Merge(ids=("a", "b"), text="Both."), Add(text="Five.")]
    assert [e.text for e in preview(edits, held(A, B, C), max_text=400)] == [
        "Three.",
        "Four.",
        "Both.",
        "Five.",
    ]


_some = st.lists(
    st.builds(
        lesson,
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(["One.", "Two."]),
        state=st.sampled_from(["active", "trial"]),
        rev=st.integers(1, 9),
    ),
    max_size=5,
    unique_by=lambda e: e.id,
)


def changed_by(edit: Edit) -> str:
    """Return the id of the experience that an edit of a difference changes."""
    if isinstance(edit, Remove):
        return edit.id
    assert isinstance(edit, Restore)
    return edit.experience.id


def _without_revs(experiences: Iterable[Experience]) -> dict[str, Experience]:
    return {e.id: e.model_copy(update={"rev": 0}) for e in experiences}


@given(_some, _some)
def test_the_difference_turns_one_set_into_the_other(
    old: list[Experience], new: list[Experience]
) -> None:
    edits = difference(old, new)
    made = preview(edits, held(*old), max_text=400)
    changed = {changed_by(edit) for edit in edits}
    assert {id: e.text for id, e in _without_revs(made).items()} == {e.id: e.text for e in new}
    before = {e.id: e for e in old}

    def state_of(e: Experience) -> str:
        goes_on = e.id in before and (before[e.id].state, before[e.id].lesson) == (
            "trial",
            e.lesson,
        )
        return "proposed" if e.state == "trial" and not goes_on else e.state

    assert {e.id: e.state for e in made} == {e.id: state_of(e) for e in new}, (
        "no trial begins by coming back"
    )
    assert len(changed) == len(edits), "one edit for each lesson"
    untouched = {id for id, e in _without_revs(old).items() if _without_revs(new).get(id) == e}
    assert not changed & untouched


@given(_some)
def test_sets_that_differ_in_revs_only_do_not_differ(old: list[Experience]) -> None:
    assert difference(old, [e.model_copy(update={"rev": e.rev + 1}) for e in old]) == []


def test_a_lesson_that_comes_back_is_held_to_the_rules_and_counted_anew() -> None:
    endless = lesson("a", "x" * 500).model_copy(update={"tokens": 0})
    assert refused(Restore(experience=endless)) == ["too long"]
    [change] = planned(
        Restore(experience=lesson("a", "Be brief.").model_copy(update={"tokens": 0}))
    )
    assert change.puts[0].tokens == lesson_tokens("Be brief.")


@pytest.mark.parametrize("id", ["a b", "", "a\n", "\ud83d"])
def test_an_id_that_would_break_the_log_is_no_id(id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        Experience(id=id, text="Be brief.")


def test_half_a_character_in_an_id_is_refused_where_it_is_written() -> None:
    for make in (
        lambda: Remove(id="\ud83d"),
        lambda: Rewrite(id="\ud83d", text="x"),
        lambda: Merge(ids=("a", "\ud83d"), text="x"),
        lambda: SetState(id="\ud83d", state="trial"),
    ):
        with pytest.raises(ValueError, match="id"):
            make()
