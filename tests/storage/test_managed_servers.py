"""The whole way on a server that denies what managed services deny, and that has no modules.

ElastiCache does not know the commands that need its operator's rights ("Restricted commands" of its
guide), Memorystore for Valkey answers NOPERM to what it does not list ("Supported and blocked
commands"). Neither service was at hand: a server of ours denies at least as much, in both ways.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ted_memory import Add, Rewrite, TedMemory, open_memory
from ted_memory.distill import distill
from ted_memory.errors import TedMemoryError
from ted_memory.testing import ScriptedChatModel
from tests.conftest import SERVERS, Server
from tests.fundamentals import test_learning as data
from tests.fundamentals import test_trust as traffic

DENIED = (
    *("acl", "bgrewriteaof", "bgsave", "config", "debug", "failover", "function", "keys"),
    *("lastsave", "latency", "migrate", "module", "monitor", "psync", "replicaof", "role", "save"),
    *("shutdown", "slaveof", "slowlog", "swapdb", "sync"),
)
OF_MODULES = ("FT.SEARCH", "FT.CREATE", "JSON.GET", "JSON.SET", "BF.ADD", "TS.ADD", "VADD")
BY_CLIENTS = {"client|setinfo"}
"""Sent by redis-py with each connection; it goes on where that is denied. Redis 7.2 brought it."""


def options(binary: str, how: str) -> list[str]:
    """What a server is started with that denies these commands."""
    if how == "unknown":
        return [part for name in DENIED for part in ("--rename-command", name, "")]
    of_clients = [] if binary == "redis-debian" else [f"-{name}" for name in BY_CLIENTS]
    rights = ["+@all", "-@admin", *(f"-{name}" for name in DENIED), *of_clients]
    return ["--user", "default", "on", "nopass", "~*", "&*", *rights]


@pytest.fixture(params=[name for name in ("valkey", "redis-debian") if SERVERS[name]])
def binary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["unknown", "no permission"])
def managed(request: pytest.FixtureRequest, binary: str, tmp_path: Path) -> Iterator[Server]:
    started = Server(str(SERVERS[binary]), tmp_path, *options(binary, request.param))
    yield started
    started.stop()


async def from_a_data_set(memory: TedMemory) -> None:
    report = await distill(
        data.SAMPLES,
        student=ScriptedChatModel(script=data.student),
        teacher=ScriptedChatModel(script=data.teacher),
        memory=memory,
    )
    assert report.promoted


async def from_traffic(memory: TedMemory) -> None:
    id = await traffic.propose(memory, traffic.RIGHT)
    await traffic.serve(memory, range(30))
    await traffic.learn(memory)
    assert await traffic.state(memory, id) == "trial"
    await traffic.serve(memory, range(30, 110))
    await traffic.learn(memory)
    assert await traffic.state(memory, id) == "active"


async def looked_after(memory: TedMemory) -> None:
    [made] = (await memory.commit([Add(text="Be brief.")], author="me", token="once")).applied
    await memory.commit([Rewrite(id=made.id, text="Be thorough.")], author="me")
    assert "Be thorough." in await memory.render()
    await memory.rollback((await memory.load()).version - 1)
    copy = await memory.export()
    await memory.for_namespace(f"{memory.namespace}-copy").import_set(copy)
    assert memory.namespace in await memory.namespaces()
    await memory.purge("principal:nobody")
    await memory.forget("principal", "user-1")
    assert (await memory.traffic()).dead == 0
    found = await memory.store.examine(memory.namespace)
    assert [finding for finding in found if finding.state == "problem"] == []


def refused(server: Server) -> set[str]:
    """Which commands somebody has sent who had no right to."""
    with redis.Redis(port=server.port) as client:
        told = client.info("commandstats")
    sent = {name.removeprefix("cmdstat_") for name, one in told.items() if one["rejected_calls"]}
    return sent - BY_CLIENTS


async def test_the_whole_way_works_and_asks_for_nothing_that_is_denied(managed: Server) -> None:
    async with open_memory(managed.url, namespace="support", read_timeout=5) as memory:
        await from_a_data_set(memory)
        await looked_after(memory)
    async with open_memory(managed.url, namespace="depot", read_timeout=5) as memory:
        await from_traffic(memory)
    assert refused(managed) == set()


def test_what_is_denied_is_denied_and_would_be_found(managed: Server) -> None:
    """The control."""
    with redis.Redis(port=managed.port) as client:
        for command in ("acl whoami", "config get *", "save", "role", "keys *", *OF_MODULES):
            with pytest.raises(redis.exceptions.RedisError, match=r"unknown command|permission"):
                client.execute_command(*command.split())
    if "--user" in str(managed.process.args):
        assert refused(managed) == {"acl|whoami", "config|get", "save", "role", "keys"}


@pytest.mark.parametrize("needed", ["evalsha", "hset", "zadd"])
async def test_without_what_is_needed_the_way_ends(
    needed: str, binary: str, tmp_path: Path
) -> None:
    """The control: a server that denied these would be found."""
    server = Server(str(SERVERS[binary]), tmp_path, "--rename-command", needed, "")
    try:
        async with open_memory(server.url, namespace="support", read_timeout=5) as memory:
            with pytest.raises((TedMemoryError, AssertionError)):
                await looked_after(memory)
                await from_traffic(memory)
    finally:
        server.stop()
