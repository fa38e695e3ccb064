"""What a memory does by itself when the server forgets: it says so, and goes on."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis

from ted_memory import Add, Rewrite, TedMemory, open_memory, open_memory_sync
from ted_memory.storage.redis import codec
from ted_memory.testing import wait_until
from tests.chaos.sizes import FULL, report, size
from tests.chaos.topologies import Node
from tests.conftest import SERVERS, Server, assert_only_known_keys


async def add(memory: TedMemory, text: str) -> str:
    commit = await memory.commit([Add(text=text)], author="me")
    return commit.applied[0].id


REFRESH = size(0.05, 1.0)
"""Seconds; the default in full size."""


async def until(memory: TedMemory, condition: Callable[[], bool], what: str = "") -> None:
    """Render as an agent does, until something is so; within 2 s where it is said what."""
    began = time.monotonic()

    async def seen() -> bool:
        await memory.render()
        return condition()

    await wait_until(seen, timeout=20)
    if what:
        took = time.monotonic() - began
        report(f"recovery after {what}: noticed within {took:.2f} s")
        assert took < 2.0 or not FULL


@contextlib.contextmanager
def own_server(folder: Path, *options: str) -> Iterator[Node]:
    binary = SERVERS["valkey"]
    assert binary is not None
    node = Node(binary, folder, *options)
    node.start()
    try:
        yield node
    finally:
        node.kill()


def resets(memory: TedMemory) -> Callable[[], bool]:
    return lambda: memory.health().last_reset is not None


async def test_after_flushall_the_memory_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server(tmp_path) as server:
        async with open_memory(server.url, namespace="n", refresh=REFRESH) as memory:
            await add(memory, "One.")
            assert "One." in await memory.render()
            with redis.Redis(port=server.port) as owner:
                owner.flushall()
            await until(memory, resets(memory), "FLUSHALL")
            reset = memory.health().last_reset
            assert reset is not None
            assert (reset.kind, reset.version_before, reset.version_after) == ("lost", 1, 0)
            assert await memory.render() == ""
            warnings = [
                r
                for r in caplog.records
                if r.levelno == logging.WARNING and "MemoryReset" in r.message
            ]
            assert len(warnings) == 1
            await add(memory, "Two.")
            assert "Two." in await memory.render()
            assert await memory.namespaces() == ("n",), "the list of namespaces is written again"
            assert memory.health().resets == 1
            await assert_only_known_keys(server.url)


async def test_script_flush_goes_unnoticed(memory: TedMemory, valkey: Server) -> None:
    id = await add(memory, "One.")
    with redis.Redis(port=valkey.port) as owner:
        owner.script_flush()
    await memory.commit([Rewrite(id=id, text="First.")], author="me")
    with redis.Redis(port=valkey.port) as owner:
        owner.script_flush()
    assert "First." in await memory.render()
    assert memory.health().failed_reads == 0
    assert memory.health().resets == 0


async def test_a_restart_without_data_is_told_and_survived(tmp_path: Path) -> None:
    with own_server(tmp_path) as server:
        async with open_memory(server.url, namespace="n", refresh=REFRESH) as memory:
            await add(memory, "One.")
            await memory.render()
            server.kill()
            await until(memory, lambda: memory.health().breaker == "open")
            assert "One." in await memory.render(), "what was last seen is served meanwhile"
            server.start()
            await until(memory, resets(memory), "a restart without data")
            assert memory.health().breaker == "closed"
            await add(memory, "Two.")
            assert [e.text for e in await memory.load()] == ["Two."]


async def older_data(
    tmp_path: Path, then: Callable[[TedMemory], Awaitable[object]], *, looks: bool = True
) -> TedMemory:
    """Let a memory see version 4, bring back version 2, and do `then` before it looks again."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    with own_server(data, *options) as server:
        async with (
            open_memory(server.url, namespace="n", refresh=REFRESH) as memory,
            open_memory(server.url, namespace="n") as other,
        ):
            await add(memory, "One.")
            await add(memory, "Two.")
            server.kill()
            shutil.copytree(data, backup)
            server.start()
            await add(memory, "Three.")
            await add(memory, "Four.")
            before = await memory.load()
            server.kill()
            shutil.rmtree(data)
            shutil.copytree(backup, data)
            server.start()
            await then(other)
            if looks:
                await memory.load()
                return memory
            agent = memory.for_namespace("n")
            agent._snapshots.offer(before)
            await until(agent, resets(agent), "older data were restored")
            return agent


