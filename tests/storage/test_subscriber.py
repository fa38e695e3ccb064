"""What hears of commits: it costs one connection, ends with its use, and fails in silence."""

import asyncio
import gc
import logging
import pickle
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
import redis

from ted_memory import Add, TedMemory, open_memory, open_memory_sync
from ted_memory.retrieval.ranker import Ranker
from ted_memory.storage.redis import line, subscriber
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.subscriber import GAP, MOST_GAP, Subscriber, Watch
from ted_memory.testing import wait_until
from tests.chaos.topologies import SingleSetup
from tests.conftest import SERVERS, Server

RARELY: dict[str, Any] = {"refresh": 600.0, "read_timeout": 5.0}
"""For agents that see what they are told of, and look for nothing."""


@pytest.fixture
def owner(own_server: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=own_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
async def writer(own_server: Server, namespace: str) -> AsyncIterator[TedMemory]:
    async with open_memory(own_server.url, namespace=namespace, push=False) as memory:
        await memory.commit([Add(text="One.")], author="me")
        yield memory


@pytest.fixture
async def agent(own_server: Server, namespace: str, writer: TedMemory) -> AsyncIterator[TedMemory]:
    memory = open_memory(own_server.url, namespace=namespace, **RARELY)
    await listening(memory)
    yield memory
    await memory.aclose()


async def listening(memory: TedMemory) -> None:
    """Use a memory as an agent does, and wait until it hears of commits."""
    await memory.render()
    await wait_until(lambda: memory.health().pushed)


async def sees(memory: TedMemory, text: str) -> None:
    async def is_shown() -> bool:
        return text in await memory.render()

    await wait_until(is_shown, what=text)


def listeners(owner: redis.Redis) -> int:
    """Count the connections that listen to shards' channels."""
    return sum(int(client["ssub"]) > 0 for client in owner.client_list())


def channels(owner: redis.Redis) -> set[str]:
    return set(owner.execute_command("PUBSUB", "SHARDCHANNELS"))


# --- what it costs


async def test_it_begins_with_the_first_call_and_not_before(
    owner: redis.Redis, own_server: Server, writer: TedMemory
) -> None:
    async with open_memory(own_server.url, namespace=writer.namespace, **RARELY) as memory:
        await memory.load()
        await memory.log()
        assert listeners(owner) == 0
        await listening(memory)
        assert (listeners(owner), channels(owner)) == (1, {Keys(writer.namespace).commits})
    await wait_until(lambda: listeners(owner) == 0)
    assert not memory.health().pushed


async def test_many_namespaces_share_one_connection_and_are_bounded(
    owner: redis.Redis, agent: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "MOST_CHANNELS", 30)
    others = [agent.for_namespace(f"{agent.namespace}-{i}") for i in range(50)]
    await asyncio.gather(*(other.render() for other in others))
    await wait_until(lambda: sum(other.health().pushed for other in others) == 29)
    assert listeners(owner) == 1
    assert len(channels(owner)) == 30


@pytest.mark.parametrize(("apart", "at_once"), [(subscriber.CATCH_UP, 33), (0.0, 200)])
def test_a_process_of_many_namespaces_does_not_look_at_all_of_them_at_once(
    monkeypatch: pytest.MonkeyPatch, apart: float, at_once: int
) -> None:
    """As after a failover: each has missed something, perhaps. The second is the control."""
    monkeypatch.setattr(subscriber, "CATCH_UP", apart)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    listens, listener = Subscriber(cast(Any, None)), FakeListener()
    for i in range(200):
        listens._watches[str(i)] = watch = Watch()
        watch.listeners[listener] = 1e9
        listens.agreed(str(i))
    times = Counter(watch._next_at for watch in listens._watches.values())
    assert max(times.values()) in {at_once, at_once - 1}
    assert min(times) == 1000.0, "the first at once"


class FakeListener:
    """Is told, and keeps versions."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    def told(self, epoch: str, version: int) -> None:
        self.versions.append(version)

    def is_in_use(self) -> bool:
        return True

    def unwatched(self) -> None:
        pass


async def test_a_namespace_that_nobody_uses_is_let_go_of_and_taken_up_at_the_next_call(
    owner: redis.Redis, own_server: Server, writer: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "LEASE", 0.5)
    agent = open_memory(own_server.url, namespace=writer.namespace, **RARELY)
    other = agent.for_namespace(f"{agent.namespace}-other")
    await listening(agent)
    await listening(other)

    async def only_one_is_left() -> bool:
        await agent.render()
        return channels(owner) == {Keys(agent.namespace).commits}

    await wait_until(only_one_is_left)
    await wait_until(lambda: listeners(owner) == 0, what="an idle process has no connection")
    await wait_until(lambda: not tasks_of_ours(), what="... and no task")
    await writer.commit([Add(text="Meanwhile.")], author="me")
    monkeypatch.setattr(subscriber, "LEASE", 60.0)
    await sees(agent, "Meanwhile.")
    await wait_until(lambda: agent.health().pushed)
    await writer.commit([Add(text="Told.")], author="me")
    await sees(agent, "Told.")
    await agent.aclose()


def tasks_of_ours() -> list[str]:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("Subscriber.", "Line."))]


async def test_a_memory_that_is_forgotten_is_not_held(agent: TedMemory) -> None:
    import weakref

    other = agent.for_namespace(f"{agent.namespace}-other")
    await listening(other)
    gone = weakref.ref(other._snapshots)
    del other

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    await wait_until(is_gone)


@pytest.mark.parametrize("of", ["the memory", "another namespace"])
async def test_what_is_told_while_a_memory_is_closed_opens_no_connection(
    agent: TedMemory, writer: TedMemory, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    other = agent.for_namespace(f"{agent.namespace}-other")
    await other.render()
    memory = agent if of == "the memory" else other

    async def told_meanwhile(_: Any) -> None:
        memory._snapshots.told("elsewhere", 99)

    monkeypatch.setattr(Ranker, "aclose", told_meanwhile)
    await agent.aclose()
    await asyncio.sleep(0.05)
    assert not cast(Any, agent.store)._clients._by_loop


def test_a_burst_is_told_of_at_once_and_then_ever_more_seldom() -> None:
    watch, listener = Watch(), FakeListener()
    told = listener.versions
    watch.listeners[listener] = 1e9
    times = []
    for tick in range(10_000):  # a commit each millisecond, for ten seconds
        now = 1000.0 + tick / 1000
        watch.news = ("e", tick)
        watch.tell_if_due(now)
        if watch.news is None:
            times.append(tick / 1000)
    assert times[:2] == [0.0, GAP]
    assert len(times) <= 5 + 10 / MOST_GAP + 1
    watch.tell_if_due(1011.0)
    assert told[-1] == 9_999, "the last one is told of, too"
    watch.news = ("e", 1)
    watch.tell_if_due(1020.0)
    watch.news = ("e", 2)
    watch.tell_if_due(1020.0 + 1.5 * GAP)
    assert told[-2:] == [1, 2], "after a quiet time it begins anew"


# --- troubles


async def test_a_server_that_was_killed_is_listened_to_again(namespace: str) -> None:
    binary = SERVERS["valkey"]
    assert binary is not None
    with SingleSetup(binary, "--appendonly", "yes", "--appendfsync", "always") as setup:
        async with (
            open_memory(setup.url, namespace=namespace, push=False) as writer,
            open_memory(setup.url, namespace=namespace, **RARELY) as agent,
        ):
            await writer.commit([Add(text="One.")], author="me")
            await listening(agent)
            await sees(agent, "One.")
            await asyncio.to_thread(setup.node.kill)
            await wait_until(lambda: not agent.health().pushed)
            assert "One." in await agent.render()
            await asyncio.to_thread(setup.node.start)
            await wait_until(lambda: agent.health().pushed)
            await writer.commit([Add(text="Two.")], author="me")
            await sees(agent, "Two.")


async def test_a_server_that_is_silent_is_called_again(
    own_server: Server, agent: TedMemory, writer: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network may lose a connection without a word."""
    import signal

    monkeypatch.setattr(line, "QUIET", 0.05)
    other = agent.for_namespace(f"{agent.namespace}-other")  # its subscription wakes the reader
    await listening(other)
    await asyncio.sleep(0.3)
    assert agent.health().pushed, "a server that answers is not hung up on"
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        await wait_until(lambda: not agent.health().pushed)
    finally:
        own_server.process.send_signal(signal.SIGCONT)
    monkeypatch.setattr(line, "QUIET", 15.0)
    await wait_until(lambda: agent.health().pushed)
    await writer.commit([Add(text="Two.")], author="me")
    await sees(agent, "Two.")


@pytest.mark.parametrize("rights", ["-ssubscribe allchannels", "+ssubscribe resetchannels"])
async def test_who_may_not_listen_looks_as_before_and_is_told_in_a_log_alone(
    own_server: Server,
    owner: redis.Redis,
    writer: TedMemory,
    caplog: pytest.LogCaptureFixture,
    rights: str,
) -> None:
    owner.execute_command(f"ACL SETUSER deaf on >pw allkeys +@all {rights}")
    caplog.set_level(logging.DEBUG, "ted_memory")
    url = f"redis://deaf:pw@127.0.0.1:{own_server.port}/0"
    async with open_memory(
        url, namespace=writer.namespace, refresh=0.05, read_timeout=5.0
    ) as memory:
        await sees(memory, "One.")
        await wait_until(lambda: "are not told of" in caplog.text)
        await writer.commit([Add(text="Two.")], author="me")
        await sees(memory, "Two.")
        health = memory.health()
        assert (health.pushed, health.failed_reads) == (False, 0)
    assert len([r for r in caplog.records if "are not told of" in r.message]) == 1
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


async def test_who_may_not_publish_commits_all_the_same(
    own_server: Server, owner: redis.Redis, agent: TedMemory
) -> None:
    owner.execute_command("ACL SETUSER mute on >pw allkeys allchannels +@all -spublish")
    url = f"redis://mute:pw@127.0.0.1:{own_server.port}/0"
    async with open_memory(url, namespace=agent.namespace) as mute:
        assert (await mute.commit([Add(text="Two.")], author="me")).version == 2
        await mute.store.drop(f"{agent.namespace}-other")
    assert agent.health().version == 1, "nobody was told"
    assert [lesson.text for lesson in await agent.load()] == ["One.", "Two."]


@pytest.mark.parametrize(
    "message", [b"", b"e", b"e x", b"\xff\xfe 3", b"e -1", "e ²".encode(), b"x" * 100_000]
)
async def test_what_is_no_message_of_ours_does_no_harm(
    owner: redis.Redis, agent: TedMemory, writer: TedMemory, message: bytes
) -> None:
    owner.execute_command("SPUBLISH", Keys(agent.namespace).commits, message)
    await writer.commit([Add(text="Two.")], author="me")
    await sees(agent, "Two.")
    assert agent.health().pushed
    assert agent.health().failed_reads == 0


# --- loops, processes, threads


def test_it_serves_one_event_loop_after_the_other(valkey: Server, namespace: str) -> None:
    """Also where nobody closes the memory, and looks are ten minutes apart."""
    memory = open_memory(valkey.url, namespace=namespace, **RARELY)

    async def one_round(text: str) -> None:
        async with open_memory(valkey.url, namespace=namespace) as writer:
            await listening(memory)
            await writer.commit([Add(text=text)], author="me")
            await sees(memory, text)
        await memory.aclose()

    for text in ("One.", "Two."):
        asyncio.run(one_round(text))


async def test_a_pickled_memory_hears_for_itself(agent: TedMemory, writer: TedMemory) -> None:
    copied = pickle.loads(pickle.dumps(agent))
    await listening(copied)
    await writer.commit([Add(text="Two.")], author="me")
    await sees(copied, "Two.")
    await copied.aclose()
    await sees(agent, "Two.")
    assert agent.health().pushed


def test_a_synchronous_program_hears_of_commits_between_its_calls(
    valkey: Server, namespace: str
) -> None:
    with (
        open_memory_sync(valkey.url, namespace=namespace, **RARELY) as reader,
        open_memory_sync(valkey.url, namespace=namespace) as writer,
    ):
        reader.render()
        asyncio.run(wait_until(lambda: reader.health().pushed))
        writer.commit([Add(text="One.")], author="me")
        asyncio.run(wait_until(lambda: reader.health().version == 1))
        assert "One." in reader.render()
    assert not reader.health().pushed


BEGINNING = """
    import asyncio, os, sys, time
    from ted_memory import Add, open_memory, open_memory_sync
    from ted_memory.testing import wait_until

    url, namespace = sys.argv[1:]
    options = dict(namespace=namespace, refresh=600.0, read_timeout=5.0)

    async def listen(memory):
        await memory.render()
        await wait_until(lambda: memory.health().pushed)
        watches = memory.store._clients.get().subscriber._watches.values()
        await wait_until(lambda: all(watch.news is None for watch in watches))
        await wait_until(lambda: all(t.done() for t in memory._snapshots._tasks.values()))
"""

ENDINGS = {
    "asyncio.run ends, nobody closes": """
        asyncio.run(listen(open_memory(url, **options)))
    """,
    "a loop is closed in the middle": """
        loop = asyncio.new_event_loop()
        memory = open_memory(url, **options)
        loop.run_until_complete(listen(memory))
        loop.close()
    """,
    "a loop is forgotten": """
        import gc
        loop = asyncio.new_event_loop()
        memory = open_memory(url, **options)
        loop.run_until_complete(listen(memory))
        loop.close()
        del loop, memory
        gc.collect()
    """,
    "a synchronous program ends": """
        memory = open_memory_sync(url, **options)
        memory.render()
        asyncio.run(wait_until(lambda: memory.health().pushed))
    """,
    "a synchronous program forks": """
        memory = open_memory_sync(url, **options)
        memory.render()
        asyncio.run(wait_until(lambda: memory.health().pushed))
        child = os.fork()
        if not child:
            memory.render()
            asyncio.run(wait_until(lambda: memory.health().pushed))
            memory.close()
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        assert memory.health().pushed
        version = memory.health().version
        memory.commit([Add(text="After the fork.")], author="me")
        asyncio.run(wait_until(lambda: memory.health().version == version + 1))
        memory.close()
    """,
    "a program forks within its loop": """
        async def main():
            memory = open_memory(url, **options)
            await listen(memory)
            child = os.fork()
            if not child:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            await memory.commit([Add(text="After the fork.")], author="me")
            await wait_until(lambda: memory.health().version >= 1)
            await memory.aclose()
        asyncio.run(main())
    """,
    "asyncio.run ends while redis-py swallows what cancels a send": """
        from redis.asyncio.connection import AbstractConnection
        send = AbstractConnection.send_packed_command

        async def deaf(self, *args, **options):
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:  # as wait_for of Python 3.11, when the send has ended
                pass
            await send(self, *args, **options)

        async def main():
            memory = open_memory(url, **options)
            await memory.render()
            AbstractConnection.send_packed_command = deaf
            await wait_until(lambda: bool(memory.store._clients.get().subscriber._lines))
        asyncio.run(main())
    """,
    "a memory is closed while it connects": """
        async def main():
            memory = open_memory(url, **options)
            await memory.render()
            await memory.aclose()
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_in_silence(valkey: Server, namespace: str, ending: str) -> None:
    program = textwrap.dedent(BEGINNING) + textwrap.dedent(ENDINGS[ending])
    command = [sys.executable, "-c", program, valkey.url, namespace]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
