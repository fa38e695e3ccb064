"""What the episode log promises where its data are shared, can be damaged, and outlive a day."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from ted_memory.models import Add
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.clock import ServerClock
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.store import RedisStore
from tests.contracts.queue import LONG, Queue, an_episode, runs

pytestmark = pytest.mark.parametrize("backend_url", ["valkey"], indirect=True)


@pytest.fixture
async def client(backend_url: str) -> AsyncIterator["Redis"]:
    """What looks at the keys themselves."""
    async with Redis.from_url(backend_url, decode_responses=True) as opened:
        yield opened


async def test_a_namespace_that_another_process_dropped_is_listed_again(
    queue: Queue, backend_url: str
) -> None:
    await queue.record("a")
    other = RedisStore(Clients(backend_url, None, read_timeout=1.0))
    await other.drop(queue.namespace)
    assert queue.namespace not in await other.episodes.namespaces()
    await queue.record("b", max_episodes=0)
    await queue.record("c", "d")
    assert queue.namespace in await other.episodes.namespaces(), (
        "what nobody finds is not learned from"
    )
    await other.aclose()


async def test_all_that_is_left_of_settled_episodes_is_counters(
    queue: Queue, client: "Redis"
) -> None:
    await queue.record(*(f"r{i}" for i in range(5)), wait=LONG)
    for i in range(5):
        await queue.say(f"r{i}", 1.0)
    a, b, c, d, e = await queue.freeze(5)
    await queue.settle(a, Add(text="New."))
    await queue.return_claim(b, max_deliveries=1)
    await queue.log.drop_dead(queue.namespace, [b.seq])
    for claim in (c, d):
        await queue.return_claim(claim, counts=claim is c)
    for claim in (
        await queue.claim(alone=True),
        await queue.claim(alone=True),
        await queue.claim(),
    ):
        await queue.settle(claim.claims[0], outcome="nothing")
    assert await queue.return_claim(e) == "fenced"
    keys = Keys(queue.namespace)
    assert [key for key in keys.of_traffic if await client.exists(key)] == [keys.traffic]
    assert await client.hget(keys.traffic, "bytes") == "0"


@pytest.mark.parametrize("raw", ["|{", "|{}", '|{"run_id": "b", "input": 1}', "|null"])
async def test_an_episode_that_cannot_be_read_stops_nobody(
    queue: Queue, client: "Redis", raw: str
) -> None:
    await queue.record("b", "c")
    await client.hset(Keys(queue.namespace).episodes, "1", f"30{raw}")
    assert (await queue.traffic()).waiting == 2, "who has a budget looks here first"
    claims = await queue.claim(10)
    assert runs(claims) == ["c"]
    [letter] = await queue.dead_letters()
    assert (letter.seq, letter.run_id, letter.deliveries, letter.episode) == (1, "", 1, None)
    assert "cannot be read" in letter.reason
    await queue.settle(claims.claims[0])
    assert await queue.log.drop_dead(queue.namespace, [1]) == 1
    assert await queue.places() == (0, 0, 0)


@pytest.mark.parametrize("raw", ["{", "null", "[]", '{"score": 2}', '{"comment": 1}'])
async def test_feedback_that_cannot_be_read_stops_nobody(
    queue: Queue, client: "Redis", raw: str
) -> None:
    await queue.record("a", "b")
    await queue.say("a", 1.0)
    await client.hset(Keys(queue.namespace).run("a"), "f1", raw)
    assert runs(await queue.claim(10)) == ["b"]
    [letter] = await queue.dead_letters()
    assert letter.run_id == "a"
    assert "cannot be read" in letter.reason


def _set_the_servers_clock(monkeypatch: pytest.MonkeyPatch, time: datetime) -> None:
    async def now(self: ServerClock, namespace: str) -> datetime:
        return time

    monkeypatch.setattr(ServerClock, "now", now)


async def test_the_hour_before_midnight_belongs_to_the_hour_after_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 5, 2, tzinfo=UTC)

    def at(time: datetime) -> None:
        _set_the_servers_clock(monkeypatch, time)

    at(midnight - timedelta(minutes=70))
    await queue.log.count(queue.namespace, {"hour:22": 100, "n": 1})
    at(midnight - timedelta(minutes=10))
    await queue.log.count(queue.namespace, {"hour:23": 10, "n": 2})
    assert (await queue.traffic()).hour == 110
    at(midnight + timedelta(minutes=10))
    await queue.log.count(queue.namespace, {"hour:00": 1, "n": 4})
    traffic = await queue.traffic()
    assert traffic.hour == 11
    assert traffic.today == {"n": 4}, "a new day"


async def test_a_daily_share_is_there_again_on_the_next_day(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await queue.record("a", "b", rate_limit=1)).limited == 1
    assert await queue.say("a", 1.0, rate_limit=1) == "credited"
    assert await queue.say("a", 0.0, rate_limit=1) == "limited"
    _set_the_servers_clock(monkeypatch, datetime.now(UTC) + timedelta(days=1))
    assert (await queue.record("c", "d", rate_limit=1)).limited == 1
    assert await queue.say("a", 0.0, rate_limit=1) == "corrected"


async def test_fences_go_on_where_the_counter_is_ahead_of_the_clock(
    queue: Queue, client: "Redis"
) -> None:
    far = 2**52
    await client.hset(Keys(queue.namespace).traffic, "fence", str(far))
    await queue.record("a", "b")
    a, b = (await queue.claim(2)).claims
    assert (a.fence, b.fence) == (far + 1, far + 2)
    await queue.settle(a)
    assert await queue.extend_lease(b) == frozenset()
    assert await queue.return_claim(b) == "failed"


async def test_a_run_that_was_told_something_is_not_kept_for_ever(
    queue: Queue, client: "Redis"
) -> None:
    keys = Keys(queue.namespace)
    await queue.lesson()
    await queue.say("early", 1.0)
    await queue.record(an_episode("a", images=("0" * 64,)), images={"0" * 64: b"image"})
    await queue.say("a", 1.0)
    await queue.say("a", 0.0)
    day = 24 * 3600
    for key, days in ((keys.run("early"), 2), (keys.run("a"), 30), (keys.image("0" * 64), 30)):
        assert days * day - 60 < await client.ttl(key) <= days * day
