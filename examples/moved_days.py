"""A server whose clock a program moves on: days of traffic come in hours (by Debian's faketime)."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bench.measuring import server
from ted_memory import TedMemory, open_memory
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
    """Opens a memory for one day after the other, on a server that has come to that day.

    All that the server counts by the day then counts as it would in service: the calls that
    replays may make, how much each user's word may weigh.
    """

    def __init__(self, url: str, clock: Path, namespace: str, settings: dict[str, Any]) -> None:
        self._url, self._clock = url, clock
        self._namespace, self._settings = namespace, settings
        self._began = datetime.now(UTC)

    @asynccontextmanager
    async def open(self, day: int) -> AsyncIterator[TedMemory]:
        """Open the memory on the day of that number, the first is 0; it is closed at the end."""
        self._clock.write_text(f"+{day * DAY}\n", encoding="ascii")
        await self._has_come(self._began + timedelta(seconds=day * DAY))
        # opened anew: a memory asks for the time once and keeps the answer for some minutes
        async with open_memory(self._url, namespace=self._namespace, **self._settings) as memory:
            yield memory

    async def _has_come(self, then: datetime) -> None:
        """Wait until the server tells that time: it looks at its file now and then."""
        async with Redis.from_url(self._url) as client:

            async def has_come() -> bool:
                return (await client.time())[0] >= int(then.timestamp())

            await wait_until(has_come, timeout=PATIENCE, what=f"the server's {then:%d %B}")


@asynccontextmanager
async def moved_days(namespace: str, settings: dict[str, Any]) -> AsyncIterator[MovedDays]:
    """Start a server whose clock can be moved; it ends with all that is in it.

    The embedded server would not do: its supervisor could not sleep by that clock.

    Raises:
        RuntimeError: libfaketime is not installed.
    """
    library = find_library()
    if library is None:
        raise RuntimeError(NEEDS_FAKETIME)
    with tempfile.TemporaryDirectory(prefix="ted-days-") as folder:
        clock = Path(folder) / "clock"
        clock.write_text("+0\n", encoding="ascii")
        async with server(faked(library, clock)) as url:
            yield MovedDays(url, clock, namespace, settings)
