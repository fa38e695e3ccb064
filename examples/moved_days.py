"""A server whose clock a program moves on: days of traffic come in hours (by Debian's faketime)."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis as Server
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ted_memory import TedMemory, open_memory
from ted_memory.storage.embedded.server import EmbeddedServer
from ted_memory.testing import wait_until

NEEDS_FAKETIME = "days that pass in hours need a clock that can be moved: install Debian's faketime"
DAY = 24 * 3600  # seconds
PATIENCE = 60.0  # seconds until a server tells the time that its file says


def find_library() -> Path | None:
    """Return libfaketime for programs with threads, None where it is not installed."""
    command = shutil.which("faketime")
    if command is None:
        return None
    found = sorted((Path(command).parents[1] / "lib").glob("**/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


def faked(library: Path, file: Path) -> dict[str, str]:
    """Return the environment of a server whose clock is ahead by what the file says (``+3600``)."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class MovedDays:
    """Opens a memory for one day after the other, on an embedded server that has come to that day.

    All that the server counts by the day then counts as it would in service: the calls that
    replays may make, how much each user's word may weigh.
    """

    def __init__(self, home: Path, clock: Path, namespace: str, settings: dict[str, Any]) -> None:
        self._home, self._clock = home, clock
        self._namespace, self._settings = namespace, settings
        self._began = datetime.now(UTC)

    @asynccontextmanager
    async def open(self, day: int) -> AsyncIterator[TedMemory]:
        """Open the memory on the day of that number, the first is 0; it is closed at the end."""
        self._clock.write_text(f"+{day * DAY}\n", encoding="ascii")
        async with self._memory():  # it starts the server
            await self._has_come(self._began + timedelta(seconds=day * DAY))
        # opened anew: a memory asks for the time once and keeps the answer for some minutes
        async with self._memory() as memory:
            yield memory

    async def _has_come(self, then: datetime) -> None:
        """Wait until the server tells that time: it looks at its file now and then."""
        async with Redis(unix_socket_path=EmbeddedServer(self._home).socket_path) as client:

            async def has_come() -> bool:
                return (await client.time())[0] >= int(then.timestamp())

            await wait_until(has_come, timeout=PATIENCE, what=f"the server's {then:%d %B}")

    def _memory(self) -> TedMemory:
        return open_memory(home=str(self._home), namespace=self._namespace, **self._settings)


@contextmanager
def moved_days(home: Path, namespace: str, settings: dict[str, Any]) -> Iterator[MovedDays]:
    """Have servers that this process starts take their time from a file in ``home``.

    Raises:
        RuntimeError: libfaketime is not installed.
    """
    library = find_library()
    if library is None:
        raise RuntimeError(NEEDS_FAKETIME)
    clock = home / "clock"
    clock.write_text("+0\n", encoding="ascii")
    before = {name: os.environ.get(name) for name in faked(library, clock)}
    os.environ.update(faked(library, clock))
    try:
        yield MovedDays(home / "memory", clock, namespace, settings)
    finally:
        # by its moved clock it would not find out in time that nobody needs it any more
        with contextlib.suppress(RedisError):
            Server(unix_socket_path=EmbeddedServer(home / "memory").socket_path).shutdown(save=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
