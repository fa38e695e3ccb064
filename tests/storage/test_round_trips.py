"""Round trips: what is asked of one slot is asked at once, however many things it is about."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from ted_memory import Add, TedMemory, open_memory
from ted_memory.episodes import Episode, Subject
from ted_memory.errors import StoreError
from ted_memory.models import LogEntry
from ted_memory.protocols import VectorHead
from ted_memory.storage.redis.keys import Keys
from tests.conftest import Server
from tests.contracts.queue import Queue, an_episode
from tests.contracts.writer import Writer

MANY = 12


class Wire:
    """Counts what connections send: a command is one round trip, and so is a pipeline."""

    def __init__(self) -> None:
        self.sent = 0

    @contextmanager
    def takes(self, most: int) -> Iterator[None]:
        """Fail where more round trips are made than these."""
        before = self.sent
        yield
        assert self.sent - before <= most, "round trips"


@pytest.fixture
async def memory(valkey: Server, namespace: str) -> AsyncIterator[TedMemory]:
    """A memory that looks at the server only when it is asked to."""
    opened = open_memory(valkey.url, namespace=namespace)
    yield opened
    await opened.aclose()


@pytest.fixture
async def wire(memory: TedMemory, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A spy on connections; what is sent once only, to connect and to ask for the time, is past."""
    counted, send = Wire(), AbstractConnection.send_packed_command

    async def spy(self: Any, *args: Any, **options: Any) -> None:
        counted.sent += 1
        await send(self, *args, **options)

    await memory.load()
    await memory.traffic()
    monkeypatch.setattr(AbstractConnection, "send_packed_command", spy)
    return counted


@pytest.fixture
def queue(memory: TedMemory) -> Queue:
    return Queue(memory.store, Writer(memory.store, memory.namespace))


def client_of(memory: TedMemory) -> Any:
    return memory.store._clients.get().commit  # type: ignore[attr-defined]


async def test_the_spy_sees_each_command_and_a_pipeline_once(memory: TedMemory, wire: Wire) -> None:
    """The control: what is asked one after the other is counted one by one."""
    client, name = client_of(memory), Keys(memory.namespace).traffic
    for _ in range(MANY):
        await client.hgetall(name)
    assert wire.sent == MANY
    pipeline = client.pipeline(transaction=False)
    for _ in range(MANY):
        pipeline.hgetall(name)
    await pipeline.execute()
    assert wire.sent == MANY + 1
    with pytest.raises(AssertionError, match="round trips"), wire.takes(1):
        await client.hgetall(name)
        await client.hgetall(name)


async def test_episodes_are_recorded_with_all_their_images_at_once(
    queue: Queue, wire: Wire
) -> None:
    images = {f"{i:064x}": b"image" for i in range(MANY)}
    await queue.record("first")  # lists the namespace
    runs = [an_episode(f"r{i}", images=tuple(images)) for i in range(MANY)]
    with wire.takes(2):  # a server that has not seen the script is sent it
        await queue.record(*runs, images=images)
    with wire.takes(1):
        assert len(await queue.log.images(queue.namespace, list(images))) == MANY


async def test_episodes_are_claimed_with_all_that_was_said_of_them_at_once(
    queue: Queue, wire: Wire
) -> None:
    await queue.claim()  # the script is known now
    await queue.record(*(f"r{i}" for i in range(MANY)))
    for i in range(MANY):
        await queue.say(f"r{i}", 0.5)
    with wire.takes(2):
        claims = (await queue.claim(MANY)).claims
    assert [len(claim.feedback) for claim in claims] == [1] * MANY


async def test_what_waits_is_counted_at_once(queue: Queue, wire: Wire) -> None:
    await queue.record(*(f"r{i}" for i in range(MANY)))
    await queue.claim(2)
    with wire.takes(2):  # the second asks for what is oldest, which the first one tells
        assert await queue.places() == (MANY - 2, 2, 0)


async def test_dead_letters_are_read_with_their_episodes_at_once(queue: Queue, wire: Wire) -> None:
    await queue.kill("a", "b", "c")
    with wire.takes(2):
        assert len(await queue.log.dead_letters(queue.namespace, 10)) == 3


async def test_sources_are_refused_at_once(memory: TedMemory, wire: Wire) -> None:
    sources = [f"run:{i}" for i in range(MANY)]
    with wire.takes(1):
        await memory.store.tombstone(memory.namespace, *sources)
    with wire.takes(1):
        assert await memory.store.tombstoned(memory.namespace, sources) == {*sources}
    with wire.takes(0):
        await memory.store.tombstone(memory.namespace)


async def test_the_log_is_blanked_at_once(memory: TedMemory, wire: Wire) -> None:
    for i in range(MANY):
        await memory.commit([Add(text=f"Lesson {i}.")], author="me", why="a reason")

    def without_reason(entry: LogEntry) -> LogEntry:
        return entry.model_copy(update={"why": ""})

    with wire.takes(3):  # a look, and the script, which the server is sent
        await memory.store.blank(memory.namespace, range(MANY, 0, -1), without_reason)
    assert {entry.why for entry in await memory.log(MANY)} == {""}


async def test_a_person_of_many_runs_is_forgotten_in_as_many_trips_as_one_of_few(
    queue: Queue, wire: Wire
) -> None:
    trips = []
    for person, count in (("warm-up", 1), ("anna", 1), ("bob", MANY)):
        runs = [an_episode(f"{person}{i}", principal=person) for i in range(count)]
        await queue.record(*runs, an_episode(f"{person}s-friend", principal="eve"))
        await queue.say(f"{person}s-friend", 1.0, principal=person, reviewer=True)
        before = wire.sent
        erased = await queue.log.erase(queue.namespace, Subject(kind="principal", name=person))
        trips.append(wire.sent - before)
        assert (len(erased.runs), erased.words) == (count, 1)
    assert trips[1] == trips[2]


async def test_vectors_are_kept_in_three_trips(memory: TedMemory, wire: Wire) -> None:
    vectors = {f"{i:032x}": b"vector" for i in range(MANY)}
    head, place = VectorHead(model="m", dimension=2), memory.store.vectors(memory.namespace)
    with wire.takes(3):  # whose they are, the vectors, and how many there are now
        assert await place.save(head, vectors, [*vectors]) == head
    assert await place.load([*vectors]) == vectors


async def test_a_command_that_fails_in_a_pipeline_is_not_quoted(
    memory: TedMemory, valkey: Server, namespace: str
) -> None:
    """It would name the person who is to be forgotten."""
    await memory.record(Episode(run_id="r1", principal="Anna Muster"))
    await memory.flush()
    async with Redis.from_url(valkey.url) as client:
        [rate] = [name async for name in client.scan_iter(match=f"*{namespace}*:rate:*")]
        await client.delete(rate)
        await client.set(rate, "no hash")
        with pytest.raises(StoreError, match="WRONGTYPE Operation") as told:
            await memory.forget("principal", "Anna Muster")
        await client.delete(rate)
    assert "Anna" not in str(told.value)
