"""Allowances and budgets of a day are those of the server's day, whatever a client's clock says."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.protocols import RecordLimits
from ted_memory.storage.redis import clock, scripts
from ted_memory.storage.redis.keys import Keys
from tests.conftest import Server

LIMITS = RecordLimits(max_episodes=100, max_bytes=10**6, rate_limit=1)


@pytest.fixture
async def memory(valkey: Server, namespace: str) -> AsyncIterator[TedMemory]:
    async with open_memory(valkey.url, namespace=namespace) as opened:
        yield opened


async def limited(memory: TedMemory, run_id: str) -> int:
    done, _ = await memory.store.episodes.record(
        memory.namespace, [Episode(run_id=run_id, principal="anna")], {}, LIMITS
    )
    return done.limited


async def test_the_servers_day_names_the_counters(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = datetime(2031, 5, 6, 23, 59, 58, tzinfo=UTC).timestamp()
    asked = 0

    async def now(client: object, keys: Keys) -> int:
        nonlocal asked
        asked += 1
        return int(told)

    monkeypatch.setattr(scripts, "now", now)
    await limited(memory, "a")
    await memory.store.episodes.count(memory.namespace, {"learned": 1})
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    keys = Keys(memory.namespace)
    assert await client.exists(keys.rate("2031-05-06"), keys.spend("2031-05-06")) == 2
    assert asked == 1

    steady = time.monotonic
    monkeypatch.setattr(clock.time, "monotonic", lambda: steady() + 3)
    assert await limited(memory, "b") == 0, "a new day has begun, by what has passed since"
    assert asked == 1
    monkeypatch.setattr(clock.time, "monotonic", lambda: steady() + clock.ASKED_EVERY + 1)
    assert await limited(memory, "c") == 1, "it was asked again, and it is the same day still"
    assert asked == 2


async def test_the_server_is_asked_itself(memory: TedMemory) -> None:
    client = memory.store._clients.get().commit  # type: ignore[attr-defined]
    assert abs(await scripts.now(client, Keys(memory.namespace)) - (await client.time())[0]) <= 1
