"""From a URL, or from a client that the user has, to clients of our own with our own timeouts.

``redis://``, ``valkey://``
    one server: ``redis://user:password@host:6379/0?option=value``
``rediss://``, ``valkeys://``
    the same over TLS; ``ssl_ca_certs``, ``ssl_certfile``, ... as options
``unix://``
    ``unix:///path/to/socket?db=0``
``redis+sentinel://``
    ``redis+sentinel://host:26379,host:26379/mymaster/0``; also ``redis-sentinel://``,
    ``sentinel://``, and with ``rediss`` over TLS (``sentinel_username``, ``sentinel_password`` as
    options)
``redis+cluster://``
    ``redis+cluster://host:6379,host:6379``; also ``redis-cluster://``, and with ``rediss`` over TLS
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis
from redis.asyncio import (
    Connection,
    ConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SentinelConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ted_memory.errors import SettingsError

# seconds; TLS and a name to look up take longer than an agent waits, which goes on meanwhile
CONNECT_TIMEOUT = 1.0

Kind = Literal["standalone", "sentinel", "cluster"]
Client = Redis | RedisCluster
Close = Callable[[], Awaitable[None]]
Make = Callable[[float], tuple[Client, Close]]
"""Makes a client that tries once and waits so many seconds, and what closes it."""

_URL = re.compile(
    r"(?P<scheme>[a-z+-]+)://"
    r"(?:(?P<login>[^/?#]*)@)?"
    r"(?P<hosts>(?:\[[^@/?#\]]*\]|[^@/?#])*)"
    r"(?P<path>/[^@?#]*)?"
    r"(?P<query>[?#].*)?",
    re.DOTALL,
)
_SCHEMES: Mapping[str, tuple[str, Kind]] = {
    **dict.fromkeys(("redis", "valkey"), ("redis", "standalone")),
    **dict.fromkeys(("rediss", "valkeys"), ("rediss", "standalone")),
    "unix": ("unix", "standalone"),
    **dict.fromkeys(
        ("redis+sentinel", "redis-sentinel", "sentinel", "valkey+sentinel"), ("redis", "sentinel")
    ),
    **dict.fromkeys(
        ("rediss+sentinel", "rediss-sentinel", "valkeys+sentinel"), ("rediss", "sentinel")
    ),
    **dict.fromkeys(("redis+cluster", "redis-cluster", "valkey+cluster"), ("redis", "cluster")),
    **dict.fromkeys(("rediss+cluster", "rediss-cluster", "valkeys+cluster"), ("rediss", "cluster")),
}
_HIDDEN = "(not shown: it may hold a password)"
_OURS = {
    "retry",
    "retry_on_error",
    "retry_on_timeout",
    "socket_timeout",
    "socket_connect_timeout",
    "decode_responses",
}


def _ours(timeout: float) -> dict[str, Any]:
    """Give the options that the codec and the agents' path need, whatever a URL says."""
    # no retries in the client: `RedisStore` knows which calls may be sent again
    return {
        "decode_responses": True,
        "socket_timeout": timeout,
        "socket_connect_timeout": max(timeout, CONNECT_TIMEOUT),
        "retry": Retry(NoBackoff(), 0),
    }


@dataclass(frozen=True)
class Address:
    """Where the data are (``where``, for people, without a password), and how to reach them."""

    where: str
    kind: Kind
    make: Make


def from_url(url: str) -> Address:
    """Read a URL.

    Raises:
        SettingsError: it cannot be used; the message does not hold a password.
    """
    parts = _URL.fullmatch(url)
    scheme = _SCHEMES.get(parts["scheme"]) if parts is not None else None
    if parts is None or scheme is None:
        raise _unusable(_HIDDEN)
    # a "@" behind the host: the password holds a character that should have been escaped
    is_safe = "@" not in (parts["query"] or "")
    where = f"{parts['scheme']}://{parts['hosts']}{parts['path'] or ''}" if is_safe else _HIDDEN
    base, kind = scheme
    try:
        make = _MAKERS[kind](base, parts)
        make(1.0)  # no I/O; refuses options that do not exist
    except (ValueError, TypeError, redis.RedisError):  # what they say may hold the password
        raise _unusable(where) from None
    return Address(where, kind, make)


