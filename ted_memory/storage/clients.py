"""Connections: one client of each kind for each event loop, since a connection belongs to the loop that made it."""

import asyncio
import contextlib
import re
import weakref
from dataclasses import dataclass
from typing import Any

from redis.asyncio import ConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from ted_memory.errors import SettingsError, StoreUnavailable
from ted_memory.storage.embedded import EmbeddedServer

COMMIT_TIMEOUT = 5.0  # seconds for one try of a command that writes
COMMIT_RETRIES = 3

# scheme, address; what may hold a password is left out: the login and the query. A "@" anywhere else is not read
_SAFE = re.compile(r"(rediss?|unix)://(?:[^/?#]*@)?((?:\[[^@/?#\]]*\]|[^@/?#:]*)(?::\d+)?(?:/[^@?#]*)?)(?:[?#][^@]*)?")


@dataclass(frozen=True)
class LoopClients:
    """The clients of one event loop."""

    fast: Redis
    """The agent's path: short timeout, one try."""
    commit: Redis
    """Everything that may take a moment. Its retries are safe because what it sends carries a token."""

    async def aclose(self) -> None:
        """Close all connections."""
        await self.fast.aclose()
        await self.commit.aclose()


class Clients:
    """Opens clients at first use. `url` and `server` exclude each other."""

    def __init__(self, url: str | None, server: EmbeddedServer | None, *, read_timeout: float) -> None:
        self.url = url
        self.server = server
        self.read_timeout = read_timeout
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClients] = weakref.WeakKeyDictionary()
        if url is not None:
            self._pool(timeout=COMMIT_TIMEOUT, retries=0)  # a URL that cannot be read is refused now

    @property
    def where(self) -> str:
        """Where the data are, without passwords."""
        if self.server is not None:
            return str(self.server.home)
        safe = _SAFE.fullmatch(self.url or "")
        return f"{safe[1]}://{safe[2]}" if safe else "(not shown: it may hold a password)"

    def get(self) -> LoopClients:
        """Return the clients of the running loop."""
        loop = asyncio.get_running_loop()
        clients = self._by_loop.get(loop)
        if clients is None:
            clients = LoopClients(
                fast=Redis.from_pool(self._pool(timeout=self.read_timeout, retries=0)),
                commit=Redis.from_pool(self._pool(timeout=COMMIT_TIMEOUT, retries=COMMIT_RETRIES)),
            )
            self._by_loop[loop] = clients
        return clients

    async def aclose(self) -> None:
        """Close the clients of every loop that still runs; those of closed loops are gone with their loops."""
        here = asyncio.get_running_loop()
        for loop, clients in list(self._by_loop.items()):
            del self._by_loop[loop]
            if loop is here:
                await clients.aclose()
            elif loop.is_running():
                with contextlib.suppress(TimeoutError):
                    future = asyncio.run_coroutine_threadsafe(clients.aclose(), loop)
                    await asyncio.wait_for(asyncio.wrap_future(future), COMMIT_TIMEOUT)
        if self.server is not None:
            self.server.release()

    def _pool(self, *, timeout: float, retries: int) -> ConnectionPool:
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05) if retries else NoBackoff(), retries)
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": retry,
        }
        if self.server is not None:
            return ConnectionPool(
                connection_class=_EmbeddedConnection,
                path=self.server.socket_path,
                server=self.server,
                **options,
            )
        try:
            pool = ConnectionPool.from_url(self.url or "", **options)
            pool.connection_kwargs.update(options)  # else the URL's options win, over what the codec and agents need
            pool.make_connection()  # type: ignore[no-untyped-call]  # no I/O; refuses options that do not exist
        except (ValueError, TypeError):  # what they say may hold the password
            raise SettingsError(
                f"the URL {self.where} cannot be used: write redis://host:6379/0, rediss://... or unix:///path, with "
                "options that redis-py knows, and %40 %2F %3F %23 for @ / ? # in a password"
            ) from None
        return pool


class _EmbeddedConnection(UnixDomainSocketConnection):
    """Starts the embedded server when nobody answers on its socket."""

    def __init__(self, *, server: EmbeddedServer, **options: Any) -> None:
        super().__init__(**options)
        self._server = server

    async def _connect(self) -> None:
        try:
            await self._server.ensure()
        except StoreUnavailable as error:
            raise RedisConnectionError(str(error)) from error
        await super()._connect()  # type: ignore[no-untyped-call]
