"""What goes wrong while traffic is soaked, and what memory the processes hold meanwhile."""

import asyncio
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

PAUSE = 200  # milliseconds for which the server answers nobody
GROWN = 16_000_000  # bytes: of 30 minutes at 200 episodes a second, 90 bytes of each episode


@asynccontextmanager
async def faults(client: "Redis", every: float) -> AsyncIterator[Counter[str]]:
    """Drop all connections but this one every so many seconds, and each third time pause."""
    counts: Counter[str] = Counter()

    async def strike() -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(every)
            if turn % 3 == 0:
                await client.execute_command("CLIENT", "PAUSE", PAUSE, "ALL")
                counts["pauses"] += 1
                continue
            for kind in ("normal", "pubsub"):
                gone = await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                counts["dropped connections"] += gone

    striking = asyncio.create_task(strike())
    try:
        yield counts
    finally:
        striking.cancel()
        await asyncio.gather(striking, return_exceptions=True)


class Resident:
    """What each process of a soak holds (bytes), as it goes on; by the name of what it does."""

    def __init__(self) -> None:
        self.held: dict[str, list[int]] = defaultdict(list)

    @asynccontextmanager
    async def watched(
        self, processes: Callable[[], Iterable[tuple[str, int]]], every: float
    ) -> AsyncIterator[None]:
        """Look every so many seconds; ``processes``: their names and numbers, beside our own."""

        async def look() -> None:
            while True:
                for name, pid in (("agents", os.getpid()), *processes()):
                    self.held[name].append(resident(pid))
                await asyncio.sleep(every)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def grown(self) -> dict[str, int]:
        """Return by how much each grew from the second quarter of its time to the last.

        In the first it has still to load what it works with. One that was hardly there says
        nothing.
        """
        quarters = {name: len(held) // 4 for name, held in self.held.items()}
        return {
            name: middle(self.held[name][-each:]) - middle(self.held[name][each : 2 * each])
            for name, each in quarters.items()
            if each
        }


def check_flat(watched: Resident) -> None:
    """No process holds more at the end of the traffic than when it had begun."""
    grown = {name: more for name, more in watched.grown().items() if more > GROWN}
    assert not grown, f"processes that grew: {grown}"


def resident(pid: int) -> int:
    """Return the bytes that a process holds; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def middle(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]
