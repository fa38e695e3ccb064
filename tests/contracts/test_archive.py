"""What every backend promises of archived episodes: bounds, one step, a way out for good."""

import pytest

from ted_memory import TedMemory
from ted_memory.errors import ClaimLost
from ted_memory.models import Add, Remove
from ted_memory.protocols import Shown
from ted_memory.settings import Settings
from tests.contracts.evidence import (
    archive,
    archived_runs,
    known,
    on_trial,
    replay,
    settle_and_archive,
)
from tests.contracts.queue import Queue, an_episode
from tests.contracts.writer import reasons


def memory_of(queue: Queue) -> TedMemory:
    """Return the face of the same set: a purge begins there."""
    return TedMemory(queue.store, Settings(), queue.namespace)


# --- what is kept


async def test_graded_episodes_are_kept_when_they_settle_oldest_first(queue: Queue) -> None:
    seqs = await archive(queue, "a", "b", "c")
    kept = await queue.log.archived(queue.namespace)
    assert [one.seq for one in kept] == seqs
    assert (kept[0].run_id, kept[0].principal, kept[0].sample.reference) == ("a", "who-a", "c001")
    assert [one.run_id for one in await queue.log.archived(queue.namespace, after=seqs[1])] == ["c"]


async def test_the_archive_has_bounds_and_the_oldest_go(queue: Queue) -> None:
    await archive(queue, "a", "b", "c", "d", max_archived=3)
    assert await archived_runs(queue) == ["b", "c", "d"]
    size = len(
        (await queue.log.archived(queue.namespace))[0].model_dump_json(exclude_defaults=True)
    )
    await archive(queue, "e", max_archive_bytes=2 * size)
    assert await archived_runs(queue) == ["d", "e"]
    await archive(queue, "f", max_archive_bytes=1)
    assert await archived_runs(queue) == []


async def test_bytes_of_the_archive_are_bytes_and_not_characters(queue: Queue) -> None:
    await archive(queue, "a", "b", reference="ä" * 100)
    size = len(
        (await queue.log.archived(queue.namespace))[0]
        .model_dump_json(exclude_defaults=True)
        .encode()
    )
    await archive(queue, "c", reference="ä" * 100, max_archive_bytes=3 * size)
    assert await archived_runs(queue) == ["a", "b", "c"]
    await archive(queue, "d", reference="ä" * 100, max_archive_bytes=3 * size - 1)
    assert await archived_runs(queue) == ["c", "d"]


async def test_an_episode_that_alone_is_too_large_pushes_out_no_other(queue: Queue) -> None:
    await archive(queue, "a", "b")
    await archive(queue, "huge", reference="x" * 2000, max_archive_bytes=2000)
    assert await archived_runs(queue) == ["a", "b"]
    assert await queue.places() == (0, 0, 0), "it is settled all the same"


async def test_archives_of_two_namespaces_are_apart(queue: Queue) -> None:
    beside = queue.beside()
    await archive(queue, "a")
    await archive(beside, "b", max_archived=1)
    assert (await archived_runs(queue), await archived_runs(beside)) == (["a"], ["b"])


# --- in one step with the commit


async def test_what_is_refused_as_a_whole_settles_and_archives_nothing(queue: Queue) -> None:
    _, commit = await settle_and_archive(
        queue, "a", Add(text="New."), Remove(id="nobody"), atomic=True
    )
    assert reasons(commit) == ["aborted", "unknown"]
    assert await archived_runs(queue) == []
    assert await queue.places() == (0, 1, 0), "its claim goes on"
    _, commit = await settle_and_archive(queue, "b", Add(text="New."), Remove(id="nobody"))
    assert reasons(commit) == ["unknown"]
    assert await archived_runs(queue) == ["b"], "where edits stand by themselves it is settled"


async def test_who_comes_too_late_archives_nothing(queue: Queue) -> None:
    with pytest.raises(ClaimLost):
        await settle_and_archive(queue, "a", Add(text="New."), fence=10**6)
    assert await archived_runs(queue) == []
    assert await queue.writer.texts() == []


async def test_a_settlement_that_is_sent_again_archives_once(queue: Queue) -> None:
    [first] = await archive(queue, "a", token="t")
    assert await queue.log.forget_archived(queue.namespace, [first]) == 1
    _, again = await settle_and_archive(queue, "b", token="t")
    assert again.repeated
    assert await archived_runs(queue) == [], "a repeat is an answer and no settlement"


