"""Connections: one client of each kind for each event loop.

A connection belongs to the loop that made it.
"""

import asyncio
import contextlib
import os
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.exceptions import ConnectionError as RedisConnectionError

from ted_memory.errors import StoreUnavailable
from ted_memory.storage.embedded.server import EmbeddedServer
from ted_memory.storage.redis.addresses import CONNECT_TIMEOUT, Address, Client, Close, from_url
from ted_memory.storage.redis.retries import PASSING
from ted_memory.storage.redis.subscriber import Subscriber

# seconds for one command of a look at the store: a link may be slower than an agent is patient
LOOK_TIMEOUT = 2.0
COMMIT_TIMEOUT = 2.5  # seconds for one try of a command that writes
# the same where another server takes over: a frozen one is not waited for twice
FAILOVER_TIMEOUT = 1.3
CONFIRM_MARGIN = 0.3  # seconds less for WAIT, so that its answer still comes
COMMIT_RETRIES = 3
FAILOVER_RETRIES = 16  # Sentinel, Cluster: about 7 s, longer than one takes to elect a new primary
AT_ONCE = 32  # calls of one loop that are under way; more would only open more connections

T = TypeVar("T")


@dataclass(frozen=True)
class LoopClients:
    """The clients of one event loop."""

    fast: Client
    """Looks beside the agent's path: one try, which may take longer than any agent waits for it."""
    commit: Client
    """Everything that may take a moment."""
    subscriber: Subscriber
    """What listens for commits of others, once somebody wants to hear of them."""
    closes: tuple[Close, ...]
    retries: int
    durable_within: float
    """Seconds that a commit waits for replicas or the disk."""
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    syncs: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server was found to be able to wait for its disk."""

    async def with_retries(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """Make a call that may be repeated without harm until it succeeds or the patience ends."""
        backoff = EqualJitterBackoff(base=0.05, cap=0.5)
        retry: Retry = Retry(backoff, self.retries, supported_errors=PASSING)
        async with self.slots:
            return await cancellable(
                retry.call_with_retry(lambda: call(self.commit), _refuse_to_repeat)
            )

    async def aclose(self) -> None:
        """Close all connections; the subscriber is closed before."""
        for close in self.closes:
            await close()


async def cancellable(call: Awaitable[T]) -> T:
    """Await a call of redis-py so that a cancellation is not lost.

    On Python 3.11 `asyncio.wait_for`, within which it sends, swallows one that comes just as the
    send ends.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    answer = await call
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


async def _refuse_to_repeat(error: Exception) -> None:
    # redis-py counts them as connection errors; a wrong password stays wrong
    if isinstance(error, AuthenticationError | AuthorizationError):
        raise error


class Clients:
    """Opens clients at first use: of a URL, an address, or an embedded server."""

    def __init__(
        self,
        url: str | None,
        server: EmbeddedServer | None,
        *,
        read_timeout: float,
        address: Address | None = None,
    ) -> None:
        self.server = server
        self.read_timeout = read_timeout
        if url is not None:
            address = from_url(url)  # a URL that cannot be read is refused now
        elif server is not None:
            address = _embedded(server)
        assert address is not None  # noqa: S101
        self._address = address
        self._url = url
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClients] = (
            weakref.WeakKeyDictionary()
        )
        _ALL.add(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Clients":
        """Make new ones, unconnected; those over a user's client stay: there is no other."""
        if self._url is None and self.server is None:
            return self
        make, given = self.__reduce__()
        made: Clients = make(*given)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell a pickle the URL or the folder, never a connection."""
        if self._url is None and self.server is None:
            raise TypeError(
                "a memory over a client of yours cannot be pickled; open it with a URL instead"
            )
        home = None if self.server is None else self.server.home
        return _open, (self._url, home, self.read_timeout)

    @property
    def where(self) -> str:
        """Where the data are, without passwords."""
        return self._address.where

    def get(self) -> LoopClients:
        """Give the clients of the running loop."""
        loop = asyncio.get_running_loop()
        clients = self._by_loop.get(loop)
        if clients is None:
            fast, close_fast = self._address.make(max(self.read_timeout, LOOK_TIMEOUT))
            alone = self._address.kind == "standalone"
            timeout = COMMIT_TIMEOUT if alone else FAILOVER_TIMEOUT
            commit, close_commit = self._address.make(timeout)
            clients = LoopClients(
                fast,
                commit,
                Subscriber(fast),
                (close_fast, close_commit),
                retries=COMMIT_RETRIES if alone else FAILOVER_RETRIES,
                durable_within=timeout - CONFIRM_MARGIN,
            )
            self._by_loop[loop] = clients
        return clients

    def hears(self, channel: str) -> bool:
        """Tell whether a loop listens to this channel, and the server has agreed to it."""
        return any(clients.subscriber.hears(channel) for clients in list(self._by_loop.values()))

    async def aclose(self) -> None:
        """Close the clients of every loop that still runs; others are gone with their loops."""
        here = asyncio.get_running_loop()
        for loop in list(self._by_loop):
            if loop is here:
                await self._close(loop)
            elif loop.is_running():
                with contextlib.suppress(TimeoutError):
                    future = asyncio.run_coroutine_threadsafe(self._close(loop), loop)
                    await asyncio.wait_for(asyncio.wrap_future(future), COMMIT_TIMEOUT)
            self._by_loop.pop(loop, None)
        if self.server is not None:
            self.server.release()

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the clients of a loop, on that loop."""
        if (clients := self._by_loop.get(loop)) is None:
            return
        # Until this has ended, memories of other namespaces begin looks for what they are told: one
        # that found no clients would open some that nobody closes.
        await clients.subscriber.aclose()
        self._by_loop.pop(loop, None)
        await clients.aclose()

    def leave_to_parent(self) -> None:
        """In a forked child begin anew, and never close what the parent uses.

        It is kept, so that no garbage collection closes it either.
        """
        for clients in self._by_loop.values():
            clients.subscriber.leave()
        _OF_PARENT.append(list(self._by_loop.items()))
        self._by_loop = weakref.WeakKeyDictionary()


def _open(url: str | None, home: Path | None, read_timeout: float) -> Clients:
    return Clients(url, None if home is None else EmbeddedServer(home), read_timeout=read_timeout)


_ALL: weakref.WeakSet[Clients] = weakref.WeakSet()
_OF_PARENT: list[Any] = []


def _forked() -> None:
    for clients in _ALL:
        clients.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_forked)


def _embedded(server: EmbeddedServer) -> Address:
    def make(timeout: float) -> tuple[Client, Close]:
        pool = ConnectionPool(
            connection_class=_EmbeddedConnection,
            path=server.socket_path,
            server=server,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=max(timeout, CONNECT_TIMEOUT),
            retry=Retry(EqualJitterBackoff(), 0),
        )
        client = Redis.from_pool(pool)
        return client, client.aclose

    return Address(str(server.home), "standalone", make)


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
