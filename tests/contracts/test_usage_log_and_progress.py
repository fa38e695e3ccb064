"""What every `ExperienceStore` promises of its log, of usage and of records of runs."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ted_memory.models import (
    Add,
    Edit,
    LogEntry,
    Merge,
    Remove,
    Restore,
    Rewrite,
    SetState,
    Usage,
)
from tests.contracts.writer import Writer, reasons

ONE_OF_EACH = Usage(
    n_with=1,
    successes_with=0.5,
    n_without=2,
    successes_without=0.25,
    weight=1.2,
    weighted_difference=-0.1,
    helped=3,
    hurt=4,
)

# --- log


async def test_an_entry_says_who_did_what_when_and_why(writer: Writer) -> None:
    await writer.commit(Add(text="One."), author="anna", why="because", token="t1")
    [entry] = await writer.store.log(writer.namespace, [1])
    assert (entry.version, entry.author, entry.why, entry.token) == (1, "anna", "because", "t1")
    assert abs(datetime.now(UTC) - entry.at) < timedelta(minutes=1)


async def test_the_log_keeps_what_was_before_and_what_came_after(writer: Writer) -> None:
    one, two = await writer.add("One.", "Two.")
    await writer.commit(Rewrite(id=one.id, text="First."))
    first = (await writer.now()).by_id[one.id]
    await writer.commit(Merge(ids=(one.id, two.id), text="Both."), Add(text="New."))
    merged, new = await writer.now()
    await writer.commit(Remove(id=merged.id), Remove(id="nobody"))
    added, rewritten, united, removed = await writer.store.log(writer.namespace, [1, 2, 3, 4])

    assert [(c.before, c.after) for c in added.changes] == [((), (one,)), ((), (two,))]
    assert [(c.before, c.after) for c in rewritten.changes] == [((one,), (first,))]
    assert [(c.before, c.after) for c in united.changes] == [
        ((first, two), (merged,)),
        ((), (new,)),
    ]
    assert [(c.before, c.after) for c in removed.changes] == [((merged,), ())], (
        "what was refused is not in it"
    )
    assert united.changes[0].edit == Merge(ids=(one.id, two.id), text="Both.")


async def test_the_log_answers_in_the_order_asked_for_and_leaves_out_what_it_has_not(
    writer: Writer,
) -> None:
    for i in range(3):
        await writer.add(f"Lesson {i}.")
    assert [entry.version for entry in await writer.store.log(writer.namespace, [3, 9, 1, 0])] == [
        3,
        1,
    ]
    assert await writer.store.log(writer.namespace, []) == ()
    assert await writer.store.log(f"{writer.namespace}-none", [1]) == ()


async def test_the_log_keeps_the_latest_versions_only(writer: Writer) -> None:
    for i in range(6):
        await writer.add(f"Lesson {i}.", history=3)
    assert [entry.version for entry in await writer.store.log(writer.namespace, range(1, 7))] == [
        4,
        5,
        6,
    ]
    await writer.add("Longer.", history=100)
    assert [entry.version for entry in await writer.store.log(writer.namespace, range(1, 8))] == [
        4,
        5,
        6,
        7,
    ]
    await writer.add("Shorter.", history=1)
    assert [entry.version for entry in await writer.store.log(writer.namespace, range(1, 9))] == [8]


# --- usage


def student(name: str) -> dict[str, str]:
    return {"student": name, "teacher": "expert"}


async def test_usage_is_kept_for_each_student(writer: Writer) -> None:
    """What a lesson was worth to one student says nothing of another, and comes back with it."""
    one, two = await writer.add("One.", "Two.", models=student("small"))
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "first")
    await writer.commit(models=student("large"), usage={two.id: ONE_OF_EACH})
    assert (await writer.now()).usage == {two.id: ONE_OF_EACH}
    assert await writer.store.usage(writer.namespace) == {two.id: ONE_OF_EACH}
    await writer.commit(models=student("third"))
    assert await writer.store.usage(writer.namespace) == {}
    known = await writer.now()
    await writer.commit(models=student("small"), usage={two.id: ONE_OF_EACH})
    assert (await writer.now()).usage == {one.id: ONE_OF_EACH, two.id: ONE_OF_EACH}
    assert (await writer.store.read(writer.namespace, known) or known).usage == (
        await writer.now()
    ).usage
    await writer.commit(models=student("large"))
    assert await writer.store.usage(writer.namespace) == {two.id: ONE_OF_EACH}


async def test_usage_stays_where_the_student_is_the_same_or_not_named(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "first")
    for models in (
        student("small"),
        {"student": "small", "teacher": "another"},
        {"teacher": "third"},
        student("new"),
    ):
        assert (await writer.now()).usage.get(one.id, ONE_OF_EACH) == ONE_OF_EACH
        await writer.commit(models=models)
    assert await writer.store.usage(writer.namespace) == {one.id: ONE_OF_EACH}, (
        "nobody was named before the new one"
    )
    await writer.commit(Add(text="Two."), models=student("small"))
    assert await writer.store.usage(writer.namespace) == {}


async def test_usage_with_earlier_students_goes_with_the_lesson_and_with_its_text(
    writer: Writer,
) -> None:
    one, two, three = await writer.add("One.", "Two.", "Three.", models=student("small"))
    usage = dict.fromkeys((one.id, two.id, three.id), ONE_OF_EACH)
    await writer.store.credit(writer.namespace, usage, "first")
    await writer.commit(models=student("large"))
    await writer.commit(Remove(id=one.id), Rewrite(id=two.id, text="Another."))
    await writer.commit(Restore(experience=one), models=student("small"))
    assert set(await writer.store.usage(writer.namespace)) == {three.id}


async def test_the_usage_of_eight_earlier_students_is_kept(writer: Writer) -> None:
    (one,) = await writer.add("One.", models=student("0"))
    for i in range(1, 11):
        await writer.store.credit(writer.namespace, {one.id: Usage(n_with=i)}, str(i))
        await writer.commit(models=student(str(i)))
    kept = {}
    for i in range(10):  # all but those of students 0 and 1, the longest ago
        await writer.commit(models=student(str(i)))
        kept[i] = (await writer.store.usage(writer.namespace)).get(one.id)
    assert kept == {0: None, 1: None, **{i: Usage(n_with=i + 1) for i in range(2, 10)}}


async def test_credit_adds_up_and_counts_once_for_each_token(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    assert await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c1")
    assert not await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c1")
    assert await writer.store.usage(writer.namespace) == {one.id: ONE_OF_EACH}
    assert await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c2")
    doubled = {name: 2 * value for name, value in ONE_OF_EACH}
    assert await writer.store.usage(writer.namespace) == {one.id: Usage(**doubled)}


async def test_a_credit_and_a_commit_may_have_the_same_token(writer: Writer) -> None:
    (one,) = await writer.add("One.", token="t")
    assert await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "t")
    assert await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "u")
    assert len((await writer.commit(Add(text="Two."), token="u")).applied) == 1


async def test_credit_makes_no_version(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c1")
    assert (await writer.now()).version == 1


async def test_only_lessons_that_exist_are_credited(writer: Writer) -> None:
    one, two = await writer.add("One.", "Two.")
    await writer.commit(Remove(id=two.id))
    usage = {two.id: ONE_OF_EACH, one.id: ONE_OF_EACH, "nobody": ONE_OF_EACH}
    assert await writer.store.credit(writer.namespace, usage, "c1")
    assert await writer.store.usage(writer.namespace) == {one.id: ONE_OF_EACH}
    assert await writer.store.usage(f"{writer.namespace}-none") == {}


async def test_the_sets_usage_is_that_of_its_last_commit(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c1")
    held = await writer.now()
    assert held.usage == {}, "what stands in a prompt changes with a version only"
    await writer.add("Two.")
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c2")
    assert (await writer.now()).usage == {one.id: ONE_OF_EACH}
    changed = await writer.store.read(writer.namespace, held)
    assert changed is not None
    assert changed.usage == {one.id: ONE_OF_EACH}


async def test_usage_in_a_commit_is_added_in_the_same_step_and_in_its_snapshot(
    writer: Writer,
) -> None:
    (one,) = await writer.add("One.")
    await writer.commit(
        Add(text="Two."), usage={one.id: ONE_OF_EACH, "nobody": ONE_OF_EACH}, token="t"
    )
    await writer.commit(Add(text="Two."), usage={one.id: ONE_OF_EACH}, token="t")
    assert await writer.store.usage(writer.namespace) == {one.id: ONE_OF_EACH}
    assert (await writer.now()).usage == {one.id: ONE_OF_EACH}


async def test_usage_of_a_commit_that_is_refused_is_not_added(writer: Writer) -> None:
    (one,) = await writer.add("One.")
    await writer.commit(Remove(id="nobody"), usage={one.id: ONE_OF_EACH})
    assert await writer.store.usage(writer.namespace) == {}


async def test_usage_goes_with_the_text_that_it_belonged_to(writer: Writer) -> None:
    async def usage_after(edit: Edit) -> set[str]:
        commit = await writer.commit(edit)
        assert commit.applied
        return set(await writer.store.usage(writer.namespace))

    lessons = await writer.add("One.", "Two.", "Three.", "Four.", "Five.")
    one, two, three, four, five = (lesson.id for lesson in lessons)
    await writer.store.credit(
        writer.namespace, dict.fromkeys((one, two, three, four, five), ONE_OF_EACH), "c1"
    )
    assert await usage_after(Rewrite(id=one, text="First.")) == {two, three, four, five}
    assert await usage_after(Remove(id=two)) == {three, four, five}
    assert await usage_after(SetState(id=three, state="trial")) == {three, four, five}
    assert await usage_after(Merge(ids=(four, five), text="Both.")) == {three}
    old = lessons[2].model_copy(update={"text": "Other."})
    assert await usage_after(Restore(experience=old)) == set()
    assert (await writer.now()).usage == {}


# --- the rest


async def test_progress_is_kept_by_key(writer: Writer) -> None:
    assert await writer.store.load_progress(writer.namespace) == {}
    await writer.store.save_progress(
        writer.namespace, "a", {"n": 1, "text": "ü\x00", "list": [1, None]}
    )
    await writer.store.save_progress(writer.namespace, "b", {})
    await writer.store.save_progress(writer.namespace, "a", {"n": 2})
    assert await writer.store.load_progress(writer.namespace) == {"a": {"n": 2}, "b": {}}


async def test_a_dropped_namespace_is_forgotten_and_no_other(writer: Writer) -> None:
    other = Writer(writer.store, f"{writer.namespace}-other")
    (kept,) = await other.add("Kept.")
    (one,) = await writer.add("One.")
    await writer.store.credit(writer.namespace, {one.id: ONE_OF_EACH}, "c1")
    await writer.store.save_progress(writer.namespace, "a", {"n": 1})
    await writer.add("Two.")
    await writer.store.drop(writer.namespace)
    await writer.store.drop(writer.namespace)

    assert await writer.store.read(writer.namespace) is None
    assert await writer.store.usage(writer.namespace) == {}
    assert await writer.store.log(writer.namespace, [1, 2]) == ()
    assert await writer.store.load_progress(writer.namespace) == {}
    assert tuple(await other.now()) == (kept,)
    (again,) = await writer.add("Again.")
    assert ((await writer.now()).version, again.order) == (1, 1)
    assert (await writer.now()).usage == {}


# --- what a commit may not bring in


async def test_a_source_that_is_forbidden_never_comes_in_again(writer: Writer) -> None:
    await writer.store.tombstone(writer.namespace, "principal:eve")
    commit = await writer.commit(
        Add(text="Evil.", sources=("principal:bob", "principal:eve")),
        Add(text="Good.", sources=("principal:bob",)),
    )
    assert reasons(commit) == ["purged"]
    assert await writer.texts() == ["Good."]


async def test_any_number_of_sources_is_forbidden_at_once(writer: Writer) -> None:
    sources = ["principal:eve", "run:r", "principal:mal"]
    await writer.store.tombstone(writer.namespace)
    assert await writer.store.tombstoned(writer.namespace, sources) == frozenset()
    await writer.store.tombstone(writer.namespace, *sources[:2])
    assert await writer.store.tombstoned(writer.namespace, sources) == {"principal:eve", "run:r"}


async def test_entries_of_the_log_are_blanked_whatever_is_blanked_beside_them(
    writer: Writer,
) -> None:
    for i in range(5):
        await writer.commit(Add(text=f"Lesson {i}."), why=f"reason {i}")
    versions = [2, 9, 4, 5]

    def without(reason: str) -> Callable[[LogEntry], LogEntry]:
        def change(entry: LogEntry) -> LogEntry:
            return entry.model_copy(update={"why": entry.why.replace(reason, "")})

        return change

    await asyncio.gather(
        *(writer.store.blank(writer.namespace, versions, without(part)) for part in ("rea", "son"))
    )
    kept = {
        entry.version: entry.why for entry in await writer.store.log(writer.namespace, range(6))
    }
    assert kept == {1: "reason 0", 2: " 1", 3: "reason 2", 4: " 3", 5: " 4"}


async def test_who_looked_at_another_line_of_history_conflicts_whatever_the_rev(
    writer: Writer,
) -> None:
    (one,) = await writer.add("One.")
    now = await writer.now()
    for base in ((now.epoch, 1, "other"), ("other", 1, now.stamp), (now.epoch, 9, "later")):
        assert reasons(await writer.commit(Rewrite(id=one.id, text="First."), base_line=base)) == [
            "conflict"
        ]
    assert not reasons(await writer.commit(Add(text="Two."), base_line=(now.epoch, 1, "other"))), (
        "touches nothing"
    )
    await writer.add("Three.")
    assert reasons(
        await writer.commit(Rewrite(id=one.id, text="First."), base_line=(now.epoch, 1, "x"))
    ) == ["conflict"]
    line = (now.epoch, 1, now.stamp)
    assert not reasons(await writer.commit(Rewrite(id=one.id, text="First."), base_line=line))


# --- usage that fades


async def test_older_usage_fades_by_the_share_that_is_not_kept(writer: Writer) -> None:
    one, two = await writer.add("One.", "Two.")
    store, space = writer.store, writer.namespace
    for token in ("a", "b", "c"):
        assert await store.credit(space, {one.id: Usage(weight=1.0, helped=2)}, token, kept=0.5)
    await store.credit(space, {two.id: Usage(weight=1.0)}, "d", kept=0.5)
    assert not await store.credit(space, {one.id: Usage(weight=1.0)}, "c", kept=0.5), (
        "a repeat fades nothing"
    )
    usage = await store.usage(space)
    assert usage[one.id] == Usage(weight=1.75, helped=3.5)
    assert usage[two.id] == Usage(weight=1.0), "outcomes of another one leave it alone"


async def test_all_older_usage_is_kept_unless_said_otherwise(writer: Writer) -> None:
    [one] = await writer.add("One.")
    for token in ("a", "b"):
        await writer.store.credit(writer.namespace, {one.id: Usage(weight=1.0)}, token)
    assert (await writer.store.usage(writer.namespace))[one.id].weight == 2.0


# --- leases


async def test_one_holds_a_lease_until_it_lets_go(writer: Writer) -> None:
    store, space = writer.store, writer.namespace
    assert await store.hold(space, "compact", "me", 60)
    assert not await store.hold(space, "compact", "you", 60)
    assert await store.hold(space, "compact", "me", 60), "who has it may hold it longer"
    assert await store.hold(space, "other", "you", 60), "another lease is another matter"
    assert await store.hold(f"{space}-b", "compact", "you", 60), "so is another namespace"
    await store.hold(space, "compact", "me", 0)
    await asyncio.sleep(0.02)
    assert await store.hold(space, "compact", "you", 60)


async def test_a_lease_ends_by_itself_when_its_holder_died(writer: Writer) -> None:
    assert await writer.store.hold(writer.namespace, "compact", "dead", 0.05)
    assert not await writer.store.hold(writer.namespace, "compact", "me", 60)
    await asyncio.sleep(0.1)
    assert await writer.store.hold(writer.namespace, "compact", "me", 60)


async def test_who_lets_go_of_another_ones_lease_changes_nothing(writer: Writer) -> None:
    assert await writer.store.hold(writer.namespace, "compact", "me", 60)
    assert not await writer.store.hold(writer.namespace, "compact", "you", 0)
    assert not await writer.store.hold(writer.namespace, "compact", "you", 60)