async def test_older_data_that_were_restored_are_told(tmp_path: Path) -> None:
    async def nothing(_: TedMemory) -> None: ...

    memory = await older_data(tmp_path, nothing, looks=False)
    reset = memory.health().last_reset
    assert reset is not None
    assert (reset.kind, reset.version_before, reset.version_after) == ("restored", 4, 2)


@pytest.mark.parametrize("commits", [2, 3])
async def test_restored_data_that_have_reached_the_same_version_again_are_told_apart(
    tmp_path: Path, commits: int
) -> None:
    async def go_another_way(other: TedMemory) -> None:
        for i in range(commits):
            await add(other, f"Another {i}.")

    memory = await older_data(tmp_path, go_another_way)
    held = memory._snapshots.held
    assert held is not None
    assert [e.text for e in held] == ["One.", "Two.", *(f"Another {i}." for i in range(commits))]


async def test_without_the_stamp_of_a_commit_they_could_not_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    encode = codec.encode_request
    monkeypatch.setattr(
        codec,
        "encode_request",
        lambda request, told, stamp, seal: encode(request, told, "always-the-same", seal),
    )

    async def go_another_way(other: TedMemory) -> None:
        await add(other, "Another 0.")
        await add(other, "Another 1.")

    memory = await older_data(tmp_path, go_another_way)
    held = memory._snapshots.held
    assert held is not None
    assert [e.text for e in held] == ["One.", "Two.", "Three.", "Four."], (
        "what the store no longer holds"
    )


# --- loops, processes


def test_a_memory_that_is_used_in_many_loops_leaves_no_connection_open(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace, read_timeout=5.0)

    async def use(number: int) -> str:
        await add(memory, f"Lesson {number}.")
        block = await memory.render()
        await memory.aclose()
        return block

    with redis.Redis(port=valkey.port) as owner:
        before = len(owner.client_list())
        for number in range(5):
            assert f"Lesson {number}." in asyncio.run(use(number))
        assert len(owner.client_list()) == before


def _in_child(memory, results) -> None:
    async def use() -> None:
        await add(memory, "From the child.")
        results.put(await memory.render())
        await memory.aclose()

    asyncio.run(use())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_uses_connections_of_its_own_and_leaves_the_parents_alone(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace, read_timeout=5.0)

    async def parent() -> None:
        await add(memory, "From the parent.")
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=_run_outside_the_loop, args=(memory, results))
        child.start()
        said = await asyncio.to_thread(results.get, timeout=30)
        await asyncio.to_thread(child.join, 30)
        assert child.exitcode == 0
        assert "From the child." in said
        for _ in range(20):
            assert len(await memory.load()) == 2
        await memory.aclose()

    asyncio.run(parent())


def _run_outside_the_loop(memory, results) -> None:
    asyncio._set_running_loop(None)  # the fork happened inside the parent's loop
    _in_child(memory, results)


def test_a_synchronous_program_has_the_same_memory_with_blocking_methods(
    valkey: Server, namespace: str
) -> None:
    with open_memory_sync(valkey.url, namespace=namespace, read_timeout=5.0) as memory:
        commit = memory.commit([Add(text="One.")], author="me")
        assert (
            memory.commit([Rewrite(id=commit.applied[0].id, text="First.")], author="me").version
            == 2
        )
        assert "First." in memory.render()
        assert [e.text for e in memory.load()] == ["First."]
        assert [d.id for d in memory.diff(1)] == [commit.applied[0].id]
        assert len(memory.log()) == 2
        memory.rollback(1)
        assert memory.export().count("\n") == 2
        assert memory.for_namespace(f"{namespace}.other").load().version == 0
        assert memory.health().failed_reads == 0
        assert namespace in memory.namespaces()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if memory.load().version == 3 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert memory.load().version == 3
