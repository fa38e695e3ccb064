"""Servers as people run them: each shape behaves like one server; no failover loses a commit."""

import asyncio
import contextlib
import functools
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
import redis.asyncio

from ted_memory import TedMemory, open_memory
from ted_memory.errors import NotDurable, StoreError, StoreRefused, StoreUnavailable
from ted_memory.models import Add, Commit, Rewrite, Usage
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import wait_until as soon
from tests.chaos.sizes import FULL, report, size
from tests.chaos.topologies import (
    HOST,
    SERVICE,
    ClusterSetup,
    SentinelSetup,
    Setup,
    SingleSetup,
    TlsSetup,
    wait_until,
)
from tests.conftest import SERVERS

pytestmark = pytest.mark.xdist_group("topologies")

ROOMY: dict[str, Any] = {
    "max_experiences": 100_000,
    "token_budget": 10**7,
    "history_versions": 100_000,
}
WRITERS = 4
PATIENCE = 60.0  # seconds after which a commit that is never acknowledged fails the test

every_server = pytest.mark.parametrize("make", size(["valkey"], list(SERVERS)))


def binary(make: str) -> str:
    path = SERVERS[make]
    if path is None:
        pytest.skip(f"{make} is not installed")
    return path


def with_tls(*, mutual: bool) -> TlsSetup:
    """Return a setup of the first server here that speaks TLS."""
    for path in filter(None, SERVERS.values()):
        with contextlib.suppress(AssertionError), TlsSetup(path, mutual=mutual):
            return TlsSetup(path, mutual=mutual)
    pytest.skip("no server here speaks TLS; Debian's redis-server does")


SHAPES: dict[str, Callable[[], Any]] = {
    "one": lambda: SingleSetup(binary("valkey")),
    "password": lambda: SingleSetup(binary("redis8"), password="secret"),
    "tls": lambda: with_tls(mutual=False),
    "mutual-tls": lambda: with_tls(mutual=True),
    "sentinel": lambda: SentinelSetup(binary("valkey"), password="secret"),
    **{
        f"cluster-{make}": lambda make=make: ClusterSetup(binary(make), password="secret")
        for make in SERVERS
    },
}
every_shape = pytest.mark.parametrize(
    "shape", size([name for name in SHAPES if "-redis" not in name], list(SHAPES))
)


@pytest.fixture(scope="module")
def shape_of() -> Iterator[Callable[[str], Any]]:
    """Start each shape when it is first asked for."""
    with contextlib.ExitStack() as running:
        started: dict[str, Setup] = {}

        def get(name: str) -> Setup:
            if name not in started:
                started[name] = running.enter_context(SHAPES[name]())
            return started[name]

        yield get


# ---- every shape does what one server does


async def walk(memory: TedMemory) -> None:
    """Use all of a memory's face once."""
    edits = [Add(text="read the invoice twice"), Add(text="ask for the date")]
    first = await memory.commit(edits, author="walker", token="first")
    assert (first.version, first.repeated, len(first.applied)) == (1, False, 2)
    assert [e.text for e in await memory.load()] == ["read the invoice twice", "ask for the date"]
    again = await memory.commit(edits, author="walker", token="first")
    assert again == first.model_copy(update={"repeated": True})
    await memory.commit(
        [Rewrite(id=first.applied[0].id, text="read the invoice once")], author="walker"
    )
    assert (await memory.load()).by_id[first.applied[0].id].text == "read the invoice once"
    # a first connection may take longer than an agent waits; a later call has it
    for _ in range(100):
        if "read the invoice once" in await memory.render():
            break
        await asyncio.sleep(0.05)
    assert "read the invoice once" in await memory.render(), memory.health()
    used = {first.applied[1].id: Usage(helped=1)}
    assert [await memory.credit(used, token="credit") for _ in range(2)] == [True, False]
    assert (await memory.usage())[first.applied[1].id].helped == 1
    assert (await memory.rollback(1)).version == 3
    assert [entry.version for entry in await memory.log()] == [3, 2, 1]
    assert memory.namespace in await memory.namespaces()


