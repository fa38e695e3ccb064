"""Commits of others, told as they are made: one subscriber for each event loop.

What a server says here is a hint, and it may say nothing: agents look at the store all the same
(`memory.cache`). So whatever fails here is tried again later, and nobody is told but a log.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from ted_memory.errors import reason_of
from ted_memory.protocols import CommitListener
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.line import Line, ended, heed_cancellation, in_background
from ted_memory.storage.redis.retries import PASSING

BEGIN_AFTER = 0.1  # seconds; until then a process's first call has the loop for itself
LEASE = 60.0  # seconds after which a listener is asked whether it is still in use
MOST_CHANNELS = 1000  # of one event loop; commits to further namespaces are found by looking
# seconds between two times that one namespace is told of, in a burst: twice as long after each
GAP, MOST_GAP = 0.05, 1.0
FIRST_PAUSE, MOST_PAUSE = 0.1, 5.0  # seconds before a server is called again that was lost
CATCH_UP = (
    1 / 640
)  # seconds between looks of one process at namespaces that it begins to listen for
REFUSED_PAUSE = 60.0  # ... or that refuses us, or a channel

News = tuple[str, int]
MISSED: News = ("", 0)
"""What listeners are told where they may have missed something."""

_LOG = logging.getLogger("ted_memory")
_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)


@dataclass
class Watch:
    """One channel, who listens to it, and when they are told again."""

    listeners: weakref.WeakKeyDictionary[CommitListener, float] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    line: Line | None = None
    again_at: float = 0.0
    """When it is asked for again, while it has no line."""
    news: News | None = None
    _next_at: float = 0.0
    _gap: float = GAP

    def drop_unused(self, now: float) -> bool:
        """Forget listeners that are not in use; tell whether anybody is left."""
        for listener, until in list(self.listeners.items()):
            if until > now:
                continue
            if listener.is_in_use():
                self.listeners[listener] = now + LEASE
            else:
                del self.listeners[listener]
                listener.unwatched()
        return bool(self.listeners)

    def end(self) -> None:
        """Let go of all who listen."""
        for listener in list(self.listeners):
            listener.unwatched()
        self.listeners.clear()

    def tell_if_due(self, now: float) -> None:
        """Tell the news, if there are any and the last ones are long enough ago.

        The first of a burst is told at once, the others together at ever longer distances, so that
        many agents of a set that changes all the time look about as often as without this.
        """
        if self.news is None or now < self._next_at:
            return
        was_quiet = now - self._next_at > MOST_GAP
        self._gap = GAP if was_quiet else min(2 * self._gap, MOST_GAP)
        self._next_at = now + self._gap
        news, self.news = self.news, None
        for listener in list(self.listeners):
            listener.told(*news)

    def tell_missed(self, at: float) -> None:
        """Tell, at this time, that something may have been missed."""
        self.news = MISSED
        self._next_at = max(self._next_at, at)

    def next_at(self) -> float:
        """When there is something to do for it, unless something comes."""
        times = [min(self.listeners.values(), default=0.0)]
        if self.news is not None:
            times.append(self._next_at)
        if self.line is None:
            times.append(self.again_at)
        return min(times)


class Subscriber:
    """Listens on one event loop, while anybody wants to hear of commits.

    One connection for each server that holds a namespace in use: one, but for clusters.

    Args:
        client: finds the servers and says how to connect to them; none of its connections is used.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watches: dict[str, Watch] = {}
        self._lines: dict[str, Line] = {}
        self._woken = asyncio.Event()
        self._failures = 0
        self._caught_up_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def watch(self, channel: str, listener: CommitListener) -> None:
        """Have a listener told of a channel, while it is in use; no I/O here."""
        watch = self._watches.get(channel)
        if watch is None:
            if len(self._watches) >= MOST_CHANNELS:
                return
            watch = self._watches[channel] = Watch()
            self._woken.set()
        watch.listeners[listener] = time.monotonic() + LEASE
        if self._task is None or self._task.done():
            self._task = in_background(self._keep())

    def hears(self, channel: str) -> bool:
        """Tell whether the server has agreed to tell of this channel."""
        watch = self._watches.get(channel)
        return watch is not None and watch.line is not None and channel in watch.line.agreed

    async def aclose(self) -> None:
        """Hang up, and forget who listened."""
        if self._task is not None:
            await ended(self._task)
        self.leave()  # a task that had not begun does nothing at its end
        await self._hang_up()

    def leave(self) -> None:
        """Tell all who listen that they are told no more; the connections are left alone."""
        for watch in self._watches.values():
            watch.end()
        self._watches.clear()

    async def _keep(self) -> None:
        try:
            await asyncio.sleep(BEGIN_AFTER)
            await self._listen()
            await self._hang_up()
        finally:  # its loop ends, or nobody is left
            self.leave()

    async def _listen(self) -> None:
        while True:
            heed_cancellation()
            now = time.monotonic()
            self._drop_unused(now)
            if not self._watches:
                return
            self._woken.clear()
            await self._place(now)
            await self._follow()
            for watch in list(self._watches.values()):
                watch.tell_if_due(now)
            until = min(watch.next_at() for watch in self._watches.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
                    await self._woken.wait()

    def _drop_unused(self, now: float) -> None:
        for channel, watch in list(self._watches.items()):
            if not watch.drop_unused(now):
                del self._watches[channel]
                if watch.line is not None:
                    watch.line.channels.discard(channel)

    async def _place(self, now: float) -> None:
        """Give each channel the line to its server."""
        waiting = {
            channel: watch
            for channel, watch in self._watches.items()
            if watch.line is None and watch.again_at <= now
        }
        if not waiting:
            return
        try:
            if isinstance(self._client, RedisCluster):
                await self._client.initialize()
        except (*PASSING, RedisError) as error:
            self._pause(waiting.values(), error)
            return
        for channel, watch in waiting.items():
            try:
                place, connect = self._server_of(channel)
            except RedisError as error:  # of a cluster that has lost this slot
                self._pause([watch], error)
                continue
            line = self._lines.get(place)
            if line is None:
                line = self._lines[place] = Line(connect(), self)
            line.channels.add(channel)
            watch.line = line

    def _server_of(self, channel: str) -> tuple[str, Callable[[], Any]]:
        """Tell which server a channel belongs to, and what makes a connection to that one."""
        client = self._client
        if not isinstance(client, RedisCluster):
            return "", client.connection_pool.make_connection
        node = client.get_node_from_key(channel)
        assert node is not None  # noqa: S101 - it is asked for the primary
        return node.name, partial(node.connection_class, **node.connection_kwargs)

    async def _follow(self) -> None:
        for place, line in list(self._lines.items()):
            if not line.channels:
                await line.aclose()
                self._lines.pop(place, None)
                continue
            with contextlib.suppress(*PASSING):
                await line.follow()

    async def _hang_up(self) -> None:
        for place, line in list(self._lines.items()):
            await line.aclose()
            self._lines.pop(place, None)

    # --- what lines tell

    def heard(self, channel: str, message: str) -> None:
        """Take a message, and tell it at once or together with what follows."""
        epoch, _, version = message.partition(" ")
        watch = self._watches.get(channel)
        if watch is None or not version.isdecimal():
            return
        watch.news = (epoch, int(version))
        watch.tell_if_due(time.monotonic())
        if watch.news is not None:
            self._woken.set()

    def agreed(self, channel: str) -> None:
        """Have it looked once for what was missed until now."""
        self._failures = 0
        watch = self._watches.get(channel)
        if watch is not None:
            self._catch_up(watch)
            self._woken.set()

    def _catch_up(self, watch: Watch) -> None:
        """Have it looked for what was missed: of many namespaces some at a time, every `GAP`."""
        now = time.monotonic()
        self._caught_up_at = max(self._caught_up_at + CATCH_UP, now)
        ahead = self._caught_up_at - now
        watch.tell_missed(now + math.floor(ahead / GAP) * GAP)

    def refused(self, line: Line, channel: str, error: Exception | None) -> None:
        """Ask for this channel again: where it has moved to, or after a long while."""
        line.channels.discard(channel)
        watch = self._watches.get(channel)
        if watch is not None and watch.line is line:
            self._pause([watch], error)

    def lost(self, line: Line, error: Exception) -> None:
        """Have its channels asked for again, after a pause."""
        self._lines = {place: one for place, one in self._lines.items() if one is not line}
        self._pause([watch for watch in self._watches.values() if watch.line is line], error)

    def _pause(self, watches: Iterable[Watch], error: Exception | None) -> None:
        pause = FIRST_PAUSE if error is None else self._pause_after(error)
        for watch in watches:
            watch.line = None
            watch.again_at = time.monotonic() + pause
            if isinstance(self._client, RedisCluster) and pause < REFUSED_PAUSE:
                # to look is also how the client learns which server has the slot now
                self._catch_up(watch)
        self._woken.set()

    def _pause_after(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            _LOG.debug("commits are not told of, agents look for them: %s", reason_of(error))
        if isinstance(error, _REFUSALS) or not isinstance(error, PASSING):
            return REFUSED_PAUSE
        # not all of its clients at the same time when a server is back
        longest = min(FIRST_PAUSE * 2 ** min(self._failures, 10), MOST_PAUSE)
        return float(longest * random.uniform(0.5, 1.0))
