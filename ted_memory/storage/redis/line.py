"""One connection to one server, on which it tells of commits as they are made."""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

QUIET = 15.0  # seconds without a word, after which the server is asked whether it is still there


class Hears(Protocol):
    """Who is told what comes over a line."""

    def heard(self, channel: str, message: str) -> None:
        """Take a message."""
        ...

    def agreed(self, channel: str) -> None:
        """Hear that the server tells of this channel from now on."""
        ...

    def refused(self, line: "Line", channel: str, error: Exception | None) -> None:
        """Hear that it does not; without an error: not any more, since the slot has moved."""
        ...

    def lost(self, line: "Line", error: Exception) -> None:
        """Hear that the line has ended by itself."""
        ...


class Line:
    """Listens to channels of one server, in a task of its own.

    It is written by hand and not with redis-py's ``PubSub``, which cannot listen to a shard's
    channels in every version of redis-py that we work with, and hides what a server refuses.
    """

    def __init__(self, connection: Any, owner: Hears) -> None:
        self.channels: set[str] = set()
        """What is to be listened to; `follow` brings it about."""
        self.agreed: set[str] = set()
        self._connection = connection
        self._owner = owner
        self._asked: set[str] = set()
        self._unanswered: deque[str] = deque()
        self._is_up = False
        self._is_asked_for_life = False
        self._task = in_background(self._listen())

    async def follow(self) -> None:
        """Ask for the channels that are missing, and for no more of those that are not wanted.

        Raises:
            RedisError: the connection is broken; `Hears.lost` follows.
        """
        if not self._is_up:
            return
        missing, unwanted = self.channels - self._asked, self._asked - self.channels
        self._asked |= missing
        self._asked -= unwanted
        self.agreed -= unwanted
        self._unanswered.extend(missing)
        # a command each: a server answers for a whole command when it refuses one channel of it
        asked: list[Sequence[str]] = [("SSUBSCRIBE", channel) for channel in missing]
        await self._send([*asked, *(("SUNSUBSCRIBE", channel) for channel in unwanted)])

    async def aclose(self) -> None:
        """Hang up."""
        await ended(self._task)

    async def _send(self, commands: Sequence[Sequence[str]]) -> None:
        if commands:
            packed = self._connection.pack_commands(commands)
            await self._connection.send_packed_command(packed, check_health=False)

    async def _listen(self) -> None:
        try:
            await self._connection.connect()
            self._is_up = True
            await self.follow()
            while True:
                heed_cancellation()
                await self._hear()
                await asyncio.sleep(0)  # also where many replies came at once
        except asyncio.CancelledError:
            await self._hang_up()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was: agents find commits by looking
            await self._hang_up()
            self._owner.lost(self, error)

    async def _hang_up(self) -> None:
        self._is_up = False
        self.agreed.clear()
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    async def _hear(self) -> None:
        try:
            # As bytes: what cannot be decoded is no reason to hang up. `_listen` hangs up by
            # itself; redis-py would need the event loop, which may be gone when this is collected.
            reply = await self._connection.read_response(
                disable_decoding=True, timeout=QUIET, push_request=True, disconnect_on_error=False
            )
        except ResponseError as error:
            self._is_asked_for_life = False
            if self._unanswered:
                channel = self._unanswered.popleft()
                self._asked.discard(channel)
                self._owner.refused(self, channel, error)
            return
        if reply is None:  # nothing came
            if self._is_asked_for_life:
                raise RedisConnectionError("the server is silent")
            self._is_asked_for_life = True
            await self._send([("PING",)])
            return
        self._is_asked_for_life = False
        if isinstance(reply, list) and len(reply) == 3:
            self._take(_text(reply[0]), _text(reply[1]), _text(reply[2]))

    def _take(self, kind: str, channel: str, content: str) -> None:
        if kind == "smessage":
            self._owner.heard(channel, content)
        elif kind == "ssubscribe":
            if self._unanswered:
                self._unanswered.popleft()
            self.agreed.add(channel)
            self._owner.agreed(channel)
        elif kind == "sunsubscribe" and channel in self._asked:
            self._asked.discard(channel)
            self.agreed.discard(channel)
            self._owner.refused(self, channel, None)


def _text(part: Any) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)


def in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin a task that nobody waits for, and that may end with its loop without a word."""
    # an empty context: the tracing and streaming of whoever began it are not its business
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


def heed_cancellation() -> None:
    """End the running task if a cancellation was swallowed, as in `clients.cancellable`.

    Whoever ends an event loop cancels its tasks once, and waits for them: a task that goes on
    forever would keep the program from ending.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has let go of what it holds."""
    while not task.done():
        # again: on Python 3.11 a cancellation that comes just as redis-py has sent is swallowed
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
