"""A snapshot that is told of commits: it looks at once, and believes nothing but what it reads."""

import asyncio
from dataclasses import dataclass, field

import pytest

from ted_memory import Add
from ted_memory.errors import StoreUnavailable
from ted_memory.memory import cache as snapshots
from ted_memory.memory.cache import Snapshots
from ted_memory.models import Caps, ExperienceSet
from ted_memory.testing import in_memory, wait_until
from ted_memory.testing.oracle.store import InMemoryFeed, InMemoryStore

CAPS = Caps(max_experiences=50, token_budget=2000)
EMPTY = ExperienceSet("n", "", 0, CAPS)


def at(version: int, epoch: str = "e") -> ExperienceSet:
    return ExperienceSet("n", epoch, version, CAPS)


@dataclass
class Store:
    """What it answers, once it may; or that it is away."""

    answer: ExperienceSet = field(default_factory=lambda: at(1))
    is_away: bool = False
    asked: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def read(self, known: ExperienceSet | None) -> ExperienceSet:
        self.asked += 1
        answer = self.answer
        await self.may_answer.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        return answer


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def feed() -> InMemoryFeed:
    return InMemoryFeed()


async def begun(store: Store, feed: InMemoryFeed, *, refresh: float = 600.0) -> Snapshots:
    """Give a cache that an agent has used, and that looks by itself after ten minutes."""
    cache = Snapshots(store.read, EMPTY, refresh=refresh, patience=5.0, feed=feed)
    assert await cache.get() == at(1)
    assert store.asked == 1
    return cache


async def settled(cache: Snapshots) -> None:
    """Wait until no look is under way."""
    await asyncio.sleep(0)
    await wait_until(lambda: all(task.done() for task in cache._tasks.values()))
    await asyncio.sleep(0)


async def test_a_commit_that_is_told_of_is_there_before_the_next_call(
    store: Store, feed: InMemoryFeed
) -> None:
    cache = await begun(store, feed)
    store.answer = at(2)
    feed.tell("e", 2)
    await wait_until(lambda: cache.held == at(2))
    assert cache.health().reads == 1, "no call was needed"
    assert cache.health().pushed


async def test_without_a_feed_it_is_not(store: Store, feed: InMemoryFeed) -> None:
    """The control of all that follows: nobody is told, and the next look is ten minutes away."""
    cache = Snapshots(store.read, EMPTY, refresh=600.0, patience=5.0)
    await cache.get()
    store.answer = at(2)
    feed.tell("e", 2)
    await settled(cache)
    assert (await cache.get(), store.asked) == (at(1), 1)
    assert not cache.health().pushed


@pytest.mark.parametrize("version", [0, 1])
async def test_what_is_here_already_is_passed_over(
    store: Store, feed: InMemoryFeed, version: int
) -> None:
    cache = await begun(store, feed)
    feed.tell("e", version)
    await settled(cache)
    assert store.asked == 1
    feed.tell("e", 2)  # the control: a newer one is not
    await settled(cache)
    assert store.asked == 2


async def test_a_set_that_was_dropped_and_made_again_is_looked_at(
    store: Store, feed: InMemoryFeed
) -> None:
    cache = await begun(store, feed)
    store.answer = at(5)
    feed.tell("e", 5)
    await wait_until(lambda: cache.held == at(5))
    store.answer = at(1, epoch="another")
    feed.tell("another", 1)
    await wait_until(lambda: cache.held == at(1, epoch="another"))
    last = cache.health().last_reset
    assert last is not None and last.kind == "replaced"


async def test_nobody_can_push_what_is_not_in_the_store(store: Store, feed: InMemoryFeed) -> None:
    cache = await begun(store, feed)
    feed.tell("e", 10**9)
    feed.tell("forged", 7)
    await settled(cache)
    assert await cache.get() == at(1)
    assert store.asked <= 3, "each is looked for once, and then no more"
    assert cache.health().resets == 0


async def test_a_look_that_began_before_the_commit_is_followed_by_another(
    store: Store, feed: InMemoryFeed
) -> None:
    cache = await begun(store, feed, refresh=0.0)
    store.may_answer.clear()
    await cache.get()  # begins a look, which will find version 1
    await wait_until(lambda: store.asked == 2)
    store.answer = at(2)
    feed.tell("e", 2)
    store.may_answer.set()
    await wait_until(lambda: cache.held == at(2))
    assert store.asked == 3


async def test_a_burst_while_a_look_is_under_way_makes_one_more(
    store: Store, feed: InMemoryFeed
) -> None:
    cache = await begun(store, feed)
    store.may_answer.clear()
    for version in range(2, 50):
        store.answer = at(version)
        feed.tell("e", version)
    await wait_until(lambda: store.asked == 2)
    store.may_answer.set()
    await settled(cache)
    await wait_until(lambda: cache.held == at(49))
    assert store.asked <= 3


async def test_a_store_that_is_away_is_not_asked_more_often_for_being_told(
    store: Store, feed: InMemoryFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PROBE_EVERY", 600.0)
    cache = await begun(store, feed)
    store.is_away = True
    for version in range(2, 30):
        feed.tell("e", version)
        await settled(cache)
    assert cache.health().breaker == "open"
    assert store.asked == 1 + snapshots.BREAK_AFTER
    assert await cache.get() == at(1), "an agent goes on with what there is"


async def test_a_closed_cache_does_not_look_after_a_look_that_was_stopped(
    store: Store, feed: InMemoryFeed
) -> None:
    cache = await begun(store, feed)
    store.may_answer.clear()
    store.answer = at(2)
    feed.tell("e", 2)
    feed.tell("e", 3)
    await wait_until(lambda: store.asked == 2)
    await cache.aclose()
    await settled(cache)
    assert store.asked == 2


async def test_who_is_told_no_more_asks_again_at_the_next_call(
    store: Store, feed: InMemoryFeed
) -> None:
    """Also where looks are ten minutes apart."""
    cache = await begun(store, feed)
    assert cache.is_in_use() is False, "nobody has asked since it began to listen"
    await cache.get()
    assert cache.is_in_use() is True
    assert cache.is_in_use() is False
    cache._feed = other = InMemoryFeed()
    cache.unwatched()
    store.answer = at(2)
    other.tell("e", 2)
    assert await cache.get() == at(1), "it did not listen"
    assert store.asked == 1, "to listen is no reason to look"
    other.tell("", 0)  # as a feed says that something may have been missed
    await wait_until(lambda: cache.held == at(2))


async def test_a_memory_shows_what_another_one_has_committed() -> None:
    store = InMemoryStore()
    reader, writer = (in_memory(store=store, refresh=600.0) for _ in range(2))
    unaware = in_memory(store=store, refresh=600.0, push=False)
    await writer.commit([Add(text="One.")], author="me")
    for memory in (reader, unaware):
        assert "One." in await memory.render()
    await writer.commit([Add(text="Two.")], author="me")
    await wait_until(lambda: reader.health().version == 2)
    assert "Two." in await reader.render()
    assert "Two." not in await unaware.render(), "the control: the setting switches it off"
    assert not unaware.health().pushed