async def read_anew(url: str, namespace: str) -> list[str]:
    """Return the texts as somebody sees them who was not there before."""
    async with open_memory(url, namespace=namespace) as memory:
        return [e.text for e in await memory.load()]


@pytest.mark.parametrize("durability", ["none", "replica"])
@every_shape
async def test_a_memory_does_the_same_on_every_shape(
    shape: str, durability: Any, shape_of: Callable[[str], Any], namespace: str
) -> None:
    if durability == "replica" and not shape.startswith(("sentinel", "cluster")):
        return  # there is no replica; see below what happens then
    setup = shape_of(shape)
    async with open_memory(setup.url, namespace=namespace, durability=durability) as memory:
        await walk(memory)
    assert await read_anew(setup.url, namespace) == ["read the invoice twice", "ask for the date"]


@contextlib.asynccontextmanager
async def client_of(setup: Any, **options: Any) -> AsyncIterator[Any]:
    """Make the client that a user of this shape has."""
    async with contextlib.AsyncExitStack() as opened:
        if isinstance(setup, ClusterSetup):
            cluster = redis.asyncio.RedisCluster(
                HOST, setup.nodes[0].port, password=setup.password, **options
            )
            yield await opened.enter_async_context(cluster)
        elif isinstance(setup, SentinelSetup):
            sentinel = redis.asyncio.Sentinel([(HOST, one.port) for one in setup.sentinels])
            for one in sentinel.sentinels:
                opened.push_async_callback(one.aclose)
            client = sentinel.master_for(SERVICE, password=setup.password, **options)
            opened.push_async_callback(client.aclose, close_connection_pool=True)
            yield client
        else:
            yield await opened.enter_async_context(
                redis.asyncio.Redis.from_url(setup.url, **options)
            )


@pytest.mark.parametrize("decode", [True, False], ids=["text", "bytes"])
@every_shape
async def test_a_client_that_the_user_has_is_used_and_left_alone(
    shape: str, decode: bool, shape_of: Callable[[str], Any], namespace: str
) -> None:
    setup = shape_of(shape)
    async with client_of(setup, decode_responses=decode, socket_timeout=5) as client:
        await client.set(f"{namespace}-own", "x")
        async with open_memory(client=client, namespace=namespace) as memory:
            await walk(memory)
        assert await client.getdel(f"{namespace}-own") == ("x" if decode else b"x")
    assert await read_anew(setup.url, namespace) == ["read the invoice twice", "ask for the date"]


async def test_a_wrong_password_is_told_at_once(
    shape_of: Callable[[str], Any], namespace: str
) -> None:
    url = shape_of("password").url.replace("secret", "wrong")
    with pytest.raises(StoreRefused, match="password"):
        await open_memory(url, namespace=namespace).load()


async def test_a_server_whose_authority_is_unknown_is_refused(
    shape_of: Callable[[str], Any], namespace: str
) -> None:
    url = shape_of("tls").url.partition("?")[0]
    with pytest.raises(StoreUnavailable, match="certificate"):
        await open_memory(url, namespace=namespace).load()


# ---- commits are told of on every shape


RARELY: dict[str, Any] = {"refresh": 600.0, "read_timeout": 5.0}
"""For agents that see what they are told of, and look for nothing."""


async def hears(agent: TedMemory) -> None:
    await agent.render()
    await soon(lambda: agent.health().pushed, what="the server tells of commits")


async def sees(agent: TedMemory, text: str) -> None:
    async def is_shown() -> bool:
        return text in await agent.render()

    await soon(is_shown, timeout=30, what=f"{text!r} is shown")


@contextlib.asynccontextmanager
async def told_of(url: str, namespace: str, **options: Any) -> AsyncIterator[Any]:
    """Give who commits to some namespaces, and agents of them that hear of it."""
    async with (
        open_memory(url, namespace=namespace, push=False) as writer,
        open_memory(url, namespace=namespace, **RARELY, **options) as agent,
    ):
        names = [f"{namespace}-{i}" for i in range(6)]  # of a cluster's slots
        writers = [writer, *map(writer.for_namespace, names)]
        agents = [agent, *map(agent.for_namespace, names)]
        for one in agents:
            await hears(one)
        yield writers, agents


