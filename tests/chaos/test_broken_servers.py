"""An agent and a broken server: the agent goes on, soon at full speed, and recovers by itself."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ted_memory import TedMemory, open_memory
from ted_memory.errors import StoreError
from ted_memory.experience.rendering import render_block
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.memory import cache as snapshots
from ted_memory.models import Add, Commit
from ted_memory.storage.redis import clients
from ted_memory.testing import ScriptedChatModel, wait_until
from tests.chaos.broken_servers import WAYS, BreakableServer, breakable
from tests.chaos.sizes import FULL, report, size
from tests.conftest import SERVERS, Server, assert_only_known_keys

PASSWORD = "s3cret"
READ_TIMEOUT = 0.05
LOOSE = 2.0
"""Seconds; the bound on one call where nothing of time is promised."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real one, to be broken."""
    assert SERVERS["valkey"] is not None
    started = Server(
        SERVERS["valkey"], tmp_path, "--enable-debug-command", "yes", "--busy-reply-threshold", "20"
    )
    yield started
    with contextlib.suppress(ProcessLookupError):
        started.process.send_signal(signal.SIGCONT)
    started.stop()


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less where no time is asserted: for the next look, an answer, and the last retry."""
    if not FULL:
        monkeypatch.setattr(snapshots, "PROBE_EVERY", 0.05)
        monkeypatch.setattr(clients, "LOOK_TIMEOUT", 0.3)
        monkeypatch.setattr(clients, "COMMIT_RETRIES", 1)


@pytest.fixture
async def front(server: Server, namespace: str) -> AsyncIterator[BreakableServer]:
    """What can break, in front of a real server that holds one lesson."""
    async with open_memory(server.url, namespace=namespace) as writer:
        await writer.commit([Add(text="Be brief.")], author="me")
    async with breakable(server.port) as served:
        yield served
    await assert_only_known_keys(server.url)


@contextlib.asynccontextmanager
async def agent(url: str, namespace: str) -> AsyncIterator[TedMemory]:
    """A memory that looks at the store with every call, and has not looked yet."""
    memory = open_memory(url, namespace=namespace, refresh=0.0, read_timeout=READ_TIMEOUT)
    try:
        yield memory
    finally:
        await memory.aclose()


def url_of(front: BreakableServer) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{front.port}/0"


async def timed(call: Awaitable[str]) -> tuple[str, float]:
    began = time.perf_counter()
    answer = await call
    return answer, time.perf_counter() - began


async def until_open(memory: TedMemory, block: str) -> int:
    """Make calls until none waits any more; return how many."""
    calls = 0
    deadline = time.monotonic() + 15
    while memory.health().breaker == "closed":
        assert time.monotonic() < deadline, f"the breaker stays closed: {memory.health()}"
        assert await memory.render() == block
        calls += 1
        await asyncio.sleep(0.005)
    return calls


async def at_full_speed(memory: TedMemory, block: str) -> tuple[int, float]:
    """Call while the breaker is open; gives how often, and the 99th percentile in seconds."""
    times = []
    for _ in range(size(50, 1000)):
        answer, took = await timed(memory.render())
        assert answer == block
        assert took < LOOSE
        times.append(took)
        await asyncio.sleep(0.001)  # else no look at the store would fall among them
    times.sort()
    p99 = times[int(len(times) * 0.99) - 1]
    assert p99 <= 0.001 or not FULL
    return len(times), p99


def told(memory: TedMemory, calls: int, stale: int) -> None:
    """The counters say what happened."""
    health = memory.health()
    assert health.reads == calls
    assert stale <= health.stale_reads <= calls
    assert health.failed_reads >= snapshots.BREAK_AFTER
    assert health.breaker == "open"
    assert health.last_error
    assert "\n" not in health.last_error
    assert PASSWORD not in health.last_error


async def recovers(memory: TedMemory) -> float:
    """Return the seconds of calls until the memory has what the server holds."""
    began = time.monotonic()
    deadline = began + size(15.0, 2.0)
    while "Be brief." not in await memory.render() or memory.health().breaker != "closed":
        assert time.monotonic() < deadline, f"not recovered: {memory.health()}"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def asked(memory: TedMemory) -> str:
    """Ask a model through the memory."""
    model = ScriptedChatModel(script=lambda messages: f"{len(messages)} messages")
    return str((await (inject_lessons(memory) | model).ainvoke("Hello?")).content)


async def goes_on(memory: TedMemory, way: str, mend: Callable[[], Awaitable[object]]) -> None:
    """A fresh memory on a broken server, from its first call until it has come back."""
    answer, first = await timed(memory.render())
    assert answer == ""
    assert first <= size(LOOSE, READ_TIMEOUT + 0.020), f"the first call took {first * 1000:.0f} ms"
    assert await asked(memory) == "1 messages"
    calls = 2 + await until_open(memory, "")
    assert await asked(memory) == "1 messages"
    more, p99 = await at_full_speed(memory, "")
    told(memory, calls + 1 + more, stale=calls + 1 + more)
    await mend()
    took = await recovers(memory)
    assert await asked(memory) == "2 messages"
    report(
        f"{way}: first call {first * 1000:.1f} ms, open after {calls} calls, "
        f"then p99 {p99 * 1000:.3f} ms, "
        f"recovered in {took:.2f} s, error told: {memory.health().last_error[:110]}"
    )


# --- a scripted server


@pytest.mark.parametrize("way", WAYS)
async def test_a_fresh_memory_goes_on_without_lessons_and_comes_back(
    front: BreakableServer, namespace: str, way: str
) -> None:
    await front.be(way)
    async with agent(url_of(front), namespace) as memory:
        await goes_on(memory, way, front.mend)


@pytest.mark.parametrize("way", WAYS)
async def test_a_warm_memory_serves_what_it_has_and_comes_back(
    front: BreakableServer, namespace: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(snapshots, "IDLE", 0.02)  # what it has soon counts as old
    async with agent(url_of(front), namespace) as memory:
        block = render_block((await memory.load()).active)
        assert "Be brief." in block
        await front.be(way)
        calls = await until_open(memory, block)
        await asyncio.sleep(0.03)
        more, _ = await at_full_speed(memory, block)
        told(memory, calls + more, stale=more)
        assert await asked(memory) == "2 messages"
        await front.mend()
        await recovers(memory)
        assert memory.health().version == 1


# the others are waited for, four times two seconds
SOON = [
    way for way in WAYS if FULL or not ("silent" in way or way in {"blackholed", "full backlog"})
]


@pytest.mark.parametrize("way", SOON)
async def test_who_asks_the_store_itself_gets_an_error_of_ours_and_may_ask_again(
    front: BreakableServer, namespace: str, way: str
) -> None:
    await front.be(way)
    async with agent(url_of(front), namespace) as memory:
        base = await memory.snapshot()

        async def commit() -> Commit:
            return await memory.commit([Add(text="Two.")], author="me", token="t", base=base)

        calls: tuple[Callable[[], Awaitable[object]], ...] = (memory.load, commit)
        for call in calls:
            with pytest.raises(StoreError) as told:
                await call()
            assert "\n" not in str(told.value)
            assert PASSWORD not in str(told.value)
        await front.mend()
        done = await commit()
        assert (done.version, done.repeated) == (2, False)


async def test_without_a_breaker_every_call_waits(
    front: BreakableServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "BREAK_AFTER", 1_000_000)
    monkeypatch.setattr(snapshots, "IDLE", 0.0)
    await front.be("blackholed")
    async with agent(url_of(front), namespace) as memory:
        # of two calls that follow each other the second may join a look that is about to fail
        times = [(await timed(memory.render()))[1] for _ in range(10)]
        assert sum(times) >= 5 * READ_TIMEOUT * 0.9
        assert sorted(times)[-5] >= READ_TIMEOUT * 0.9, (
            "half of the calls wait as long as they may, to the end"
        )
        assert memory.health().breaker == "closed"


# --- real servers


@pytest.fixture
async def admin(server: Server, namespace: str) -> AsyncIterator["Redis"]:
    """Another client of a server that holds one lesson."""
    async with open_memory(server.url, namespace=namespace) as writer:
        await writer.commit([Add(text="Be brief.")], author="me")
    async with Redis.from_url(server.url, decode_responses=True, socket_timeout=60) as client:
        await client.ping()
        yield client
    await assert_only_known_keys(server.url)


async def test_a_real_server_that_wants_a_password(
    server: Server, admin: "Redis", namespace: str
) -> None:
    await admin.config_set("requirepass", PASSWORD)
    async with agent(server.url, namespace) as memory:
        await goes_on(memory, "requirepass", lambda: admin.config_set("requirepass", ""))


async def test_a_real_server_with_a_key_of_another_type(
    server: Server, admin: "Redis", namespace: str
) -> None:
    name = f"ted:{{{namespace}}}:meta"

    async def mend() -> None:
        await admin.delete(name)
        await admin.rename(f"{name}-kept", name)

    await admin.rename(name, f"{name}-kept")
    await admin.set(name, "not a hash")
    async with agent(server.url, namespace) as memory:
        await goes_on(memory, "wrong type", mend)


async def test_a_real_server_that_runs_an_endless_script(
    server: Server, admin: "Redis", namespace: str
) -> None:
    async def spin() -> None:
        async with Redis.from_url(server.url, socket_timeout=60) as other:
            with pytest.raises(Exception, match=r"(?i)killed"):
                await other.eval("while true do end", 0)

    spinning = asyncio.ensure_future(spin())

    async def mend() -> None:
        await admin.script_kill()
        await spinning

    await asyncio.sleep(0.1)
    async with agent(server.url, namespace) as memory:
        await goes_on(memory, "busy with a script", mend)


async def test_a_real_server_that_is_frozen(server: Server, admin: "Redis", namespace: str) -> None:
    async def mend() -> None:
        server.process.send_signal(signal.SIGCONT)

    server.process.send_signal(signal.SIGSTOP)
    async with agent(server.url, namespace) as memory:
        await goes_on(memory, "frozen by SIGSTOP", mend)


async def test_a_real_server_that_sleeps_in_a_command(
    server: Server, admin: "Redis", namespace: str
) -> None:
    sleeping = asyncio.ensure_future(admin.execute_command("DEBUG", "SLEEP", str(size(1.2, 8))))
    await asyncio.sleep(0.05)
    async with agent(server.url, namespace) as memory:
        await goes_on(memory, "DEBUG SLEEP", lambda: sleeping)


async def test_a_real_server_without_memory_is_read_and_refuses_a_commit(
    server: Server, admin: "Redis", namespace: str
) -> None:
    await admin.config_set("maxmemory-policy", "noeviction")
    await admin.config_set("maxmemory", "1mb")
    await admin.config_set("maxmemory", "1")
    async with agent(server.url, namespace) as memory:
        assert "Be brief." in await memory.render()
        with pytest.raises(StoreError, match="out of memory"):
            await memory.commit([Add(text="Two.")], author="me")
        assert [e.text for e in await memory.load()] == ["Be brief."], "nothing was written"
        await admin.config_set("maxmemory", "0")
        assert (await memory.commit([Add(text="Two.")], author="me")).version == 2


async def test_a_real_replica_is_read_and_refuses_a_commit(
    server: Server, admin: "Redis", namespace: str, tmp_path: Path
) -> None:
    folder = tmp_path / "primary"
    folder.mkdir()
    assert SERVERS["valkey"] is not None
    primary = Server(SERVERS["valkey"], folder, "--repl-diskless-sync-delay", "0")
    try:
        async with open_memory(primary.url, namespace=namespace) as writer:
            await writer.commit([Add(text="Of the primary.")], author="me")
        await admin.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        async with agent(server.url, namespace) as memory:

            async def copied() -> bool:
                return "Of the primary." in await memory.render()

            await wait_until(copied, timeout=20)
            with pytest.raises(StoreError, match=r"(?i)read.?only"):
                await memory.commit([Add(text="Two.")], author="me")
            assert [e.text for e in await memory.load()] == ["Of the primary."]
            await admin.execute_command("REPLICAOF", "NO", "ONE")
            assert (await memory.commit([Add(text="Two.")], author="me")).version == 2
    finally:
        primary.stop()
