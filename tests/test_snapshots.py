"""The cached snapshot keeps the store off an agent's path, however slow the store is."""

import asyncio
import contextvars
import time
from dataclasses import dataclass, field, replace

import pytest

from ted_memory.errors import StoreUnavailable
from ted_memory.memory import cache as snapshots
from ted_memory.memory.cache import Snapshots
from ted_memory.models import Caps, ExperienceSet
from ted_memory.testing import wait_until

CAPS = Caps(max_experiences=50, token_budget=2000)
EMPTY = ExperienceSet("n", "", 0, CAPS)
PATIENCE = 0.05
MUCH = 2.0
"""Seconds; a generous bound on anything that waits for `PATIENCE`."""


def at(version: int, epoch: str = "e") -> ExperienceSet:
    return ExperienceSet("n", epoch, version, CAPS)


@dataclass
class Store:
    """What it answers, after how long; or that it fails."""

    answer: ExperienceSet = field(default_factory=lambda: at(1))
    delay: float = 0.0
    failing: str = ""
    asked: list[ExperienceSet | None] = field(default_factory=list)

    async def read(self, known: ExperienceSet | None) -> ExperienceSet:
        self.asked.append(known)
        answer = self.answer
        await asyncio.sleep(self.delay)
        if self.failing:
            raise StoreUnavailable(self.failing)
        return answer


@pytest.fixture
def store() -> Store:
    return Store()


def over(store: Store, *, refresh: float = 60.0, patience: float = PATIENCE) -> Snapshots:
    return Snapshots(store.read, EMPTY, refresh=refresh, patience=patience)