@every_shape
async def test_commits_are_told_of(
    shape: str, shape_of: Callable[[str], Any], namespace: str
) -> None:
    async with told_of(shape_of(shape).url, namespace) as (writers, agents):
        for writer, agent in zip(writers, agents, strict=True):
            await writer.commit([Add(text="told of")], author="me")
            await sees(agent, "told of")


async def test_who_does_not_listen_sees_nothing_of_them(
    shape_of: Callable[[str], Any], namespace: str
) -> None:
    """The control: looks are ten minutes apart."""
    async with told_of(shape_of("cluster-valkey").url, namespace) as (writers, agents):
        deaf = open_memory(
            shape_of("cluster-valkey").url, namespace=namespace, push=False, **RARELY
        )
        await deaf.render()
        await writers[0].commit([Add(text="told of")], author="me")
        await sees(agents[0], "told of")
        assert "told of" not in await deaf.render()
        await deaf.aclose()


async def test_commits_are_told_of_where_their_slot_has_moved(
    shape_of: Callable[[str], Any], namespace: str
) -> None:
    setup = shape_of("cluster-valkey")
    slot = setup.slot_of(Keys(namespace).meta)
    async with told_of(setup.url, namespace) as (writers, agents):
        await writers[0].commit([Add(text="before")], author="me")
        await sees(agents[0], "before")
        target = next(one for one in setup.primaries if one is not setup.owner(slot))
        await asyncio.to_thread(setup.move_slot, slot, target)
        await writers[0].commit([Add(text="after")], author="me")
        await sees(agents[0], "after")
        await hears(agents[0])
        await writers[0].commit([Add(text="later")], author="me")
        await sees(agents[0], "later")


async def test_commits_are_told_of_after_a_failover(namespace: str) -> None:
    with SentinelSetup(binary("valkey")) as setup:
        async with told_of(setup.url, namespace) as (writers, agents):
            await writers[0].commit([Add(text="before")], author="me")
            await sees(agents[0], "before")
            await FAULTS["killed"](setup)
            await writers[0].commit([Add(text="after")], author="me")
            await sees(agents[0], "after")
            await hears(agents[0])
            await writers[0].commit([Add(text="later")], author="me")
            await sees(agents[0], "later")


# ---- what is acknowledged stays


@dataclass
class Load:
    """Writers that send each commit, under one token, until it is acknowledged."""

    memory: TedMemory
    fresh_tokens: bool = False
    """The fault that tokens prevent: an unanswered commit is sent again under another token."""
    acknowledged: set[str] = field(default_factory=set)
    stall: float = 0.0
    """Longest time between two acknowledgements of one writer, in seconds."""
    repeated: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    _names: Iterator[int] = field(default_factory=itertools.count)

    async def send(self, text: str) -> Commit:
        token = f"{text}.{next(self._names)}" if self.fresh_tokens else text
        return await self.memory.commit([Add(text=text)], author="writer", token=token)

    async def commit(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                commit = await self.send(text)
            except StoreError as error:
                assert time.monotonic() < deadline, f"not acknowledged within {PATIENCE} s: {error}"
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)
                continue
            assert not commit.rejected
            self.repeated += commit.repeated
            self.acknowledged.add(text)
            return

    async def write(self, stop: asyncio.Event) -> None:
        name, last = next(self._names), time.monotonic()
        for i in itertools.count():
            await self.commit(f"lesson {i} of writer {name}")
            now = time.monotonic()
            last, self.stall = now, max(self.stall, now - last)
            if stop.is_set():
                return
            await asyncio.sleep(0.002)

    async def _goes_on(self) -> None:
        """Write for 0.4 s, and on a busy machine until more than ten are acknowledged."""
        wanted = len(self.acknowledged) + 10
        deadline = time.monotonic() + PATIENCE
        await asyncio.sleep(0.4)
        while len(self.acknowledged) <= wanted:
            assert time.monotonic() < deadline, f"{wanted} are not acknowledged: {self}"
            await asyncio.sleep(0.01)

    def __str__(self) -> str:
        lost = f"0 of {len(self.acknowledged)} acknowledged commits lost, 0 doubled"
        head = f"{lost}; {self.repeated} answered as repeated"
        return f"{head}; errors {dict(self.errors)}; longest stall {self.stall:.2f} s"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write until the end of the block; what is under way then is still acknowledged."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self.write(stop))
            await self._goes_on()
            try:
                yield
                await self._goes_on()
            finally:
                stop.set()


