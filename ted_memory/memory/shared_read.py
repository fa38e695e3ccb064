"""One read for all that ask for it at the same time."""

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Following(Generic[T]):
    """The read that begins when the one under way has ended, and how many wait for it."""

    task: asyncio.Task[T]
    waiting: int = 0


@dataclass
class _Turns(Generic[T]):
    """Whose turn it is on one event loop."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    following: _Following[T] | None = None

    def forget(self, task: asyncio.Task[T]) -> None:
        """Let nobody wait for this read any more."""
        if self.following is not None and self.following.task is task:
            self.following = None


class SharedRead(Generic[T]):
    """Reads once for all who ask while another read is under way.

    They share the next one, since the one under way may have begun before what they want to see. A
    read for which nobody waits any more is cancelled.

    Args:
        read: reads, and may raise: then all who wait are told.
    """

    def __init__(self, read: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._read = read
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns[T]]
        self._turns = weakref.WeakKeyDictionary()

    async def __call__(self) -> T:
        """Read, or wait for the read that others have asked for."""
        loop = asyncio.get_running_loop()
        turns = self._turns.get(loop) or self._begin_on(loop)
        if turns.following is None and not turns.lock.locked():  # nobody to share it with
            async with turns.lock:
                return await self._read()
        following = turns.following
        if following is None:
            # an empty context: the caller's tracing and streaming are not those of the others
            task = loop.create_task(self._in_turn(turns), context=contextvars.Context())
            following = turns.following = _Following(task)
            task.add_done_callback(turns.forget)
        following.waiting += 1
        try:
            return await asyncio.shield(following.task)
        except asyncio.CancelledError:
            if following.task.cancelled() and not _is_being_cancelled():
                return await self()  # somebody has cancelled the read, and not who waits for it
            raise
        finally:
            following.waiting -= 1
            if not following.waiting and not following.task.done():
                turns.forget(following.task)
                await _cancelled(following.task)

    def _begin_on(self, loop: asyncio.AbstractEventLoop) -> _Turns[T]:
        # a loop that was closed in the middle of a read is held by the task of that read
        for closed in [one for one in list(self._turns) if one.is_closed()]:
            self._turns.pop(closed, None)
        return self._turns.setdefault(loop, _Turns())

    async def _in_turn(self, turns: _Turns[T]) -> T:
        async with turns.lock:
            turns.following = None
            return await self._read()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and wait until it has let go of what it holds."""
    task.cancel()
    await asyncio.wait({task})
