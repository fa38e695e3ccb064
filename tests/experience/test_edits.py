"""From edits to changes: the rules on one edit, previews, and differences between sets."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ted_memory.experience.edits import (
    MOST_SOURCES,
    MOST_TERMS,
    difference,
    new_id,
    plan,
    preview,
    tidy_when,
)
from ted_memory.experience.rendering import FRAME_TOKENS, lesson_tokens
from ted_memory.models import (
    Add,
    Caps,
    Edit,
    Experience,
    ExperienceSet,
    Merge,
    Remove,
    Restore,
    Rewrite,
    SetState,
)
from ted_memory.protocols import ABSENT, Change

CAPS = Caps(max_experiences=50, token_budget=2000)


def lesson(id: str, text: str, **fields: object) -> Experience:
    made = {
        "id": id,
        "text": text,
        "tokens": lesson_tokens(text),
        "rev": 1,
        "sources": ("author:anna",),
        **fields,
    }
    return Experience.model_validate(made)


A = lesson("a", "One.", order=1, sources=("s1", "s2"))
B = lesson(
    "b",
    "Two.",
    order=2,
    rev=2,
    when="asked",
    tokens=lesson_tokens("Two.", "asked"),
    sources=("s2", "s3"),
)
C = lesson("c", "Three.", order=3, rev=3, state="proposed")


def held(*experiences: Experience, caps: Caps = CAPS) -> ExperienceSet:
    return ExperienceSet("n", "e", 3, caps, experiences)


def planned(
    *edits: Edit, base: ExperienceSet | None = None, max_text: int = 400
) -> tuple[Change, ...]:
    ids = (f"new{i}" for i in itertools.count(1))
    base = held(A, B, C) if base is None else base
    return plan(edits, base, author="me", max_text=max_text, make_id=lambda: next(ids))


def refused(*edits: Edit, base: ExperienceSet | None = None, max_text: int = 400) -> list[str]:
    return [change.rejected for change in planned(*edits, base=base, max_text=max_text)]


# --- what a change expects and writes


def test_an_addition_expects_its_id_to_be_free_and_asks_for_the_next_place() -> None:
    [change] = planned(Add(text="Be brief.", when="asked twice", state="trial"))
    assert change.expects == (("new1", ABSENT),)
    [put] = change.puts
    assert (put.text, put.when, put.state, put.order) == ("Be brief.", "asked twice", "trial", 0)
    assert put.sources == ("author:me",), "without sources it is the author"
    assert put.tokens == lesson_tokens("Be brief.", "asked twice")


def test_a_rewrite_expects_the_rev_that_was_seen_unless_it_states_one() -> None:
    [seen, stated] = planned(Rewrite(id="b", text="New."), Rewrite(id="b", text="New.", rev=7))
    assert seen.expects == (("b", 2),)
    assert stated.expects == (("b", 7),)
    assert seen.fresh == ("b",), "its usage belonged to the old text"


def test_a_rewrite_keeps_what_it_does_not_name_and_unites_sources() -> None:
    [change] = planned(Rewrite(id="b", text="New.", sources=("s3", "s4")))
    [put] = change.puts
    assert (put.id, put.when, put.state, put.order) == ("b", "asked", "active", 2)
    assert put.sources == ("s2", "s3", "s4")
    assert planned(Rewrite(id="b", text="New."))[0].puts[0].sources == ("s2", "s3", "author:me")
    assert planned(Rewrite(id="b", text="New.", when=""))[0].puts[0].when == ""
    assert put.tokens == lesson_tokens("New.", "asked")


def test_a_merge_expects_all_its_parents_and_carries_the_union_of_their_sources() -> None:
    [change] = planned(Merge(ids=("b", "a"), text="Both.", sources=("s9",)))
    assert change.expects == (("new1", ABSENT), ("b", 2), ("a", 1))
    assert change.deletes == ("b", "a")
    [put] = change.puts
    assert put.parents == ("b", "a")
    assert put.sources == ("s2", "s3", "s1", "s9")


def test_retiring_takes_out_and_other_states_change_nothing_else() -> None:
    [retired, moved] = planned(SetState(id="a", state="retired"), SetState(id="c", state="active"))
    assert (retired.deletes, retired.puts) == (("a",), ())
    assert moved.puts == (C.model_copy(update={"state": "active"}),)
    assert moved.fresh == ()


def test_restoring_expects_what_is_there_now_and_drops_usage_of_another_text() -> None:
    other = A.model_copy(update={"text": "Other."})
    gone = lesson("z", "Gone.", order=9)
    same, changed, back = planned(
        Restore(experience=A), Restore(experience=other), Restore(experience=gone)
    )
    assert (same.expects, same.fresh) == ((("a", 1),), ())
    assert (changed.expects, changed.fresh) == ((("a", 1),), ("a",))
    assert (back.expects, back.fresh) == ((("z", ABSENT),), ("z",))
    assert back.puts == (gone,)


# --- rules


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_lesson_is_refused(text: str) -> None:
    assert (
        refused(Add(text=text), Rewrite(id="a", text=text), Merge(ids=("a", "b"), text=text))
        == ["empty"] * 3
    )


def test_a_lesson_over_the_length_is_refused_and_one_at_the_length_is_not() -> None:
    assert refused(Add(text="x" * 6, when="y" * 4), max_text=10) == [""]
    assert refused(Add(text="x" * 6, when="y" * 5), max_text=10) == ["too long"]
    assert refused(Rewrite(id="b", text="x" * 6), max_text=10) == ["too long"], (
        "its kept condition counts"
    )
    assert refused(Merge(ids=("a", "b"), text="x" * 11), max_text=10) == ["too long"]


def test_a_lesson_that_would_not_fit_into_the_block_alone_is_refused() -> None:
    fits = lesson_tokens("A lesson.")
    for budget, reason in ((FRAME_TOKENS + fits, ""), (FRAME_TOKENS + fits - 1, "over budget")):
        caps = Caps(max_experiences=50, token_budget=budget)
        assert refused(Add(text="A lesson."), base=held(caps=caps)) == [reason]


def test_sources_are_bounded_and_none_of_them_falls_off() -> None:
    most = tuple(f"principal:p{i}" for i in range(MOST_SOURCES))
    full, half = (
        lesson("f", "Full.", sources=most),
        lesson("h", "Half.", sources=(*most[1:], "principal:zoe")),
    )
    base = held(A, full, half)
    for edit in (
        Add(text="New.", sources=(*most, "run:r")),
        Rewrite(id="f", text="New.", sources=("run:r",)),
        Rewrite(id="f", text="New."),
        Merge(ids=("a", "f"), text="Both."),
        Merge(ids=("f", "h"), text="Both."),
        Merge(ids=("f", "f2"), text="Both.", sources=("run:r",)),
    ):
        given = held(A, full, half, lesson("f2", "Full, too.", sources=most))
        assert refused(edit, base=given) == ["too many sources"]
    known = Rewrite(id="f", text="New.", sources=most[:1])
    [rewritten, added, state, gone] = planned(
        known,
        Add(text="New.", sources=most),
        SetState(id="f", state="trial"),
        Remove(id="f"),
        base=base,
    )
    assert rewritten.puts[0].sources == added.puts[0].sources == state.puts[0].sources == most
    assert gone.deletes == ("f",)


def test_what_has_more_sources_already_keeps_them_and_gets_no_more() -> None:
    """Restored from what an older package wrote, or imported."""
    many = tuple(f"principal:p{i}" for i in range(2 * MOST_SOURCES))
    old = lesson("o", "Old.", sources=many)
    [back] = planned(Restore(experience=old))
    assert back.puts[0].sources == many
    [same, more] = planned(
        Rewrite(id="o", text="New.", sources=many[:1]),
        Rewrite(id="o", text="New.", sources=("run:r",)),
        base=held(old),
    )
    assert same.puts[0].sources == many
    assert more.rejected == "too many sources"


def sources_logged() -> list[int]:
    """Rewrite one lesson again and again for somebody else; return the sources that each entry of the log holds."""
    now, logged = lesson("a", "Zero."), list[int]()
    for i in range(2 * MOST_SOURCES):
        [change] = planned(
            Rewrite(id="a", text=f"Text {i}.", sources=(f"run:{i}", f"principal:{i}")),
            base=held(now),
        )
        if not change.rejected:
            logged.append(len(now.sources) + len(change.puts[0].sources))
            now = change.puts[0]
    return logged


def test_rewrites_without_end_make_no_log_that_grows_with_their_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = sources_logged()
    assert max(logged) <= 2 * MOST_SOURCES
    assert len(logged) == (MOST_SOURCES - 1) // 2
    assert MOST_SOURCES == 500, "docs/limits.md says so"
    # the control
    monkeypatch.setattr("ted_memory.experience.edits.MOST_SOURCES", 10**9)
    assert max(sources_logged()) > 6 * MOST_SOURCES


def test_ids_that_are_not_in_the_snapshot_are_refused() -> None:
    edits = (
        Rewrite(id="x", text="New."),
        Remove(id="x"),
        SetState(id="x", state="trial"),
        Merge(ids=("a", "x"), text="Both."),
    )
    assert refused(*edits) == ["unknown"] * 4


def test_a_merge_of_one_with_itself_is_refused() -> None:
    assert refused(Merge(ids=("a", "a"), text="Both.")) == ["repeated id"]
    assert refused(Merge(ids=("a", "b", "a"), text="Both.")) == ["repeated id"]


def test_a_merge_cannot_lift_a_lesson_into_another_state() -> None:
    assert refused(Merge(ids=("a", "c"), text="Both.")) == ["states differ"]


def test_a_rewrite_to_the_same_words_is_refused_whatever_the_blanks() -> None:
    assert (
        refused(Rewrite(id="b", text=" Two. "), Rewrite(id="b", text="Two.", when="When asked"))
        == ["unchanged"] * 2
    )
    assert refused(Rewrite(id="b", text="Two.", when="asked again")) == [""]


def test_a_refused_edit_does_not_keep_the_others_out() -> None:
    assert refused(Add(text=""), Add(text="Good."), Remove(id="x"), Remove(id="a")) == [
        "empty",
        "",
        "unknown",
        "",
    ]


@pytest.mark.parametrize(
    ("when", "tidy"),
    [
        ("When a refund is asked for.", "a refund is asked for"),
        ("if it rains,", "it rains"),
        ("whenever it rains", "whenever it rains"),
        ("  two\n words ", "two words"),
        ("when", "when"),
        ("", ""),
        ("When ", "When"),
    ],
)
def test_a_condition_reads_well_after_when(when: str, tidy: str) -> None:
    assert tidy_when(when) == tidy


def test_ids_are_short_and_hard_to_misread() -> None:
    ids = {new_id() for _ in range(500)}
    assert len(ids) > 495
    assert all(len(id) == 6 and not set(id) & set("01lio") for id in ids)


# --- preview and difference


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


def _without_revs(experiences: Iterable[Experience]) -> dict[str, Experience]:
    return {e.id: e.model_copy(update={"rev": 0}) for e in experiences}


@given(_some, _some)
def test_the_difference_turns_one_set_into_the_other(
    old: list[Experience], new: list[Experience]
) -> None:
    edits = difference(old, new)
    made = preview(edits, held(*old), max_text=400)
    changed = {(edit.id if isinstance(edit, Remove) else edit.experience.id) for edit in edits}  # type: ignore[union-attr]
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


# --- index terms


def terms(edit: Edit, *experiences: Experience) -> str:
    [change] = planned(edit, base=held(*experiences))
    return change.puts[0].index_terms


def test_index_terms_are_kept_once_each_up_to_their_bound() -> None:
    assert (
        terms(Add(text="x", when="y", index_terms=" soup  lunch soup\nwaiter "))
        == "soup lunch waiter"
    )
    words = [f"word{i:04}" for i in range(100)]
    kept = terms(Add(text="x", when="y", index_terms=" ".join(words))).split()
    assert kept == words[: len(kept)]
    assert len(" ".join(kept)) <= MOST_TERMS < len(" ".join(words[: len(kept) + 1]))
    huge = B.model_copy(update={"id": "h", "index_terms": "x" * 10_000})
    assert terms(Restore(experience=huge)) == ""


def test_a_merge_has_the_index_terms_of_all_and_a_rewrite_keeps_them_unless_it_is_about_something_else() -> (
    None
):
    left = A.model_copy(update={"when": "eating", "index_terms": "soup lunch"})
    right = B.model_copy(update={"index_terms": "lunch waiter"})
    assert terms(Merge(ids=("a", "b"), text="x", when="y"), left, right) == "soup lunch waiter"
    assert terms(Rewrite(id="a", text="x"), left) == "soup lunch"
    assert terms(Rewrite(id="a", text="x", when="eating"), left) == "soup lunch"
    assert terms(Rewrite(id="a", text="x", when="paying"), left) == ""
    only_terms = Rewrite(id="a", text="One.", index_terms="bread")
    assert terms(only_terms, left) == "bread"
    assert planned(only_terms, base=held(left))[0].fresh == (), "its usage belongs to what it says"
