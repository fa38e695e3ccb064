"""What every `ExperienceStore` promises about sets and commits. One suite over all backends."""

import asyncio

import pytest

from ted_memory.experience.rendering import FRAME_TOKENS, lesson_tokens
from ted_memory.models import Add, Caps, Merge, Remove, Restore, Rewrite, SetState, Usage
from tests.contracts.writer import ROOMY, Writer, active_tokens, reasons

# --- read


async def test_a_namespace_that_never_was_reads_as_none(writer: Writer) -> None:
    assert await writer.store.read(writer.namespace) is None
    assert await writer.store.read_fast(writer.namespace) is None


async def test_nothing_new_gives_back_the_very_object(writer: Writer) -> None:
    await writer.add("One.")
    held = await writer.store.read(writer.namespace)
    assert held is not None
    assert await writer.store.read(writer.namespace, held) is held
    assert await writer.store.read_fast(writer.namespace, held) is held


async def test_nothing_new_gives_back_the_very_object_of_an_empty_set_too(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.commit(Remove(id=one.id))
    held = await writer.store.read(writer.namespace)
    assert held is not None
    assert len(held) == 0
    assert await writer.store.read(writer.namespace, held) is held


async def test_changes_on_top_of_what_is_held_make_the_same_set_as_reading_it_whole(
    writer: Writer,
) -> None:
    one, two, three = await writer.add("One.", "Two.", "Three.")
    held = await writer.now()
    await writer.commit(Rewrite(id=one.id, text="First."), Remove(id=two.id))
    await writer.commit(Add(text="Four."), usage={three.id: _usage(1)})
    assert await writer.store.read(writer.namespace, held) == await writer.store.read(
        writer.namespace
    )
    assert [e.text for e in held] == ["One.", "Two.", "Three."], "a snapshot never changes"


async def test_who_holds_a_version_that_the_log_has_lost_gets_the_whole_set(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    held = await writer.now()
    for i in range(5):
        await writer.commit(Rewrite(id=one.id, text=f"Text {i}."), history=2)
    assert await writer.store.read(writer.namespace, held) == await writer.now()


async def test_who_holds_a_set_of_another_epoch_gets_the_whole_set(writer: Writer) -> None:
    await writer.add("Old.")
    await writer.add("Older.")
    held = await writer.now()
    await writer.store.drop(writer.namespace)
    await writer.add("New.")
    read = await writer.store.read(writer.namespace, held)
    assert read is not None
    assert read.epoch != held.epoch
    assert [e.text for e in read] == ["New."]


# --- commit


async def test_an_added_lesson_is_stored_with_all_that_is_known_of_it(writer: Writer) -> None:
    commit = await writer.commit(
        Add(text="Be brief.", when="asked twice", state="trial", sources=("b", "a")), author="anna"
    )
    [lesson] = await writer.now()
    assert commit.applied[0].id == lesson.id
    assert (lesson.text, lesson.when, lesson.state) == ("Be brief.", "asked twice", "trial")
    assert lesson.sources == ("b", "a"), "in the order given"
    assert (lesson.rev, lesson.order) == (1, 1)
    assert lesson.tokens == lesson_tokens("Be brief.", "asked twice")


async def test_rewriting_keeps_id_state_and_condition_and_unites_sources(writer: Writer) -> None:
    await writer.commit(Add(text="Old.", when="asked", state="proposed", sources=("a", "b")))
    [old] = await writer.now()
    await writer.commit(Rewrite(id=old.id, text="New.", sources=("b", "c")))
    [new] = await writer.now()
    assert (new.id, new.text, new.when, new.state) == (old.id, "New.", "asked", "proposed")
    assert new.sources == ("a", "b", "c")
    assert (new.rev, new.order) == (2, old.order)


async def test_a_merge_replaces_its_parents_and_carries_all_their_sources(writer: Writer) -> None:
    await writer.commit(
        Add(text="One.", sources=("a",)), Add(text="Two.", sources=("b", "a")), Add(text="Else.")
    )
    one, two, other = await writer.now()
    commit = await writer.commit(
        Merge(ids=(one.id, two.id), text="Both.", when="always", sources=("c",))
    )
    kept, merged = await writer.now()
    assert kept == other
    assert merged.id == commit.applied[0].id
    assert (merged.text, merged.when) == ("Both.", "always")
    assert merged.sources == ("a", "b", "c")
    assert merged.parents == (one.id, two.id)


async def test_a_removed_lesson_is_gone_and_the_others_stay(writer: Writer) -> None:
    one, two = await writer.add("One.", "Two.")
    await writer.commit(Remove(id=one.id))
    assert tuple(await writer.now()) == (two,)


@pytest.mark.parametrize("state", ["proposed", "trial", "active"])
async def test_a_lesson_moves_between_states(writer: Writer, state: str) -> None:
    start = "trial" if state == "proposed" else "proposed"
    await writer.commit(Add(text="One.", state=start))
    [lesson] = await writer.now()
    await writer.commit(SetState(id=lesson.id, state=state))
    [moved] = await writer.now()
    assert moved == lesson.model_copy(update={"state": state, "rev": 2})


async def test_a_retired_lesson_leaves_the_set(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.commit(SetState(id=one.id, state="retired"))
    assert len(await writer.now()) == 0


async def test_a_restored_lesson_comes_back_under_its_id_at_its_place(writer: Writer) -> None:
    one, _two = await writer.add("One.", "Two.")
    await writer.commit(Remove(id=one.id))
    await writer.commit(Restore(experience=one))
    back, _ = await writer.now()
    assert back == one.model_copy(update={"rev": 3}), "a rev is never used again"


async def test_texts_with_any_character_come_back_as_they_were(writer: Writer) -> None:
    text = 'Ünï|cödé "quoted" \\ back/slash \U0001f600 a\x00b\x07c\x7f \u2028 %d %s |1|active|5|{}'
    await writer.commit(
        Add(text=text, when="x | y", sources=("s\n\x00|", "\u00e9")),
        author="a\nb",
        why="why\x00\n%s",
    )
    [lesson] = await writer.now()
    assert lesson.text == text.replace(" \u2028 ", "\n ")  # a line break of another kind
    assert lesson.when == "x | y"
    assert lesson.sources == ("s\n\x00|", "\u00e9")
    [entry] = await writer.store.log(writer.namespace, [1])
    assert entry.changes[0].after == (lesson,)
    assert (entry.author, entry.why) == ("a\nb", "why\x00\n%s")
    held = await writer.now()
    await writer.commit(Rewrite(id=lesson.id, text=f"{text}."))
    assert await writer.store.read(writer.namespace, held) == await writer.now()


async def test_additions_stand_at_the_end_and_a_rewritten_lesson_stays_where_it_was(
    writer: Writer,
) -> None:
    one, two = await writer.add("One.", "Two.")
    await writer.commit(Rewrite(id=one.id, text="First."))
    await writer.add("Three.", "Four.")
    await writer.commit(Remove(id=two.id))
    await writer.add("Five.")
    assert await writer.texts() == ["First.", "Three.", "Four.", "Five."]


async def test_what_is_added_after_a_restore_stands_behind_everything_that_was_ever_there(
    writer: Writer,
) -> None:
    _one, two, three = await writer.add("One.", "Two.", "Three.")
    await writer.commit(Remove(id=two.id), Remove(id=three.id))
    await writer.add("Four.")
    await writer.commit(Restore(experience=three), Restore(experience=two))
    await writer.add("Five.")
    assert await writer.texts() == ["One.", "Two.", "Three.", "Four.", "Five."]
    orders = [e.order for e in await writer.now()]
    assert len(set(orders)) == 5


async def test_restoring_into_an_empty_set_reserves_the_place(writer: Writer) -> None:
    _one, two = await writer.add("One.", "Two.")
    other = Writer(writer.store, f"{writer.namespace}-other")
    await other.commit(Restore(experience=two))
    await other.add("Later.")
    assert await other.texts() == ["Two.", "Later."]


# --- conflicts


async def test_commits_that_touch_different_lessons_do_not_conflict(writer: Writer) -> None:
    one, two = await writer.add("One.", "Two.")
    base = await writer.now()
    await writer.commit(Rewrite(id=one.id, text="First."), base=base)
    commit = await writer.commit(Rewrite(id=two.id, text="Second."), Add(text="Three."), base=base)
    assert not commit.rejected
    assert await writer.texts() == ["First.", "Second.", "Three."]


async def test_only_the_edit_of_a_lesson_that_changed_is_refused(writer: Writer) -> None:
    one, two, three = await writer.add("One.", "Two.", "Three.")
    base = await writer.now()
    await writer.commit(Rewrite(id=one.id, text="First."), Remove(id=two.id), base=base)
    commit = await writer.commit(
        Remove(id=one.id),
        SetState(id=two.id, state="trial"),
        Merge(ids=(one.id, three.id), text="Both."),
        Rewrite(id=three.id, text="Third."),
        base=base,
    )
    assert reasons(commit) == ["conflict", "conflict", "conflict"]
    assert await writer.texts() == ["First.", "Third."]


async def test_two_edits_of_one_commit_that_touch_the_same_lesson_conflict(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    commit = await writer.commit(Rewrite(id=one.id, text="First."), Remove(id=one.id))
    assert reasons(commit) == ["conflict"]
    assert await writer.texts() == ["First."]


async def test_an_edit_refused_for_a_cap_does_not_stand_in_the_way_of_the_next_on_the_same_lesson(
    writer: Writer,
) -> None:
    writer.caps = Caps(max_experiences=1, token_budget=2000)
    await writer.add("Full.")
    await writer.commit(Add(text="Waits.", state="proposed"))
    _, waiting = await writer.now()
    commit = await writer.commit(
        SetState(id=waiting.id, state="active"), SetState(id=waiting.id, state="trial")
    )
    assert reasons(commit) == ["cap"]
    assert (await writer.now()).by_id[waiting.id].state == "trial"


async def test_a_rev_stated_in_the_edit_counts_and_not_the_one_of_the_snapshot(
    writer: Writer,
) -> None:
    (one,) = await writer.add("One.")
    await writer.commit(Rewrite(id=one.id, text="First."))
    assert reasons(await writer.commit(Remove(id=one.id, rev=1))) == ["conflict"]
    assert not reasons(await writer.commit(Remove(id=one.id, rev=2)))


async def test_an_id_that_is_taken_is_not_given_twice(writer: Writer) -> None:
    writer.make_id = lambda: "same"
    await writer.add("One.")
    base = (await writer.now()).__class__(writer.namespace, "", 0, ROOMY)
    assert reasons(await writer.commit(Add(text="Two."), base=base)) == ["conflict"]
    assert await writer.texts() == ["One."]


async def test_many_at_once_lose_nothing(writer: Writer) -> None:
    commits = await asyncio.gather(*(writer.commit(Add(text=f"Lesson {i}.")) for i in range(20)))
    assert sorted(commit.version for commit in commits) == list(range(1, 21))
    assert sorted(await writer.texts()) == sorted(f"Lesson {i}." for i in range(20))


# --- versions


async def test_versions_have_no_gap_and_a_commit_that_changes_nothing_makes_none(
    writer: Writer,
) -> None:
    (one,) = await writer.add("One.")
    assert reasons(await writer.commit(Rewrite(id=one.id, text="One."))) == ["unchanged"]
    assert reasons(await writer.commit(SetState(id=one.id, state="active"))) == ["unchanged"]
    assert reasons(await writer.commit(Restore(experience=one))) == ["unchanged"]
    assert reasons(await writer.commit(Remove(id="nobody"))) == ["unknown"]
    assert (await writer.now()).version == 1
    assert [e.rev for e in await writer.now()] == [1]
    await writer.add("Two.")
    assert [entry.version for entry in await writer.store.log(writer.namespace, range(1, 10))] == [
        1,
        2,
    ]


async def test_a_namespace_in_which_everything_was_refused_does_not_exist(writer: Writer) -> None:
    commit = await writer.commit(Remove(id="nobody"))
    assert (commit.epoch, commit.version) == ("", 0)
    assert await writer.store.read(writer.namespace) is None


async def test_an_all_or_nothing_commit_is_refused_as_a_whole(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    edits = (Add(text="Two."), Remove(id="nobody"), Rewrite(id=one.id, text="First."))
    commit = await writer.commit(*edits, atomic=True)
    assert reasons(commit) == ["aborted", "unknown", "aborted"]
    assert not commit.applied
    assert tuple(await writer.now()) == (one,)
    assert not reasons(await writer.commit(edits[0], edits[2], atomic=True))


async def test_a_commit_for_one_version_is_refused_at_any_other(writer: Writer) -> None:
    await writer.add("One.")
    assert reasons(await writer.commit(Add(text="Two."), Add(text=""), expect_version=2)) == [
        "conflict",
        "empty",
    ]
    assert reasons(await writer.commit(Add(text="Two."), expect_version=0)) == ["conflict"]
    assert not reasons(await writer.commit(Add(text="Two."), expect_version=1))
    other = Writer(writer.store, f"{writer.namespace}-other")
    assert not reasons(await other.commit(Add(text="First."), expect_version=0))


# --- tokens


async def test_a_repeated_token_answers_what_it_answered_first_and_has_no_second_effect(
    writer: Writer,
) -> None:
    (one,) = await writer.add("One.")
    base = await writer.now()
    first = await writer.commit(Add(text="Two."), Remove(id="nobody"), token="t", base=base)
    await writer.commit(Rewrite(id=one.id, text="First."))
    after = await writer.now()
    assert not first.repeated
    again = await writer.commit(Add(text="Two."), Remove(id="nobody"), token="t", base=base)
    assert again == first.model_copy(update={"repeated": True})
    # other edits; ones that are all refused
    for edits in ((Add(text="Three."), Add(text="Four.")), (Add(text=""),)):
        again = await writer.commit(*edits, token="t", base=base)
        assert [(a.edit.op, a.id) for a in again.applied] == [("add", first.applied[0].id)]
        assert [(r.edit, r.reason) for r in again.rejected] == [(Remove(id="nobody"), "unknown")]
        assert "Two." not in str(again), (
            "an answer keeps nothing that a purge would have to look for"
        )
        assert await writer.now() == after


async def test_a_token_whose_edits_were_all_refused_stays_refused(writer: Writer) -> None:
    first = await writer.commit(Remove(id="nobody"), token="t")
    again = await writer.commit(Add(text="One."), token="t")
    assert again == first.model_copy(update={"repeated": True})
    assert await writer.store.read(writer.namespace) is None


async def test_a_token_belongs_to_its_namespace(writer: Writer) -> None:
    await writer.add("One.", token="t")
    other = Writer(writer.store, f"{writer.namespace}-other")
    await other.add("Two.", token="t")
    assert await other.texts() == ["Two."]


# --- caps


async def test_the_cap_on_active_lessons_holds_also_within_one_commit(writer: Writer) -> None:
    writer.caps = Caps(max_experiences=2, token_budget=2000)
    commit = await writer.commit(
        *(Add(text=f"Lesson {i}.") for i in range(4)), Add(text="Waits.", state="proposed")
    )
    assert reasons(commit) == ["cap", "cap"]
    assert len((await writer.now()).active) == 2
    waiting = (await writer.now()).proposed[0]
    assert reasons(
        await writer.commit(Add(text="More."), SetState(id=waiting.id, state="active"))
    ) == ["cap", "cap"]
    assert (await writer.now()).version == 1


async def test_the_token_budget_holds_to_the_token_and_also_within_one_commit(
    writer: Writer,
) -> None:
    cost = lesson_tokens("Lesson number 0 is here.")
    writer.caps = Caps(max_experiences=50, token_budget=FRAME_TOKENS + 3 * cost)
    assert reasons(
        await writer.commit(*(Add(text=f"Lesson number {i} is here.") for i in range(4)))
    ) == ["cap"]
    assert active_tokens(await writer.now()) == writer.caps.token_budget
    one, two, _ = await writer.now()
    longer = "A good deal longer than it was before, and still not enough."
    assert reasons(await writer.commit(Rewrite(id=one.id, text=longer))) == ["cap"]
    assert not reasons(await writer.commit(Rewrite(id=one.id, text="Short.")))
    merged = Merge(ids=(one.id, two.id), text=longer)
    assert reasons(await writer.commit(merged)) == ["cap"]
    assert active_tokens(await writer.now()) <= writer.caps.token_budget


async def test_replacing_within_a_full_set_is_allowed(writer: Writer) -> None:
    cost = lesson_tokens("Lesson 0.")
    writer.caps = Caps(max_experiences=2, token_budget=FRAME_TOKENS + 2 * cost)
    one, two = await writer.add("Lesson 0.", "Lesson 1.")
    assert not reasons(await writer.commit(Rewrite(id=one.id, text="Lesson 2.")))
    assert not reasons(await writer.commit(Remove(id=one.id), Add(text="Lesson 3.")))
    three = (await writer.now()).experiences[-1]
    assert not reasons(
        await writer.commit(Merge(ids=(two.id, three.id), text="Lesson 4."), Add(text="Lesson 5."))
    )
    assert await writer.texts() == ["Lesson 4.", "Lesson 5."]


async def test_what_leaves_later_in_a_commit_makes_no_room_earlier(writer: Writer) -> None:
    writer.caps = Caps(max_experiences=1, token_budget=2000)
    (one,) = await writer.add("One.")
    assert reasons(await writer.commit(Add(text="Two."), Remove(id=one.id))) == ["cap"]
    assert await writer.texts() == []


async def test_caps_are_those_of_the_set_until_somebody_insists(writer: Writer) -> None:
    writer.caps = Caps(max_experiences=2, token_budget=2000)
    await writer.add("One.", "Two.")
    writer.caps = ROOMY
    assert reasons(await writer.commit(Add(text="Three."))) == ["cap"]
    assert not reasons(
        await writer.commit(Add(text="Three."), stated=("max_experiences", "token_budget"))
    )
    assert (await writer.now()).caps == ROOMY


async def test_a_lowered_cap_lets_nothing_in_and_holds_from_the_commit_that_leaves_room(
    writer: Writer,
) -> None:
    one, two, _three = await writer.add("One.", "Two.", "Three.")
    before, writer.caps = writer.caps, Caps(max_experiences=1, token_budget=2000)
    assert reasons(
        await writer.commit(
            Remove(id=one.id), Add(text="Four."), stated=("max_experiences", "token_budget")
        )
    ) == ["cap"]
    assert (await writer.now()).caps == before, (
        "two are still active: the cap would be broken from the start"
    )
    assert not reasons(
        await writer.commit(Remove(id=two.id), stated=("max_experiences", "token_budget"))
    )
    assert (await writer.now()).caps == writer.caps
    assert reasons(await writer.commit(Add(text="Four."))) == ["cap"]
    assert await writer.texts() == ["Three."]


def _usage(n: float) -> Usage:
    return Usage(n_with=n, successes_with=n / 2)
