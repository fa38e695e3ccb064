"""Evidence and archive on a server: they outlive it, are bounded, and damage stops nobody."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ted_memory.errors import CorruptData
from ted_memory.experience.evidence import VOICES
from ted_memory.models import Add, Merge, Remove, Rewrite, SetState, State
from ted_memory.protocols import Shown
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle import evidence as in_memory_evidence
from ted_memory.testing.oracle.evidence import LONGEST_LIST
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import SERVERS, Server
from tests.contracts.evidence import archive, archived_runs, known, on_trial, replay, version
from tests.contracts.queue import Queue, an_episode
from tests.contracts.writer import Writer

one_server = pytest.mark.parametrize("backend_url", ["valkey"], indirect=True)
SCORES = ((1, 0), (0.1, 0.7), (1 / 3, 1), (0.9, 0.2), (1, 0.3), (0.6, 0.5))


@pytest.fixture
async def client(backend_url: str) -> AsyncIterator["Redis"]:
    """What looks at the keys themselves."""
    async with Redis.from_url(backend_url, decode_responses=True) as opened:
        yield opened


# --- a restart


async def begin(queue: Queue) -> tuple[str, list[int]]:
    """Return a proposed lesson with a live outcome behind it, and archived episodes."""
    id = await on_trial(queue)
    await queue.record(an_episode("live", seen=(id,), version=await version(queue)))
    await queue.say("live", 0.7)
    await queue.writer.commit(SetState(id=id, state="proposed"))
    return id, await archive(queue, *"abcdef")


async def go_on(queue: Queue, id: str, seqs: Sequence[int], places: range) -> None:
    for place in places:
        assert (
            await replay(queue, id, seqs[place], *SCORES[place], speaker=f"p{place}") == "counted"
        )


@pytest.mark.parametrize("name", [name for name, binary in SERVERS.items() if binary])
async def test_a_server_that_is_restarted_between_pairs_knows_them_exactly(
    name: str, tmp_path: Path
) -> None:
    async def opened(url: str, namespace: str) -> Queue:
        store = RedisStore(Clients(url, None, read_timeout=2.0))
        return Queue(store, Writer(store, namespace))

    binary = SERVERS[name]
    assert binary is not None
    server = Server(binary, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    whole, queue = await opened(server.url, "whole"), await opened(server.url, "restarted")
    id, seqs = await begin(whole)
    await go_on(whole, id, seqs, range(6))
    expected = await known(whole, id)
    id, seqs = await begin(queue)
    await go_on(queue, id, seqs, range(3))
    before = await known(queue, id)
    for one in (whole, queue):
        await one.store.aclose()
    server.stop()
    again = Server(binary, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    queue = await opened(again.url, "restarted")
    assert await known(queue, id) == before
    assert await replay(queue, id, seqs[0], 1, 0) == "repeated"
    await go_on(queue, id, seqs, range(3, 6))
    after = await known(queue, id)
    assert (after.evidence, after.done) == (expected.evidence, expected.done), "to the last bit"
    assert after.evidence.total.pairs == 6
    await queue.store.aclose()
    again.stop()


# --- bounds


@one_server
async def test_of_lessons_that_come_and_go_no_field_is_left(queue: Queue, client: "Redis") -> None:
    [seq], keys = await archive(queue, "a"), Keys(queue.namespace)
    for start in range(0, 200, 50):
        adds = (Add(text=f"Lesson {i}.", state="proposed") for i in range(start, start + 50))
        ids = [applied.id for applied in (await queue.writer.commit(*adds)).applied]
        now = await queue.writer.now()
        for i, id in enumerate(ids):
            assert (
                await replay(queue, id, seq, 1, 0, since=now.version, speaker=f"p{i % 5}")
                == "counted"
            )
        assert await client.hlen(keys.evidence) == 50 * 4 + 1, "total, voice, episodes, number"
        gone = [
            *(Remove(id=id) for id in ids[:20]),
            *(SetState(id=id, state="retired") for id in ids[20:40]),
        ]
        changed = [Merge(ids=(ids[40], ids[41]), text=f"Of both, {start}.")]
        changed += [Rewrite(id=id, text=f"Another, {id}.") for id in ids[42:]]
        assert not (await queue.writer.commit(*gone, *changed, base=now)).rejected
        assert await client.hkeys(keys.evidence) == [" #"]


@one_server
async def test_however_many_principals_speak_its_fields_are_bounded(
    queue: Queue, client: "Redis"
) -> None:
    lesson, keys = await queue.lesson(state="proposed"), Keys(queue.namespace)
    seqs = await archive(queue, *(f"r{i}" for i in range(400)), max_archived=1000)
    since = await version(queue)
    for i, seq in enumerate(seqs):
        assert (
            await replay(queue, lesson, seq, 1, 0.9, since=since, speaker=f"somebody-{i}")
            == "counted"
        )
    assert VOICES - 20 < len((await known(queue, lesson)).evidence.voices) <= VOICES
    assert await client.hlen(keys.evidence) <= VOICES + 4


@contextlib.contextmanager
def lists_are_a_tenth() -> Iterator[None]:
    """Bound the lists of a lesson's episodes at a tenth, in the script and in the process."""
    bound, tenth = (
        f"local LONGEST_LIST = {number}" for number in (LONGEST_LIST, LONGEST_LIST // 10)
    )
    short = scripts._REPLAYED.replace(bound, tenth)
    assert short != scripts._REPLAYED
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scripts, "_REPLAYED", short)
        patched.setitem(scripts._DIGESTS, short, hashlib.sha1(short.encode()).hexdigest())
        patched.setattr(in_memory_evidence, "LONGEST_LIST", LONGEST_LIST // 10)
        yield


@pytest.mark.parametrize("backend_url", ["valkey", "in-memory"], indirect=True)
async def test_of_what_it_was_replayed_on_the_latest_is_known(
    queue: Queue, backend_url: str | None
) -> None:
    far, many = 10**14, 60  # each takes 16 characters
    if isinstance(queue.store, InMemoryStore):
        queue.store.episodes._queue(queue.namespace).seq = far
    else:
        async with Redis.from_url(str(backend_url)) as client:
            await client.hset(Keys(queue.namespace).traffic, "seq", str(far))
    lesson = await queue.lesson(state="proposed")
    seqs = await archive(queue, *(f"r{i}" for i in range(many)), max_archived=1000)
    since = await version(queue)
    kept = (LONGEST_LIST // 10 - 1) // 16
    with lists_are_a_tenth():
        for seq in seqs:
            assert await replay(queue, lesson, seq, 1, 0.9, since=since) == "counted"
        assert (await known(queue, lesson)).done == frozenset(seqs[-kept:])
        assert (await known(queue, lesson)).done_to == seqs[-kept - 1]
        for seq in seqs:  # those that the list has no room for, too
            assert await replay(queue, lesson, seq, 1, 0.9, since=since) == "repeated"


@pytest.mark.parametrize("backend_url", ["valkey", "in-memory"], indirect=True)
@pytest.mark.parametrize("state", ["proposed", "active"])
async def test_in_whatever_order_an_archive_is_replayed_no_pair_counts_twice(
    queue: Queue, state: State
) -> None:
    """Learners replay the newest first; who takes over begins again with what is not listed."""
    lesson = await queue.lesson(state=state)
    seqs = await archive(queue, *(f"r{i}" for i in range(400)), max_archived=1000)
    since = await version(queue)
    with lists_are_a_tenth():
        first = [await replay(queue, lesson, seq, 1, 0.9, since=since) for seq in reversed(seqs)]
        shown = await known(queue, lesson)
        again = [await replay(queue, lesson, seq, 1, 0.9, since=since) for seq in reversed(seqs)]
    counted = first.count("counted")
    assert len(shown.done) == counted - 1 < len(seqs) / 2, "older ones count as done"
    assert shown.done_to == max(set(seqs) - shown.done)
    assert set(again) == {"repeated"}
    total = (await known(queue, lesson)).evidence.total
    assert counted == (total.watched if state == "active" else total.pairs)


@one_server
async def test_bytes_that_are_counted_are_those_of_the_archive(
    queue: Queue, client: "Redis"
) -> None:
    keys = Keys(queue.namespace)

    async def check(*runs: str) -> None:
        stored = await client.hgetall(keys.archive)
        assert await archived_runs(queue) == list(runs)
        assert sorted(map(int, stored)) == sorted(
            map(int, await client.zrange(keys.archived, 0, -1))
        )
        counted = int(await client.hget(keys.traffic, "archive_bytes") or 0)
        assert counted == sum(len(raw.encode()) for raw in stored.values())

    seqs = await archive(queue, "a", "b", "c", reference="ä" * 50)
    await check("a", "b", "c")
    await archive(queue, "huge", reference="x" * 9000, max_archive_bytes=5000)
    await check("a", "b", "c")
    await archive(queue, "d", max_archived=2)
    await check("c", "d")
    assert await queue.log.forget_archived(queue.namespace, [*seqs, *seqs]) == 1
    await check("d")
    await archive(queue, "e", max_archive_bytes=1)
    await check()
    assert await client.exists(keys.archive, keys.archived) == 0


# --- loss and damage


@one_server
async def test_after_a_loss_of_data_no_number_of_a_change_comes_again(
    queue: Queue, client: "Redis"
) -> None:
    id = await queue.lesson(state="proposed")
    [*seqs] = await archive(queue, *"abc")
    await replay(queue, id, seqs[0], 1, 0)
    name = Keys(queue.namespace).evidence
    saved = await client.hgetall(name)
    await replay(queue, id, seqs[1], 1, 0)
    held = await queue.log.evidence(queue.namespace, [id])
    await client.delete(name)
    await client.hset(name, mapping=saved)
    await replay(queue, id, seqs[2], 0, 1)
    again = (await queue.log.evidence(queue.namespace, [id], held))[id]
    assert again.done == {seqs[0], seqs[2]}, "who knew the lost pair reads anew"
    assert again == await known(queue, id)


@one_server
@pytest.mark.parametrize("raw", ["{", "null", '{"seq": 1}', '{"of a newer version": 1}', ""])
async def test_an_archived_episode_that_cannot_be_read_keeps_nobody_from_the_others(
    queue: Queue, client: "Redis", raw: str
) -> None:
    first, _ = await archive(queue, "a", "b")
    await client.hset(Keys(queue.namespace).archive, str(first), raw)
    assert await archived_runs(queue) == ["b"]
    await archive(queue, "c", max_archived=2)
    assert await archived_runs(queue) == ["b", "c"], "it goes when its time has come"


@one_server
async def test_evidence_that_cannot_be_read_is_told(queue: Queue, client: "Redis") -> None:
    id = await queue.lesson(state="proposed")
    [seq] = await archive(queue, "a")
    await replay(queue, id, seq, 1, 0)
    await client.hset(Keys(queue.namespace).evidence, id, "1|nonsense")
    with pytest.raises(CorruptData, match="the evidence on an experience cannot be read"):
        await known(queue, id)
    await queue.writer.commit(Rewrite(id=id, text="Another one."))
    assert await known(queue, id) == Shown(), "another text begins anew"