def _unusable(where: str) -> SettingsError:
    return SettingsError(
        f"the URL {where} cannot be used: write redis://host:6379/0, rediss://..., unix:///path, "
        "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379, "
        "with options that redis-py knows, and %40 %2F %3F %23 for @ / ? # in a password"
    )


def _options(scheme: str, parts: re.Match[str], path: str = "") -> dict[str, Any]:
    """Read the options of a URL as redis-py reads them, without those that are ours to make."""
    host = parts["hosts"].split(",")[0]
    login = f"{parts['login']}@" if parts["login"] is not None else ""
    options = dict(parse_url(f"{scheme}://{login}{host}{path}{parts['query'] or ''}"))
    return {name: value for name, value in options.items() if name not in _OURS}


def _standalone(scheme: str, parts: re.Match[str]) -> Make:
    options = _options(scheme, parts, parts["path"] or "")
    options.setdefault("connection_class", Connection)
    return lambda timeout: _pooled(ConnectionPool(**{**options, **_ours(timeout)}))


def _pooled(pool: ConnectionPool) -> tuple[Client, Close]:
    pool.make_connection()  # type: ignore[no-untyped-call]  # no I/O
    client = Redis.from_pool(pool)
    return client, client.aclose


def _sentinel(scheme: str, parts: re.Match[str]) -> Make:
    options = _options(scheme, parts)
    service, _, db = (parts["path"] or "").strip("/").partition("/")
    service = str(options.pop("service_name", "") or service or "mymaster")
    options["db"] = int(db or options.get("db", 0))
    secure = options.pop("connection_class", None) is SSLConnection
    of_sentinels = {**_popped(options, "sentinel_"), **_starting_with(options, "ssl")}
    options = _without_place(options)
    hosts = [_host(host, 26379) for host in parts["hosts"].split(",")]
    return lambda timeout: _by_sentinel(
        hosts, service, {**options, "ssl": secure}, {**of_sentinels, "ssl": secure}, timeout
    )


