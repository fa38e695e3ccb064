"""The one way from synchronous code into the async core: an event loop in a background thread."""

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

AT_EXIT = 3.0  # seconds that a program which ends waits for what it has recorded to be sent


class Flushes(Protocol):
    """What may hold something that is to be sent."""

    async def flush(self) -> None:
        """Send it."""
        ...


class _Bridge:
    """Starts its thread at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recorded: weakref.WeakSet[Flushes] = weakref.WeakSet()
        self._is_registered = False
        self._at_exit: ThreadPoolExecutor | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        loop = self._running_loop()
        if asyncio._get_running_loop() is loop:
            coroutine.close()
            raise RuntimeError(
                "a blocking method was called from within the memory's own event loop; await the "
                "async one"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    def soon(self, call: Callable[[], None]) -> None:
        self._running_loop().call_soon_threadsafe(call)

    def flush_at_exit(self, memory: Flushes) -> None:
        """Have what a memory has recorded sent on this loop when the program ends.

        So nothing is lost where somebody forgets to close it.
        """
        if memory in self._recorded:
            return
        self._running_loop()  # its thread, too
        with self._lock:
            self._recorded.add(memory)
            if not self._is_registered:
                self._is_registered = True
                # its thread starts now, for sending needs one: Python 3.12 starts none any more
                # when a program ends
                self._at_exit = ThreadPoolExecutor(1, "ted-memory-at-exit")
                self._at_exit.submit(int)
                # before the pools of threads, which sending needs, are closed; atexit comes after
                # that
                getattr(threading, "_register_atexit", atexit.register)(self.flush_recorded)

    def flush_recorded(self) -> None:
        async def all_of_them() -> None:
            if self._at_exit is not None:
                asyncio.get_running_loop().set_default_executor(self._at_exit)
            await asyncio.gather(
                *(memory.flush() for memory in list(self._recorded)), return_exceptions=True
            )

        loop = self._running_loop()
        with contextlib.suppress(TimeoutError, RuntimeError):
            asyncio.run_coroutine_threadsafe(all_of_them(), loop).result(AT_EXIT)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # a daemon: a program that ends does not wait for us
                threading.Thread(
                    target=self._loop.run_forever, name="ted-memory", daemon=True
                ).start()
            return self._loop


_BRIDGE = _Bridge()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    # threads do not survive a fork, and another one may have held the lock: the child begins anew
    os.register_at_fork(after_in_child=_BRIDGE.__init__)  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the core on the bridge's loop; blocks this thread until it has ended."""
    return _BRIDGE.run(coroutine)


def soon(call: Callable[[], None]) -> None:
    """Have a short call made on the bridge's loop, and go on."""
    _BRIDGE.soon(call)


def flush_at_exit(memory: Flushes) -> None:
    """Have what a memory has recorded sent when the program ends, whichever loop recorded it."""
    _BRIDGE.flush_at_exit(memory)


def flush_recorded() -> None:
    """Send what all memories of this process have recorded; blocks for 3 seconds at most.

    It is done when a program ends. A server that a signal ends never comes to that: call this when
    it shuts down.
    """
    _BRIDGE.flush_recorded()
