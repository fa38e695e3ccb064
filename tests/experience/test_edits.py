"""From edits to changes: the rules on one edit, previews, and differences between sets."""

import pytest

from ted_memory.experience.edits import (
    MOST_SOURCES,
    MOST_TERMS,
    new_id,
    tidy_when,
)
from ted_memory.experience.rendering import FRAME_TOKENS, lesson_tokens
from ted_memory.models import (
    Add,
    Caps,
    Edit,
    Experience,
    Merge,
    Remove,
    Restore,
    Rewrite,
    SetState,
)
from ted_memory.protocols import ABSENT
from tests.experience.planned import A, B, C, held, lesson, planned, refused

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
    """Rewrite one lesson again and again for others; return how many sources each entry has."""
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


def test_a_merge_has_the_index_terms_of_all_and_a_rewrite_keeps_them_with_its_condition() -> None:
    left = A.model_copy(update={"when": "eating", "index_terms": "soup lunch"})
    right = B.model_copy(update={"index_terms": "lunch waiter"})
    assert terms(Merge(ids=("a", "b"), text="x", when="y"), left, right) == "soup lunch waiter"
    assert terms(Rewrite(id="a", text="x"), left) == "soup lunch"
    assert terms(Rewrite(id="a", text="x", when="eating"), left) == "soup lunch"
    assert terms(Rewrite(id="a", text="x", when="paying"), left) == ""
    only_terms = Rewrite(id="a", text="One.", index_terms="bread")
    assert terms(only_terms, left) == "bread"
    assert planned(only_terms, base=held(left))[0].fresh == (), "its usage belongs to what it says"