async def check(url: str, namespace: str, acknowledged: set[str]) -> None:
    """Fail if an acknowledged lesson is lost, one is there twice, or a version is missing."""
    async with open_memory(url, namespace=namespace, **ROOMY) as memory:
        texts = Counter(e.text for e in await memory.load())
        versions = [entry.version for entry in await memory.log(10**6)]
    lost, doubled = acknowledged - set(texts), [text for text, count in texts.items() if count > 1]
    assert not lost, f"{len(lost)} acknowledged and lost"
    assert not doubled, f"{len(doubled)} there twice"
    assert versions == list(range(len(versions), 0, -1)), "versions have gaps"
    assert len(versions) == texts.total()


async def _kill(setup: SentinelSetup) -> None:
    await asyncio.to_thread(setup.wait_for_failover, setup.kill_primary())


async def _freeze(setup: SentinelSetup, *, briefly: bool = False) -> None:
    """Freeze the primary until all follow another. It still holds clients, and itself for primary.

    Briefly: until another is promoted; the third still follows the old one and confirms what it
    writes.
    """
    old = setup.freeze_primary()
    others = [server for server in setup.servers if server is not old]

    def ready() -> bool:
        roles = {other.port: other.call("ROLE") for other in others}
        new = [port for port, role in roles.items() if role[0] == "master"]
        return bool(new) and (
            briefly or any(role[0] == "slave" and role[2] in new for role in roles.values())
        )

    await asyncio.to_thread(wait_until, ready, "another primary")
    old.thaw()
    await asyncio.to_thread(setup.wait_for_failover, old)
    await asyncio.sleep(size(0.5, 12))  # full: until Sentinel has told the old one


FAULTS = {
    "killed": _kill,
    "frozen briefly": functools.partial(_freeze, briefly=True),
    "frozen": _freeze,
}


@pytest.mark.parametrize("fault", size(["killed", "frozen briefly"], list(FAULTS)))
@every_server
async def test_a_failover_loses_and_doubles_nothing_acknowledged(
    make: str, fault: str, namespace: str
) -> None:
    failovers = size(1, 3)
    with SentinelSetup(binary(make)) as setup:
        async with open_memory(
            setup.url, namespace=namespace, durability="replica", **ROOMY
        ) as memory:
            load = Load(memory)
            for _ in range(failovers):
                await asyncio.to_thread(setup.heal)
                async with load.running():
                    await FAULTS[fault](setup)
                await check(setup.url, namespace, load.acknowledged)
    assert len(load.acknowledged) > 20
    report(f"{failovers} Sentinel failovers ({make}), primary {fault}, durability=replica: {load}")
    if FULL:
        assert load.stall < 4


async def test_without_a_replica_that_confirms_a_failover_loses_what_was_acknowledged(
    namespace: str,
) -> None:
    with SentinelSetup(binary("valkey")) as setup:
        primary = setup.primary()
        replicas = [server for server in setup.servers if server is not primary]
        async with open_memory(
            setup.url, namespace=namespace, durability="none", **ROOMY
        ) as memory:
            none = Load(memory)
            await none.commit("before")
            await asyncio.sleep(0.2)  # it reaches the replicas
            for replica in replicas:
                replica.freeze()
            # else it would wait for them in the sockets' buffers
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            await none.commit("after")
        async with open_memory(
            setup.url, namespace=namespace, durability="replica", **ROOMY
        ) as memory:
            with pytest.raises(NotDurable):  # so here nothing is acknowledged that could be lost
                await Load(memory).send("never acknowledged")
        await check(setup.url, namespace, none.acknowledged)
        primary.kill()
        for replica in replicas:
            replica.thaw()
        await asyncio.to_thread(setup.wait_for_failover, primary)
        with pytest.raises(AssertionError, match="1 acknowledged and lost"):
            await check(setup.url, namespace, none.acknowledged)