def _popped(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take out the options that begin with a prefix, and give them without it."""
    names = [name for name in options if name.startswith(prefix)]
    return {name.removeprefix(prefix): options.pop(name) for name in names}


def _starting_with(options: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith(prefix)}


def _without_place(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in {"host", "port"}}


def _by_sentinel(
    hosts: list[tuple[str, int]],
    service: str,
    options: dict[str, Any],
    own: dict[str, Any],
    timeout: float,
) -> tuple[Client, Close]:
    sentinel = Sentinel(hosts, sentinel_kwargs={**own, **_ours(timeout)})  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service, **{**options, **_ours(timeout)})

    async def close() -> None:
        await client.aclose(close_connection_pool=True)
        for one in sentinel.sentinels:
            await one.aclose()

    return client, close


def _cluster(scheme: str, parts: re.Match[str]) -> Make:
    options = _options(scheme, parts)
    for name in ("host", "port", "db"):
        options.pop(name, None)
    secure = options.pop("connection_class", None) is SSLConnection
    hosts = [_host(host, 6379) for host in parts["hosts"].split(",")]
    return lambda timeout: _clustered(hosts, {**options, "ssl": secure}, timeout)


def _clustered(
    hosts: list[tuple[str, int]], options: dict[str, Any], timeout: float
) -> tuple[Client, Close]:
    nodes = [ClusterNode(host, port) for host, port in hosts]
    # a cluster that has lost some slots still serves the others. Reinitialising after so many moved
    # slots would close connections that other tasks are using; each MOVED is followed anyway
    ours = {"require_full_coverage": False, "reinitialize_steps": 0, **_ours(timeout)}
    client = RedisCluster(startup_nodes=nodes, **{**options, **ours})
    return client, client.aclose


_MAKERS: Mapping[Kind, Callable[[str, re.Match[str]], Make]] = {
    "standalone": _standalone,
    "sentinel": _sentinel,
    "cluster": _cluster,
}


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, given = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, given = text, str(port)
    if not host:
        raise ValueError("no host")
    return host.strip("[]"), int(given)


def from_client(client: Any) -> Address:
    """Read where a user's client talks to. Its settings are used; its connections are left alone.

    Raises:
        SettingsError: it is no client of redis-py.
    """
    if isinstance(client, RedisCluster | redis.RedisCluster):
        return _of_cluster(client)
    pool = getattr(client, "connection_pool", None)
    if not isinstance(client, Redis | redis.Redis) or pool is None:
        raise SettingsError(
            f"client={type(client).__name__} cannot be used: pass a Redis or RedisCluster client "
            "of redis-py (redis.asyncio or redis), or a URL"
        )
    if isinstance(pool, SentinelConnectionPool | redis.sentinel.SentinelConnectionPool):
        return _of_sentinel(pool)
    return _of_pool(pool)


def _of_cluster(client: Any) -> Address:
    nodes = [(node.host, int(node.port)) for node in client.nodes_manager.startup_nodes.values()]
    kwargs = getattr(client, "connection_kwargs", None) or client.nodes_manager.connection_kwargs
    options = _without_place(_taken(kwargs, RedisCluster))
    if kwargs.get("connection_class") is SSLConnection:
        options["ssl"] = True
    return Address(_named(nodes), "cluster", lambda timeout: _clustered(nodes, options, timeout))


def _of_sentinel(pool: Any) -> Address:
    sentinel, service = pool.sentinel_manager, pool.service_name
    nodes = [_node_of(one) for one in sentinel.sentinels]
    options = _without_place(_taken(pool.connection_kwargs, Connection))
    of_sentinels = _taken(sentinel.sentinel_kwargs, Connection)
    return Address(
        _named(nodes),
        "sentinel",
        lambda timeout: _by_sentinel(nodes, service, options, of_sentinels, timeout),
    )


def _of_pool(pool: Any) -> Address:
    kind = _our_kind(pool.connection_class)
    options = {**_taken(pool.connection_kwargs, kind), "connection_class": kind}
    node = options.get("host", "localhost"), options.get("port", 6379)
    return Address(
        str(options.get("path") or _named([node])),
        "standalone",
        lambda timeout: _pooled(ConnectionPool(**{**options, **_ours(timeout)})),
    )


def _our_kind(theirs: type) -> Any:
    """Find the class of our connections that is like one of theirs."""
    for ours, alike in _CONNECTIONS.items():
        if issubclass(theirs, alike):
            return ours
    return Connection


# the most special first: each of ours, and the classes whose settings it takes over
_CONNECTIONS: Mapping[Any, tuple[type, ...]] = {
    SSLConnection: (SSLConnection, redis.connection.SSLConnection),
    UnixDomainSocketConnection: (
        UnixDomainSocketConnection,
        redis.connection.UnixDomainSocketConnection,
    ),
}


def _taken(kwargs: Mapping[str, Any], target: type) -> dict[str, Any]:
    """Take over the settings that ``target`` understands, without those that are ours to make."""
    known = set[str]()
    for base in target.__mro__:
        known.update(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    # made for the client that it was taken from: bound to its loop, its parser or its pool
    bound = {
        "parser_class",
        "event_dispatcher",
        "maint_notifications_config",
        "maint_notifications_pool_handler",
    }
    known -= _OURS | bound | {"self", "kwargs", "args"}
    return {name: value for name, value in kwargs.items() if name in known}


def _node_of(client: Any) -> tuple[str, int]:
    kwargs = client.connection_pool.connection_kwargs
    return str(kwargs["host"]), int(kwargs["port"])


def _named(nodes: list[tuple[str, int]]) -> str:
    return ",".join(f"{host}:{port}" for host, port in nodes)
