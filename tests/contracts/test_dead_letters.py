"""Dead letters have bounds of their own, and take nothing of what may wait."""

import asyncio
import json

import pytest

from ted_memory.episodes import Retention
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from tests.contracts.queue import Queue, an_episode, on_a_server


def keep(queue: Queue, kept: Retention) -> Queue:
    """Return the queue of a store that keeps so much."""
    if isinstance(queue.log, InMemoryEpisodeQueue):
        queue.log._kept = kept
        return queue
    assert isinstance(queue.store, RedisStore)
    return Queue(RedisStore(queue.store._clients, kept=kept), queue.writer)


async def test_a_queue_full_of_dead_letters_goes_on_taking_in(queue: Queue) -> None:
    await queue.kill("a", "b", "c")
    room = (await queue.traffic()).bytes // 3
    assert (await queue.record("d", "e", "f", max_episodes=2)).recorded == 2
    assert (await queue.record("g", max_episodes=9, max_bytes=3 * room)).recorded == 1
    assert (await queue.record("h", max_episodes=9, max_bytes=3 * room)).dropped == 1


async def test_one_that_is_put_back_takes_its_place_again(queue: Queue) -> None:
    [a, b] = await queue.kill("a", "b")
    size = (await queue.traffic()).bytes // 2
    await queue.log.retry_dead(queue.namespace, [a])
    await queue.log.drop_dead(queue.namespace, [b])
    assert (await queue.record("c", max_episodes=1)).dropped == 1
    assert (await queue.record("d", max_bytes=2 * size - 1)).dropped == 1
    assert (await queue.record("e", max_bytes=2 * size)).recorded == 1


async def test_the_oldest_dead_letters_make_room_for_later_ones(queue: Queue) -> None:
    few = keep(queue, Retention(max_dead=3))
    await few.kill(*"abcde")
    assert [letter.run_id for letter in await few.dead_letters()] == ["e", "d", "c"]
    traffic = await few.traffic()
    assert (traffic.dead, traffic.counts["dead"]) == (3, 5)
    assert traffic.bytes == 3 * len(an_episode("a").model_dump_json(exclude_defaults=True).encode())


@pytest.mark.parametrize("days", [30.0, 0.0])
async def test_dead_letters_age(queue: Queue, days: float) -> None:
    old = keep(queue, Retention(dead_days=days))
    await old.kill("a", "b")
    await old.record("c")
    assert [letter.run_id for letter in await old.dead_letters()] == (["b", "a"] if days else [])


async def test_one_that_was_buried_late_ages_before_older_ones_that_were_not(queue: Queue) -> None:
    await queue.record("a", "b")
    late, early = (await queue.claim(2)).claims
    await queue.return_claim(early, max_deliveries=1)
    await asyncio.sleep(0.05)
    short = keep(queue, Retention(dead_days=0.03 / 86400))
    await short.return_claim(late, max_deliveries=1)
    assert [letter.run_id for letter in await short.dead_letters()] == ["a"]


@on_a_server
async def test_letters_that_an_older_package_buried_make_no_count_negative(queue: Queue) -> None:
    seqs = await queue.kill("a", "b", "c")
    client = queue.store._clients.get().commit  # type: ignore[attr-defined]
    keys = Keys(queue.namespace)
    for seq in seqs:
        letter = json.loads(await client.hget(keys.dead, seq))
        await client.hset(
            keys.dead, seq, json.dumps({k: v for k, v in letter.items() if k != "counted"})
        )
    await client.hdel(keys.traffic, "dead_now", "dead_bytes")
    await queue.log.drop_dead(queue.namespace, seqs)
    size = len(an_episode("d").model_dump_json(exclude_defaults=True).encode())
    assert (await queue.record("d", max_episodes=1, max_bytes=size)).recorded == 1


@on_a_server
@pytest.mark.parametrize("raw", ["{", "null", "[]", "7", '{"at": "soon"}'])
async def test_a_damaged_letter_stops_nobody_and_is_the_first_to_go(queue: Queue, raw: str) -> None:
    [seq] = await queue.kill("a")
    client = queue.store._clients.get().commit  # type: ignore[attr-defined]
    keys = Keys(queue.namespace)
    await client.hset(keys.dead, seq, raw)
    await client.hdel(keys.traffic, "looked_at")
    await queue.record("b", "c")
    first, second = (await queue.claim(2)).claims
    assert await client.hlen(keys.dead) == 0
    assert await queue.return_claim(first, max_deliveries=1) == "dead"
    await client.hset(keys.dead, first.seq, raw)
    assert await queue.return_claim(second, max_deliveries=1) == "dead"
    assert [letter.run_id for letter in await queue.dead_letters()] == ["c"]


async def test_where_nothing_fails_any_more_they_age_too(queue: Queue) -> None:
    """Whoever claims looks at them once an hour."""
    await queue.kill("a")
    later = keep(queue, Retention(dead_days=0.0))
    if isinstance(queue.log, InMemoryEpisodeQueue):
        queue.log._queue(queue.namespace).looked_at = 0.0
    else:
        client = queue.store._clients.get().commit  # type: ignore[attr-defined]
        await client.hdel(f"ted:{{{queue.namespace}}}:traffic", "looked_at")
    await later.record("b")
    assert (await later.claim_one()).episode.run_id == "b"
    assert await later.dead_letters() == ()


@on_a_server
async def test_what_a_run_leaves_that_was_refused_or_never_came_goes_soon(queue: Queue) -> None:
    client = queue.store._clients.get().commit  # type: ignore[attr-defined]
    await queue.record(
        "taken",
        an_episode("refused", principal="x"),
        an_episode("more", principal="x"),
        rate_limit=1,
    )
    await queue.say("never", 1.0, principal="somebody")
    days = {
        run: await client.ttl(f"ted:{{{queue.namespace}}}:run:{run}") / 86400
        for run in ("taken", "more", "never")
    }
    assert days == {
        "taken": pytest.approx(30, abs=0.1),
        "more": pytest.approx(2, abs=0.1),
        "never": pytest.approx(2, abs=0.1),
    }
    await queue.record("never")
    await queue.say("never", 0.0, principal="somebody")
    assert await client.ttl(f"ted:{{{queue.namespace}}}:run:never") / 86400 == pytest.approx(
        30, abs=0.1
    )