# --- the way out


async def test_what_is_taken_out_of_the_archive_is_no_longer_replayed(queue: Queue) -> None:
    lesson = await queue.lesson(state="proposed")
    first, second = await archive(queue, "a", "b")
    assert await queue.log.forget_archived(queue.namespace, [first, 99]) == 1
    assert await replay(queue, lesson, first, 1, 0) == "changed"
    assert await replay(queue, lesson, second, 1, 0) == "counted"
    assert (await known(queue, lesson)).evidence.total.pairs == 1


async def test_what_is_taken_out_makes_room(queue: Queue) -> None:
    first, _ = await archive(queue, "a", "b")
    size = len(
        (await queue.log.archived(queue.namespace))[0].model_dump_json(exclude_defaults=True)
    )
    await queue.log.forget_archived(queue.namespace, [first, first])
    await archive(queue, "c", max_archive_bytes=2 * size)
    assert await archived_runs(queue) == ["b", "c"]


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("principal:eve", ["of-bob", "of-ann"]),
        ("run:of-bob", ["of-eve", "of-ann", "of-ann-by-eve"]),
        ("principal:nobody", ["of-eve", "of-bob", "of-ann", "of-ann-by-eve"]),
    ],
)
async def test_a_purge_takes_a_source_out_of_the_archive(
    queue: Queue, source: str, left: list[str]
) -> None:
    for name in ("eve", "bob", "ann"):
        await archive(queue, f"of-{name}", principal=name)
    await archive(queue, "of-ann-by-eve", principal="ann", speaker="eve")
    report = await memory_of(queue).purge(source)
    assert await archived_runs(queue) == left
    assert report.archived == 4 - len(left)


async def test_a_replay_in_flight_of_what_is_purged_does_not_count(queue: Queue) -> None:
    lesson = await queue.lesson(state="proposed")
    [seq] = await archive(queue, "a", principal="eve")
    [other] = await archive(queue, "b", principal="bob")
    held = await queue.log.archived(queue.namespace)
    await memory_of(queue).purge("principal:eve")
    assert [await replay(queue, lesson, one.seq, 1, 0) for one in held] == ["changed", "counted"]
    assert (await known(queue, lesson)).done == {other} - {seq}


async def test_what_settles_after_its_source_was_purged_is_not_archived(queue: Queue) -> None:
    await queue.writer.add("A lesson.")
    await memory_of(queue).purge("principal:eve")
    for run, who in (
        ("a", {"principal": "eve"}),
        ("b", {"speaker": "eve"}),
        ("c", {"principal": "bob"}),
    ):
        await archive(queue, run, **who)
    assert await archived_runs(queue) == ["c"]
    assert await queue.places() == (0, 0, 0), "settled they are"


async def test_a_purge_that_was_interrupted_is_brought_to_an_end_by_another_one(
    queue: Queue,
) -> None:
    await archive(queue, "a", principal="eve")
    await archive(queue, "b", principal="mal")
    await queue.store.tombstone(queue.namespace, "principal:mal")
    assert (await memory_of(queue).purge("principal:eve")).archived == 2
    assert await archived_runs(queue) == []


async def test_a_namespace_that_is_dropped_leaves_no_evidence_and_no_archive(queue: Queue) -> None:
    queue.writer.make_id = lambda: "same"
    lesson = await on_trial(queue)
    [seq] = await archive(queue, "a")
    assert await replay(queue, lesson, seq, 1, 0) == "counted"
    before = await queue.log.evidence(queue.namespace, [lesson])
    await queue.store.drop(queue.namespace)
    assert await archived_runs(queue) == []
    assert await known(queue, lesson) == Shown()
    await on_trial(queue)
    await archive(queue, "b")
    assert await archived_runs(queue) == ["b"], "an archive of its own begins"
    await queue.record(an_episode("c", seen=(lesson,)))
    await queue.say("c", 1.0)
    again = (await queue.log.evidence(queue.namespace, [lesson], before))[lesson]
    assert (again.done, again.evidence.total.pairs, again.evidence.total.outcomes) == (
        frozenset(),
        0,
        1,
    )
