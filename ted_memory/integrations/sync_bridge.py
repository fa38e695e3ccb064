"""The one way from synchronous code into the async core: one event loop in one background thread."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Bridge:
    """Starts its thread at first use, and again in a forked child, where threads do not survive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._running_loop()).result()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                # a daemon: a program that ends does not wait for us
                threading.Thread(target=self._loop.run_forever, name="ted-memory", daemon=True).start()
            return self._loop


_BRIDGE = _Bridge()
# a fork while another thread holds the lock would leave it locked in the child
os.register_at_fork(after_in_child=_BRIDGE.__init__)  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the core on the bridge's loop and return its result; blocks the calling thread."""
    return _BRIDGE.run(coroutine)
