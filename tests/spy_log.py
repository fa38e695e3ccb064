"""An episode log in this process that tells what it was sent, and fails when a test wants it to."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ted_memory import TedMemory
from ted_memory.episodes import Episode, Feedback, Recorded
from ted_memory.errors import StoreUnavailable
from ted_memory.protocols import RecordLimits
from ted_memory.testing import in_memory
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from ted_memory.testing.oracle.store import InMemoryStore


class SpyLog(InMemoryEpisodeQueue):
    """``away``: calls that find nobody; ``lost``: calls whose answer is lost; both count down."""

    def __init__(self, store: InMemoryStore) -> None:
        super().__init__(store._held, store._count)
        self.asked = 0
        self.batches: list[tuple[str, ...]] = []
        self.away = self.lost = 0
        # seconds that a call takes, before it has an effect and after it
        self.before = self.after = 0.0

    async def record(
        self,
        namespace: str,
        episodes: Sequence[Episode],
        images: Mapping[str, bytes],
        limits: RecordLimits,
    ) -> tuple[Recorded, tuple[str, ...]]:
        self.asked += 1
        await asyncio.sleep(self.before)
        self._maybe_away()
        answer = await super().record(namespace, episodes, images, limits)
        self.batches.append(tuple(episode.run_id for episode in episodes))
        await asyncio.sleep(self.after)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the answer is lost")
        return answer

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        self._maybe_away()
        return await super().told(namespace, run_ids)

    def _maybe_away(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("nobody is there")


def spied(namespace: str = "test", **settings: Any) -> tuple[TedMemory, SpyLog]:
    """Return a memory over such a log, and the log."""
    store = InMemoryStore()
    store.episodes = log = SpyLog(store)
    return in_memory(namespace=namespace, store=store, **settings), log


def taken_in(memory: TedMemory) -> list[Episode]:
    """Return the episodes that an in-memory store holds, oldest first."""
    assert isinstance(memory.store, InMemoryStore)
    return list(memory.store.episodes._queue(memory.namespace).episodes.values())


async def recorded(memory: TedMemory) -> list[Episode]:
    """The episodes of an in-memory store, with those of runs that did not come to their end."""
    await memory.recorder.flush(all=True)
    return taken_in(memory)
