"""Learners of these tests do not wait for long."""

import pytest

from ted_memory.protocols import Pair, PairVerdict
from ted_memory.storage.redis.queue import RedisEpisodeQueue


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.learner.learner.RETRY_AFTER", 0.01)
    monkeypatch.setattr("ted_memory.learner.learner.POLL", 0.02)
    monkeypatch.setattr("ted_memory.learner.beside.TICK", 0.05)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """The pairs that are counted, as they come."""
    pairs: list[Pair] = []
    real = RedisEpisodeQueue.replayed

    async def noted(self: RedisEpisodeQueue, namespace: str, pair: Pair) -> PairVerdict:
        verdict = await real(self, namespace, pair)
        if verdict == "counted":
            pairs.append(pair)
        return verdict

    monkeypatch.setattr(RedisEpisodeQueue, "replayed", noted)
    return pairs
