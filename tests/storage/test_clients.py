"""Connections: what is said when they fail, and what happens when only the answer is lost."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ted_memory import Add, TedMemory, open_memory
from ted_memory.errors import (
    CorruptData,
    NotDurable,
    SettingsError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ted_memory.models import Usage
from ted_memory.storage.redis.keys import Keys
from tests.chaos.fault_proxy import fault_proxy
from tests.conftest import SERVERS, Server

SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a password."""
    binary = SERVERS["valkey"]
    assert binary is not None
    started = Server(binary, tmp_path_factory.mktemp("locked"))
    with redis.Redis(port=started.port) as client:
        client.config_set("requirepass", SECRET)
    yield started
    started.stop()


def one_line(error: BaseException) -> str:
    message = str(error)
    assert "\n" not in message
    return message


# --- passwords


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr3t@127.0.0.1:1/0",
        "redis://user:s3cr3t@127.0.0.1:1/0",
        "redis://s3cr3t:s3cr3t@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=s3cr3t",
        "redis://127.0.0.1:1/0?password=x@s3cr3t",
        "redis://user:x@s3cr3t@127.0.0.1:1/0",
        "redis://user:s3cr3t/x@127.0.0.1:1/0",
        "redis://user:x/s3cr3t@127.0.0.1:1/0",
        "redis://user:s3cr3t?x@127.0.0.1:1/0",
        "redis://user:s3cr3t#x@127.0.0.1:1/0",
        "redis://:s3cr3t@127.0.0.1:port/0",
        "http://user:s3cr3t@127.0.0.1/0",
        "user:s3cr3t@127.0.0.1",
        "unix:///nowhere/socket?password=s3cr3t",
        "redis://127.0.0.1:1/0?password=s3cr3t&socket_timeout=x",
        "redis://127.0.0.1:1/0?socket_timeout=s3cr3t",
    ],
)
async def test_a_password_never_stands_in_a_message(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.storage.redis.clients.COMMIT_RETRIES", 0)
    with pytest.raises((SettingsError, StoreUnavailable)) as caught:
        async with open_memory(url):
            pass
    assert SECRET not in one_line(caught.value)


async def test_a_message_names_the_server_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ted_memory.storage.redis.clients.COMMIT_RETRIES", 0)
    with pytest.raises(StoreUnavailable) as caught:
        async with open_memory("redis://user:s3cr3t@127.0.0.1:1/0"):
            pass
    assert "redis://127.0.0.1:1/0" in one_line(caught.value)
    assert "Is the server running" in str(caught.value)


def test_a_url_of_another_kind_is_refused_with_an_example() -> None:
    with pytest.raises(SettingsError) as caught:
        open_memory("localhost:6379")
    assert "redis://host:6379/0" in one_line(caught.value)


@pytest.mark.parametrize("query", ["no_such_option=1", "socket_timeout=soon"])
def test_an_option_that_cannot_work_is_refused_when_the_url_is_given(query: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_memory(f"redis://127.0.0.1:6379/0?{query}")
    assert "options that redis-py knows" in one_line(caught.value)


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
async def test_a_wrong_password_is_told_in_one_line(locked: Server, login: str) -> None:
    with pytest.raises(StoreRefused) as caught:
        async with open_memory(f"redis://{login}127.0.0.1:{locked.port}/0"):
            pass
    message = one_line(caught.value)
    assert "Check user and password" in message
    assert "wrong" not in message.replace("WRONGPASS", "")


async def test_the_right_password_opens(locked: Server, namespace: str) -> None:
    async with open_memory(
        f"redis://:{SECRET}@127.0.0.1:{locked.port}/0", namespace=namespace
    ) as memory:
        assert (await memory.load()).version == 0


# --- keys that hold something else


async def test_a_key_of_another_type_is_told_in_one_line(valkey: Server, namespace: str) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.set(Keys(namespace).meta, "mine", ex=60)
    memory = open_memory(valkey.url, namespace=namespace)
    with pytest.raises(StoreError) as caught:
        await memory.load()
    assert "WRONGTYPE" in one_line(caught.value)
    assert await memory.render() == "", "an agent goes on"
    await memory.aclose()


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("experiences", None, "nonsense"),
        ("experiences", None, "1|1|active|x|{}"),
        ("experiences", None, "1|1|active|1|{"),
        ("experiences", None, "1|1|active|1|[]"),
        ("ranking", None, "a|b"),
        ("meta", "format", "x"),
        ("meta", "format", "99"),
        ("meta", "version", "x"),
        ("meta", "token_budget", "x"),
    ],
)
async def test_stored_nonsense_is_told_in_one_line_and_agents_go_on(
    valkey: Server, namespace: str, key: str, field: str | None, value: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        commit = await memory.commit([Add(text="One.")], author="me")
        id = commit.applied[0].id
        with redis.Redis(port=valkey.port) as client:
            client.hset(getattr(Keys(namespace), key), field or id, value)
        fresh = memory.for_namespace(namespace)
        with pytest.raises(StoreError) as caught:
            await fresh.load()
        one_line(caught.value)
        assert await fresh.render() == ""
        assert fresh.health().failed_reads == 1


async def test_stored_nonsense_in_usage_log_and_answers_is_told_too(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await memory.commit([Add(text="One.")], author="me")
        keys = Keys(namespace)
        with redis.Redis(port=valkey.port) as client:
            client.hset(keys.usage, "id", "nonsense")
            client.hset(keys.log, "1", "nonsense")
            client.set(keys.applied("t"), "nonsense", ex=60)
            client.hset(keys.progress, "key", "nonsense")
            client.expire(keys.progress, 60)
        for look in (
            memory.usage(),
            memory.log(),
            memory.commit([Add(text="Two.")], author="me", token="t"),
            memory.store.load_progress(namespace),
        ):
            with pytest.raises(CorruptData) as caught:
                await look
            one_line(caught.value)
        with redis.Redis(port=valkey.port) as client:
            client.hdel(keys.usage, "id")
        await memory.store.drop(namespace)


async def test_a_wrong_password_is_not_tried_again_and_again(locked: Server) -> None:
    def denied() -> int:
        with redis.Redis(port=locked.port, password=SECRET) as owner:
            return int(owner.info("stats")["acl_access_denied_auth"])

    before = denied()
    memory = open_memory(f"redis://:wrong@127.0.0.1:{locked.port}/0")
    with pytest.raises(StoreRefused, match="refuses us"):
        await memory.load()
    await memory.aclose()
    assert denied() - before == 1


async def test_a_disk_that_is_switched_off_meanwhile_is_told_with_the_commit_that_was_written(
    tmp_path: Path, namespace: str
) -> None:
    binary = SERVERS["valkey"]
    assert binary is not None
    server = Server(binary, tmp_path, "--appendonly", "yes")
    try:
        async with open_memory(server.url, namespace=namespace, durability="fsync") as memory:
            await memory.commit([Add(text="On the disk.")], author="me")
            with redis.Redis(port=server.port) as owner:
                owner.config_set("appendonly", "no")
            with pytest.raises(NotDurable) as caught:
                await memory.commit([Add(text="Not on it.")], author="me")
            assert caught.value.commit.version == 2
            assert [e.text for e in await memory.load()] == ["On the disk.", "Not on it."]
    finally:
        server.stop()


# --- lost replies


async def test_a_lost_reply_is_asked_for_again_and_the_commit_has_one_effect(
    valkey: Server, namespace: str
) -> None:
    async with fault_proxy(valkey.port) as between:
        memory = open_memory(between.url, namespace=namespace)
        await memory.commit([Add(text="Zero.")], author="me")
        between.spoil("cut", "EVALSHA", "EVALSHA_RO")
        base = await memory.load()  # the read is lost, and asked for again
        assert between.lost == 1
        between.spoil("cut", "EVALSHA", "EVALSHA_RO")
        commit = await memory.commit([Add(text="One.")], author="me", token="t", base=base)
        assert between.lost == 2
        assert commit.repeated
        assert [e.text for e in await memory.load()] == ["Zero.", "One."]
        assert (await memory.load()).version == 2
        await memory.aclose()


async def test_a_lost_reply_does_not_credit_twice(valkey: Server, namespace: str) -> None:
    async with fault_proxy(valkey.port) as between:
        memory = open_memory(between.url, namespace=namespace)
        id = (await memory.commit([Add(text="One.")], author="me")).applied[0].id
        # the script is known to the server
        await memory.credit({id: Usage(helped=1)}, token="warm")
        between.spoil("cut", "EVALSHA", "EVALSHA_RO")
        await memory.credit({id: Usage(helped=1)}, token="t")
        assert between.lost == 1
        assert (await memory.usage())[id].helped == 2
        await memory.aclose()


async def test_without_the_token_in_the_key_the_effect_would_double(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the tests above see a doubled effect where there is one."""
    monkeypatch.setattr(
        Keys, "applied", lambda self, token: self._key(f"applied:{uuid.uuid4().hex}")
    )
    async with fault_proxy(valkey.port) as between:
        memory = open_memory(between.url, namespace=namespace)
        await memory.commit([Add(text="Zero.")], author="me")
        base = await memory.load()
        between.spoil("cut", "EVALSHA", "EVALSHA_RO")
        await memory.commit([Add(text="One.")], author="me", token="t", base=base)
        await memory.commit([Add(text="One.")], author="me", token="t", base=base)
        assert [e.text for e in await memory.load()] == ["Zero.", "One.", "One."]
        await memory.aclose()


async def test_the_agents_path_tries_once_and_waits_no_longer_than_it_may(
    valkey: Server, namespace: str
) -> None:
    async with fault_proxy(valkey.port) as between:
        memory = open_memory(between.url, namespace=namespace)
        await memory.load()
        between.spoil("cut", "EVALSHA", "EVALSHA_RO")
        with pytest.raises(StoreUnavailable):
            await memory.store.read_fast(namespace)
        assert between.lost == 1
        await memory.aclose()


@pytest.mark.parametrize("round_trip", [0.06, 0.2, 0.8])
async def test_over_a_slow_link_lessons_and_updates_arrive(
    valkey: Server, namespace: str, round_trip: float
) -> None:
    """No agent waits that long; what is read beside it may take its time."""
    async with (
        fault_proxy(valkey.port) as between,
        open_memory(valkey.url, namespace=namespace) as near,
    ):
        between.round_trip = round_trip
        await near.commit([Add(text="One.")], author="me")
        far = open_memory(between.url, namespace=namespace)  # read_timeout: 50 ms
        try:
            assert await far.render() == "", "the first call goes on without"
            await _until_rendered(far, "One.")
            await near.commit([Add(text="Two.")], author="me")
            await _until_rendered(far, "Two.")
            assert far.health().breaker == "closed"
            await far.commit([Add(text="Three.")], author="me")
            assert [e.text for e in await near.load()] == ["One.", "Two.", "Three."]
        finally:
            await far.aclose()


async def test_were_a_look_given_up_when_an_agent_is_nothing_would_ever_arrive(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a refresh has 50 ms, as its caller has."""
    monkeypatch.setattr("ted_memory.storage.redis.clients.LOOK_TIMEOUT", 0.0)
    monkeypatch.setattr("tests.storage.test_clients.LOOKS", 60)
    with pytest.raises(pytest.fail.Exception, match=r"One\. has not arrived"):
        await test_over_a_slow_link_lessons_and_updates_arrive(valkey, namespace, 0.2)


LOOKS = 300


async def _until_rendered(memory: TedMemory, text: str) -> None:
    for _ in range(LOOKS):
        if text in await memory.render():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{text} has not arrived: {memory.health()}")


# --- loops and namespaces


def test_one_memory_serves_one_event_loop_after_the_other(valkey: Server, namespace: str) -> None:
    memory = open_memory(valkey.url, namespace=namespace, refresh=0, read_timeout=5)

    async def one_round(text: str) -> str:
        await memory.commit([Add(text=text)], author="me")
        block = await memory.render()
        await memory.aclose()
        return block

    assert "One." in asyncio.run(one_round("One."))
    assert "Two." in asyncio.run(one_round("Two."))


async def test_one_memory_serves_two_event_loops_at_once_and_closing_it_closes_both(
    valkey: Server, namespace: str
) -> None:
    memory = open_memory(valkey.url, namespace=namespace, read_timeout=5)
    await memory.commit([Add(text="Here.")], author="me")

    async def elsewhere() -> str:
        await memory.commit([Add(text="There.")], author="me")
        block = await memory.render()
        await memory.aclose()
        return block

    block = await asyncio.to_thread(asyncio.run, elsewhere())
    assert "There." in block
    assert await memory.render() == block, "a closed memory connects again when it is used"
    await memory.aclose()


async def test_namespaces_share_their_connections_and_not_their_lessons(
    locked: Server, namespace: str
) -> None:
    async def connections() -> int:
        with redis.Redis(port=locked.port, password=SECRET) as client:
            return len(client.client_list())

    memory = open_memory(f"redis://:{SECRET}@127.0.0.1:{locked.port}/0", namespace=namespace)
    await memory.commit([Add(text="Mine.")], author="me")
    before = await connections()
    others = [memory.for_namespace(f"{namespace}-{i}") for i in range(5)]
    for other in others:
        await other.commit([Add(text="Theirs.")], author="me")
    assert await connections() == before
    assert [e.text for e in await memory.load()] == ["Mine."]
    await others[0].aclose()
    assert await connections() < before
    await memory.aclose()


async def test_what_the_codec_needs_cannot_be_switched_off_in_the_url(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(
        f"{valkey.url}?decode_responses=no&socket_timeout=60", namespace=namespace
    ) as memory:
        await memory.commit([Add(text="One.")], author="me")
        assert [e.text for e in await memory.load()] == ["One."]