def grown_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every snapshot counts as one of an agent that was idle."""
    monkeypatch.setattr(snapshots, "IDLE", -1.0)


# --- the first call


async def test_the_first_call_waits_for_the_store(store: Store) -> None:
    cache = over(store, patience=MUCH)
    store.delay = 0.02
    assert await cache.get() == at(1)
    assert store.asked == [None]
    health = cache.health()
    assert (health.reads, health.stale_reads, health.failed_reads, health.version) == (1, 0, 0, 1)


async def test_the_first_call_waits_no_longer_than_it_may(store: Store) -> None:
    cache = over(store)
    store.delay = 60
    began = time.monotonic()
    assert await cache.get() is EMPTY
    assert time.monotonic() - began < MUCH
    health = cache.health()
    assert (health.stale_reads, health.version, health.age) == (1, None, None)
    await cache.aclose()


async def test_calls_that_come_together_ask_the_store_once(store: Store) -> None:
    cache = over(store, patience=MUCH)
    store.delay = 0.02
    assert set(map(id, await asyncio.gather(*(cache.get() for _ in range(50))))) == {
        id(store.answer)
    }
    assert len(store.asked) == 1
    assert cache.health().reads == 50


# --- later calls


async def test_a_young_snapshot_is_served_without_asking(store: Store) -> None:
    cache = over(store)
    cache.offer(at(1))
    for _ in range(10):
        await cache.get()
    assert store.asked == []


async def test_an_older_one_is_served_at_once_and_looked_at_beside_the_call(store: Store) -> None:
    cache = over(store, refresh=0.0, patience=60)
    held = at(1)
    cache.offer(held)
    store.answer, store.delay = at(2), 0.05
    assert await cache.get() is held, "nobody waits for it"
    await wait_until(lambda: cache.held is store.answer)
    assert store.asked[0] is held, "the store is told what is held"
    assert cache.health().stale_reads == 0


async def test_after_an_idle_time_a_call_waits_for_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = over(store, refresh=0.0, patience=MUCH)
    cache.offer(at(1))
    monkeypatch.setattr(snapshots, "IDLE", 0.3)
    store.answer = at(2)
    await asyncio.sleep(0.31)
    assert await cache.get() is store.answer
    assert cache.health().stale_reads == 0


async def test_the_refresh_knows_nothing_of_who_caused_it(store: Store) -> None:
    tracing = contextvars.ContextVar("tracing", default="none")
    seen = []

    async def read(known: ExperienceSet | None) -> ExperienceSet:
        seen.append(tracing.get())
        return at(1)

    tracing.set("of the caller")
    await Snapshots(read, EMPTY, refresh=60, patience=MUCH).get()
    assert seen == ["none"]


# --- failures


async def test_a_failing_store_is_counted_and_what_is_held_is_served(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = over(store, refresh=0.0, patience=60)
    cache.offer(at(3))
    grown_old(monkeypatch)
    store.failing = "gone"
    began = time.monotonic()
    assert (await cache.get()).version == 3
    assert time.monotonic() - began < MUCH, "a failure ends the waiting"
    health = cache.health()
    assert (health.reads, health.failed_reads, health.stale_reads, health.last_error) == (
        1,
        1,
        1,
        "gone",
    )
    assert health.version == 3


async def test_after_a_failure_the_next_call_tries_again(store: Store) -> None:
    cache = over(store, patience=MUCH)
    store.failing = "gone"
    assert await cache.get() is EMPTY
    store.failing = ""
    assert await cache.get() is store.answer


# --- keep


async def test_a_read_that_was_overtaken_does_not_bring_an_older_version_back(store: Store) -> None:
    cache = over(store)
    new = at(5)
    cache.offer(new)
    cache.offer(at(4), began=0.0)
    cache.offer(at(9, epoch="before"), began=0.0)
    assert await cache.get() is new


async def test_a_store_that_went_back_is_followed_and_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    cache = over(store, refresh=0.0, patience=MUCH)
    kinds = []
    for answer in (at(5), at(3), at(3), at(8, epoch="other"), EMPTY, at(1)):
        store.answer = answer
        await cache.get()
        await wait_until(lambda: cache.held is store.answer)
        reset = cache.health().last_reset
        kinds.append((cache.health().resets, reset and reset.kind))
    assert kinds == [
        (0, None),
        (1, "restored"),
        (1, "restored"),
        (2, "replaced"),
        (3, "lost"),
        (3, "lost"),
    ]
    assert [record.message.count("MemoryReset") for record in caplog.records] == [1, 1, 1]
    assert "version 5 is now version 3" in caplog.records[0].message


async def test_the_same_version_by_another_way_is_a_restored_one(store: Store) -> None:
    cache = over(store, refresh=0.0, patience=MUCH)
    for stamp in ("one", "other"):
        store.answer = replace(at(5), stamp=stamp)
        await cache.get()
        await wait_until(lambda: cache.held is store.answer)
    assert cache.health().last_reset is not None


# --- the breaker


async def test_after_some_failures_nobody_waits_and_the_first_answer_closes_the_breaker(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PROBE_EVERY", 0.0)
    monkeypatch.setattr(snapshots, "GIVE_UP", 0.1)
    cache = over(store, patience=0.01)
    store.delay = 60.0
    for _ in range(snapshots.BREAK_AFTER):
        await cache.get()
        await wait_until(lambda: all(task.done() for task in cache._tasks.values()))
    assert cache.health().breaker == "open"
    for _ in range(20):
        before = asyncio.get_running_loop().time()
        await cache.get()
        assert asyncio.get_running_loop().time() - before < 1.0
    store.delay = 0.0
    await wait_until(lambda: all(task.done() for task in cache._tasks.values()))
    await cache.get()
    await wait_until(lambda: cache.health().breaker == "closed")
    assert await cache.get() is store.answer


async def test_a_broken_store_is_not_asked_more_often_than_it_may(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PROBE_EVERY", 60.0)
    cache = over(store)
    store.failing = "gone"
    for _ in range(30):
        await cache.get()
        await asyncio.sleep(0)
    assert len(store.asked) == snapshots.BREAK_AFTER
    assert cache.health().stale_reads == 30


async def test_a_set_of_another_epoch_is_taken_whatever_its_version(store: Store) -> None:
    cache = over(store)
    cache.offer(at(5))
    restored = at(2, epoch="other")
    cache.offer(restored)
    assert await cache.get() is restored


# --- need


async def test_who_committed_waits_for_that_version(store: Store) -> None:
    cache = over(store, patience=MUCH)
    cache.offer(at(1))
    store.answer = at(2)
    cache.require_version(2)
    assert await cache.get() is store.answer
    assert len(store.asked) == 1
    await cache.get()
    assert len(store.asked) == 1, "and then no more"


async def test_a_refresh_that_began_before_the_commit_is_followed_by_another(store: Store) -> None:
    cache = over(store, refresh=0.0, patience=MUCH)
    cache.offer(at(1))
    store.delay = 0.03
    await cache.get()  # begins a refresh, which will find version 1
    await asyncio.sleep(0.01)
    store.answer = at(2)
    cache.require_version(2)
    assert await cache.get() is store.answer
    assert len(store.asked) == 2


async def test_a_version_that_the_store_has_lost_is_waited_for_once(store: Store) -> None:
    cache = over(store)
    cache.offer(at(1))
    cache.require_version(9)
    began = time.monotonic()
    assert (await cache.get()).version == 1
    assert time.monotonic() - began >= PATIENCE * 0.9
    assert cache.health().stale_reads == 1
    asked = len(store.asked)
    await cache.get()
    assert len(store.asked) == asked
    assert cache.health().stale_reads == 1


# --- ending, and other loops


async def test_closing_ends_a_refresh_that_is_under_way(store: Store) -> None:
    cache = over(store)
    store.delay = 60
    await cache.get()
    waited_in_vain = cache.health().failed_reads
    await cache.aclose()
    await cache.aclose()
    assert cache.health().failed_reads == waited_in_vain == 1


def test_a_cache_serves_one_event_loop_after_the_other(store: Store) -> None:
    cache = over(store)
    store.delay = 60

    async def hang() -> ExperienceSet:
        return await cache.get()

    assert asyncio.run(hang()) is EMPTY
    store.delay = 0
    assert asyncio.run(hang()) is store.answer


async def test_an_error_of_any_kind_is_counted_and_never_reaches_the_agent() -> None:
    asked: list[int] = []

    async def broken(_: ExperienceSet | None) -> ExperienceSet:
        asked.append(1)
        raise ZeroDivisionError("not one of ours")

    cache = Snapshots(broken, EMPTY, refresh=1.0, patience=PATIENCE)
    assert await cache.get() is EMPTY
    assert (cache.health().failed_reads, cache.health().last_error) == (1, "not one of ours")
    assert len(asked) == 1, "it is not asked again and again while the agent waits"
