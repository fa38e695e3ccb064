"""Episodes that wait or are archived are forgotten after days, counted from their recording."""

import pytest

from ted_memory.episodes import Retention
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from tests.contracts.evidence import archive, archived_runs
from tests.contracts.queue import Queue, on_a_server, runs
from tests.contracts.test_dead_letters import keep

KEPT = Retention(episode_days=3, archive_days=5)


async def pass_days(queue: Queue, days: int) -> None:
    """Make all that was recorded so many days older; the next claim looks for what is too old."""
    if isinstance(queue.log, InMemoryEpisodeQueue):
        held = queue.log._queue(queue.namespace)
        held.days = {day - days: last for day, last in held.days.items()}
        held.looked_at = 0.0
        return
    client, name = queue.store._clients.get().commit, Keys(queue.namespace).traffic  # type: ignore[attr-defined]
    marks = [mark.split(":") for mark in (await client.hget(name, "days") or "").split()]
    if marks:
        await client.hset(
            name, "days", " ".join(f"{int(day) - days}:{last}" for day, last in marks)
        )
    await client.hdel(name, "looked_at")


async def look(queue: Queue) -> None:
    """Do what any learner does, without taking anything."""
    await queue.claim(count=0)


async def test_an_episode_waits_for_days_and_no_longer(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await kept.record("old", "older")
    await pass_days(kept, 2)
    await kept.record("new")
    await pass_days(kept, 1)
    await look(kept)
    assert (await kept.traffic()).waiting == 3
    await pass_days(kept, 1)
    assert runs(await kept.claim(count=9)) == ["new"]
    traffic = await kept.traffic()
    assert (traffic.waiting, traffic.counts["expired"], traffic.counts["recorded"]) == (0, 2, 3)


async def test_what_somebody_spoke_of_ages_alike(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await kept.record("told")
    await kept.say("told", 0.0)
    await pass_days(kept, 4)
    assert runs(await kept.claim(count=9)) == []


async def test_when_nothing_came_since_all_is_old(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await kept.record("a", "b")
    await pass_days(kept, 40)
    await look(kept)
    traffic = await kept.traffic()
    assert (traffic.waiting, traffic.bytes) == (0, 0)


async def test_a_claimed_one_is_learned_from_all_the_same(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await kept.record("begun")
    claim = await kept.claim_one()
    await pass_days(kept, 9)
    await look(kept)
    assert await kept.return_claim(claim) == "failed"
    assert (await kept.traffic()).claimed == 1


async def test_the_archive_ages_by_the_day_of_the_recording(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await archive(kept, "a", "b")
    await pass_days(kept, 3)
    await archive(kept, "c")
    await pass_days(kept, 2)
    await look(kept)
    assert await archived_runs(kept) == ["a", "b", "c"]
    await pass_days(kept, 1)
    await look(kept)
    assert await archived_runs(kept) == ["c"]


async def test_its_bytes_are_free_again(queue: Queue) -> None:
    kept = keep(queue, KEPT)
    await archive(kept, "a", "b")
    size = sum(
        len(one.model_dump_json(exclude_defaults=True))
        for one in await kept.log.archived(kept.namespace)
    )
    await pass_days(kept, 6)
    await look(kept)
    await archive(kept, "c", "d", max_archive_bytes=size)
    assert await archived_runs(kept) == ["c", "d"]


async def test_days_are_looked_at_once_an_hour(queue: Queue) -> None:
    kept = keep(queue, Retention(episode_days=365))
    await kept.record("a")
    await look(kept)
    short = keep(queue, Retention(episode_days=0))
    await look(short)
    assert (await short.traffic()).waiting == 1


@on_a_server
async def test_what_an_older_package_took_in_counts_as_of_the_first_day_that_is_known(
    queue: Queue,
) -> None:
    kept = keep(queue, KEPT)
    client, name = queue.store._clients.get().commit, Keys(queue.namespace).traffic  # type: ignore[attr-defined]
    await kept.record("before")
    await client.hdel(name, "days")
    await look(kept)
    await kept.record("after")
    await pass_days(kept, 3)
    await look(kept)
    assert (await kept.traffic()).waiting == 2
    await pass_days(kept, 1)
    await kept.record("new")
    await look(kept)
    assert (await kept.traffic()).waiting == 1


@on_a_server
@pytest.mark.parametrize("known", [1, 400, 900])
async def test_days_that_are_written_down_are_bounded(queue: Queue, known: int) -> None:
    client, name = queue.store._clients.get().commit, Keys(queue.namespace).traffic  # type: ignore[attr-defined]
    await queue.record("a")
    await client.hset(
        name, "days", " ".join(f"{day}:{day}" for day in range(10_000, 10_000 + known))
    )
    await queue.record("b")
    await queue.record("c")
    days = (await client.hget(name, "days")).split()
    assert len(days) == min(known + 1, 400)
    assert days[-1].endswith(":1")