@pytest.mark.parametrize("durability", ["none", "replica"])
@every_server
async def test_a_hot_slot_that_moves_loses_and_doubles_nothing(
    make: str, durability: Any, shape_of: Callable[[str], Any], namespace: str
) -> None:
    moves = size(2, 8)
    setup = shape_of(f"cluster-{make}")
    slot = setup.slot_of(Keys(namespace).meta)
    async with open_memory(
        setup.url, namespace=namespace, durability=durability, **ROOMY
    ) as memory:
        load = Load(memory)
        async with load.running():
            for _ in range(moves):
                source = setup.owner(slot)
                target = next(primary for primary in setup.primaries if primary is not source)
                await asyncio.to_thread(setup.move_slot, slot, target)
                assert setup.owner(slot) is target
                await asyncio.sleep(0.3)
    await check(setup.url, namespace, load.acknowledged)
    assert len(load.acknowledged) > 20
    report(f"{moves} moves of the hot slot ({make}), durability={durability}: {load}")
    if FULL:
        assert load.stall < 1


class Forgetful(Load):
    """Every third answer is lost on its way."""

    async def send(self, text: str) -> Commit:
        commit = await super().send(text)
        if next(self._names) % 3 == 0:
            raise StoreUnavailable("the answer was lost")
        return commit


async def test_the_same_token_is_what_keeps_a_lost_answer_from_doubling(
    shape_of: Callable[[str], Any], namespace: str
) -> None:
    url = shape_of("cluster-valkey").url
    async with open_memory(url, namespace=namespace, **ROOMY) as memory:
        same, fresh = (
            Forgetful(memory),
            Forgetful(memory.for_namespace(f"{namespace}-fresh"), fresh_tokens=True),
        )
        for load in (same, fresh):
            for i in range(20):
                await load.commit(f"lesson {i}")
            assert load.errors.total() > 3
    await check(url, namespace, same.acknowledged)
    with pytest.raises(AssertionError, match="there twice"):
        await check(url, f"{namespace}-fresh", fresh.acknowledged)


# ---- what cannot be confirmed is not acknowledged


@every_server
async def test_a_commit_that_no_replica_confirms_raises_and_is_written(
    make: str, namespace: str
) -> None:
    with SingleSetup(binary(make)) as setup:
        async with open_memory(setup.url, namespace=namespace, durability="replica") as memory:
            with pytest.raises(NotDurable, match="no replica") as raised:
                await memory.commit([Add(text="alone")], author="me", token="t")
            assert raised.value.commit.version == 1
            assert [e.text for e in await memory.load()] == ["alone"]


@every_server
async def test_fsync_without_appendonly_is_refused_before_anything_is_written(
    make: str, namespace: str
) -> None:
    await _assert_refused(SingleSetup(binary(make)), namespace)


async def test_fsync_on_a_server_that_is_too_old_is_refused_before_anything_is_written(
    namespace: str,
) -> None:
    setup = SingleSetup(binary("redis-debian"), "--appendonly", "yes")
    with setup, setup.node.client() as client:
        if "waitaof" in client.command():
            pytest.skip("this machine's redis-server has WAITAOF")
    await _assert_refused(setup, namespace)


async def _assert_refused(setup: SingleSetup, namespace: str) -> None:
    with setup:
        async with open_memory(setup.url, namespace=namespace, durability="fsync") as memory:
            with pytest.raises(StoreError, match="nothing was written"):
                await memory.commit([Add(text="unsafe")], author="me")
            assert len(await memory.load()) == 0
        assert setup.node.call("KEYS", "*") == []


@pytest.mark.parametrize("make", ["valkey", "redis8"])
async def test_fsync_with_appendonly_survives_a_killed_server(make: str, namespace: str) -> None:
    with SingleSetup(binary(make), "--appendonly", "yes", "--appendfsync", "everysec") as setup:
        async with open_memory(setup.url, namespace=namespace, durability="fsync") as memory:
            # everysec: the disk may take longer than one commit waits
            await Load(memory).commit("kept")
            setup.node.restart()
            assert [e.text for e in await memory.load()] == ["kept"]
