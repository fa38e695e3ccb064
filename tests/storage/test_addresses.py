"""What a URL or a user's client means."""

import asyncio
import ssl

import pytest
import redis
import redis.asyncio
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from ted_memory import Add, open_memory
from ted_memory.errors import SettingsError
from ted_memory.storage.redis.addresses import from_client, from_url
from tests.conftest import Server


@pytest.mark.parametrize(
    ("url", "kind", "where"),
    [
        ("redis://h:1/2", "standalone", "redis://h:1/2"),
        ("valkey://u:p@h", "standalone", "valkey://h"),
        ("valkeys://h", "standalone", "valkeys://h"),
        ("redis://[::1]:7/0", "standalone", "redis://[::1]:7/0"),
        ("unix:///run/r.sock?db=1", "standalone", "unix:///run/r.sock"),
        ("redis+sentinel://u:p@a:1,b:2/main/3", "sentinel", "redis+sentinel://a:1,b:2/main/3"),
        ("sentinel://a,b", "sentinel", "sentinel://a,b"),
        (
            "redis-sentinel://a:1?service_name=main&sentinel_password=p",
            "sentinel",
            "redis-sentinel://a:1",
        ),
        ("redis+cluster://u:p@a:1,b:2", "cluster", "redis+cluster://a:1,b:2"),
        ("rediss+cluster://a:1", "cluster", "rediss+cluster://a:1"),
    ],
)
async def test_the_usual_spellings_are_understood(url: str, kind: str, where: str) -> None:
    address = from_url(url)
    assert (address.kind, address.where) == (kind, where)
    client, close = address.make(1.0)
    await close()
    assert client is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis+sentinel://",
        "redis+cluster://:1,b",
        "redis://h:x",
        "h:6379",
        "",
        "redis+cluster://a:x",
    ],
)
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        from_url(url)


def test_what_the_url_says_reaches_sentinel_and_cluster() -> None:
    async def look() -> None:
        client, close = from_url("redis+sentinel://u:p%40@a:1,b:2/main/3?sentinel_password=s").make(
            0.5
        )
        pool = client.connection_pool  # type: ignore[union-attr]
        assert (pool.service_name, pool.connection_kwargs["db"]) == ("main", 3)
        assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == (
            "u",
            "p@",
        )
        one = pool.sentinel_manager.sentinels[1].connection_pool.connection_kwargs
        assert (one["host"], one["port"], one["password"], one["socket_timeout"]) == (
            "b",
            2,
            "s",
            0.5,
        )
        await close()
        cluster, close = from_url("rediss+cluster://u:p@a:1,b:2?ssl_cert_reqs=none").make(0.5)
        assert isinstance(cluster, RedisCluster)
        kwargs = cluster.connection_kwargs
        assert (kwargs["username"], kwargs["password"], kwargs["socket_timeout"]) == ("u", "p", 0.5)
        assert kwargs["ssl_cert_reqs"] in {"none", ssl.CERT_NONE}
        await close()

    asyncio.run(look())


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_users_client_lends_its_settings_and_keeps_its_connections(
    valkey: Server, namespace: str, kind: str, decode: bool
) -> None:
    made = redis.asyncio.Redis if kind == "async" else redis.Redis
    client = made(host="127.0.0.1", port=valkey.port, db=0, decode_responses=decode)
    async with open_memory(client=client, namespace=namespace, read_timeout=2.0) as memory:
        await memory.commit([Add(text="One.")], author="me")
        assert "One." in await memory.render()
        assert f"127.0.0.1:{valkey.port}" in memory.store._clients.where
    answer = client.ping()
    assert (await answer if kind == "async" else answer) is True, (
        "closing the memory leaves the client open"
    )
    closed = client.aclose() if kind == "async" else client.close()
    if closed is not None:
        await closed


async def test_a_clients_user_database_and_tls_are_taken_over() -> None:
    client = redis.asyncio.Redis(
        host="h",
        port=7,
        db=3,
        username="u",
        password="p",
        ssl=True,
        ssl_cert_reqs="none",
        socket_timeout=60,
    )
    ours, close = from_client(client).make(0.5)
    kwargs = ours.connection_pool.connection_kwargs  # type: ignore[union-attr]
    assert {name: kwargs[name] for name in ("host", "port", "db", "username", "password")} == {
        **{"host": "h", "port": 7, "db": 3},
        **{"username": "u", "password": "p"},
    }
    assert issubclass(ours.connection_pool.connection_class, redis.asyncio.SSLConnection)  # type: ignore[union-attr]
    assert kwargs["socket_timeout"] == 0.5
    await close()
    await client.aclose()


async def test_a_cluster_client_and_a_sentinels_are_known() -> None:
    cluster = RedisCluster(startup_nodes=[ClusterNode("a", 1), ClusterNode("b", 2)], password="p")
    address = from_client(cluster)
    assert (address.kind, address.where) == ("cluster", "a:1,b:2")
    ours, close = address.make(0.5)
    assert ours.connection_kwargs["password"] == "p"  # type: ignore[union-attr]
    await close()
    sentinel = redis.asyncio.Sentinel([("s", 1)], sentinel_kwargs={"password": "sp"}, password="p")
    address = from_client(sentinel.master_for("main"))
    assert (address.kind, address.where) == ("sentinel", "s:1")
    ours, close = address.make(0.5)
    assert ours.connection_pool.connection_kwargs["password"] == "p"  # type: ignore[union-attr]
    await close()


@pytest.mark.parametrize("thing", ["redis://h", object(), 7])
def test_what_is_no_client_is_refused(thing: object) -> None:
    with pytest.raises(SettingsError, match="client="):
        open_memory(client=thing)


def test_url_and_client_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="exclude"):
        open_memory("redis://h", client=redis.Redis())
