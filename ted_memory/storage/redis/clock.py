"""The server's day: whose clock is wrong, or set on purpose, gets no allowance of another date."""

import time
from datetime import UTC, datetime, timedelta

from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import WithRetries

ASKED_EVERY = 600.0  # seconds; between, this process's steady clock tells what has passed


class ServerClock:
    """Tells the time of a server."""

    def __init__(self, with_retries: WithRetries) -> None:
        self._with_retries = with_retries
        self._told: tuple[datetime, float] | None = None
        """What the server said, and when, by `time.monotonic`."""

    async def now(self, namespace: str) -> datetime:
        """Tell the time (UTC). The server is asked now and then, by a script on this namespace."""
        if self._told is None or time.monotonic() - self._told[1] > ASKED_EVERY:
            seconds = await self._with_retries(lambda client: scripts.now(client, Keys(namespace)))
            self._told = datetime.fromtimestamp(seconds, UTC), time.monotonic()
        then, at = self._told
        return then + timedelta(seconds=time.monotonic() - at)

    async def today(self, namespace: str, ago: timedelta = timedelta(0)) -> str:
        """Tell the day (UTC) in which something is counted."""
        return f"{await self.now(namespace) - ago:%Y-%m-%d}"
