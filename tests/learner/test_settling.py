"""A settlement that fails costs a bounded number of calls, and all of them are counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Traffic
from ted_memory.errors import NotDurable, StoreError, StoreUnavailable
from ted_memory.learner import Learner, learner
from ted_memory.models import Commit
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.queue import RedisEpisodeQueue
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing import wait_until
from tests.conftest import Server
from tests.distill.scripts import calls_of, student, teacher
from tests.learner.worlds import complain, episode

CHEAP: dict[str, Any] = {"trust": "always", "rollouts": 1, "verify_calls": 0, "max_deliveries": 3}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(learner, "LONGEST_PAUSE", 0.2)


@contextlib.asynccontextmanager
async def at_work(one: Learner) -> AsyncIterator[None]:
    running = asyncio.create_task(one.run())
    try:
        yield
    finally:
        one.stop()
        await running


async def _traffic(memory: TedMemory) -> Traffic:
    return await memory.store.episodes.traffic(memory.namespace)


async def _spent(memory: TedMemory) -> int:
    today = (await _traffic(memory)).today
    return int(today["student_calls"] + today["teacher_calls"])


async def test_an_episode_that_cannot_be_settled_becomes_a_dead_letter(
    valkey: Server, namespace: str
) -> None:
    """A key has the wrong type: no try will ever work."""
    asked, answering = teacher(), student()
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        with redis.Redis.from_url(valkey.url) as client:
            client.set(Keys(namespace).log, "not a list")
        report = await Learner(memory, student=answering, teacher=asked).run(until_empty=True)
        traffic = await _traffic(memory)
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 1)
        assert report.outcomes == {"failed": 2, "dead": 1}
        assert calls_of(asked, "critic") == 3, "one for each delivery"
        assert await _spent(memory) == len(asked.asked) + len(answering.asked)
        [letter] = await memory.store.episodes.dead_letters(namespace, 9)
        assert "WRONGTYPE" in letter.reason


async def test_were_each_failure_free_it_would_be_paid_for_without_end(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing that fails counts as a delivery."""
    asked, real = teacher(), RedisEpisodeQueue.return_claim

    async def return_claim(self: RedisEpisodeQueue, *args: Any, **given: Any) -> Any:
        return await real(self, *args, **{**given, "counts": False})

    monkeypatch.setattr(RedisEpisodeQueue, "return_claim", return_claim)
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        with redis.Redis.from_url(valkey.url) as client:
            client.set(Keys(namespace).log, "not a list")
        async with at_work(Learner(memory, student=student(), teacher=asked)):
            await wait_until(
                lambda: calls_of(asked, "critic") > 6, timeout=30, what="twice as many deliveries"
            )
        assert (await _traffic(memory)).dead == 0


async def test_a_learner_whose_settlements_fail_pauses(
    monkeypatch: pytest.MonkeyPatch, valkey: Server, namespace: str
) -> None:
    monkeypatch.setattr(learner, "FIRST_PAUSE", 60.0)
    asked = teacher()
    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=1, **CHEAP) as memory:
        await complain(memory, [episode(thing) for thing in ("apples", "bananas", "cherries")])
        with redis.Redis.from_url(valkey.url) as client:
            client.set(Keys(namespace).log, "not a list")
        one = Learner(memory, student=student(), teacher=asked)
        async with at_work(one):
            await wait_until(lambda: bool(one.report.outcomes), what="a failure")
            await asyncio.sleep(0.3)
        assert calls_of(asked, "critic") == 1


async def test_without_a_pause_others_would_be_paid_for_meanwhile(
    monkeypatch: pytest.MonkeyPatch, valkey: Server, namespace: str
) -> None:
    """The control."""
    monkeypatch.setattr(Learner, "_must_pause", lambda _: False)
    with pytest.raises(AssertionError):
        await test_a_learner_whose_settlements_fail_pauses(monkeypatch, valkey, namespace)


async def test_without_the_proof_it_would_be_paid_for(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test below."""

    async def prove(*_: Any, **__: Any) -> None:
        pass

    asked = teacher()
    monkeypatch.setattr("tests.learner.test_settling.teacher", lambda: asked)
    monkeypatch.setattr(RedisStore, "prove", prove)
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        await test_what_the_settings_ask_for_is_proved_before_anything_is_paid_for(
            valkey, namespace
        )
    assert asked.asked


async def test_what_the_settings_ask_for_is_proved_before_anything_is_paid_for(
    valkey: Server, namespace: str
) -> None:
    """This server writes no append-only file: no disk will ever confirm a commit."""
    asked, answering = teacher(), student()
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
    careful = TedMemory(
        RedisStore(memory.store._clients, durable="fsync"), memory.settings, namespace
    )
    try:
        with pytest.raises(StoreError, match="cannot give durability=fsync"):
            await Learner(careful, student=answering, teacher=asked).run(until_empty=True)
        assert asked.asked == answering.asked == []
        assert (await _traffic(careful)).waiting == 1
    finally:
        await careful.aclose()


async def test_a_store_that_goes_away_is_free_and_what_was_spent_is_counted_later(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answering = teacher(), student()
    real, away = RedisStore.commit, [True] * 5

    async def commit(self: RedisStore, *args: Any) -> Commit:
        if away and away.pop():
            raise StoreUnavailable("the server is away")
        return await real(self, *args)

    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        monkeypatch.setattr(RedisStore, "commit", commit)
        report = await Learner(memory, student=answering, teacher=asked).run(until_empty=True)
        assert report.outcomes == {"released": 5, "learned": 1}, (
            "more often than an episode is delivered"
        )
        assert await _spent(memory) == len(asked.asked) + len(answering.asked)


async def test_what_is_settled_and_not_yet_durable_is_settled(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answering, real = teacher(), student(), RedisStore.commit

    async def commit(self: RedisStore, *args: Any) -> Commit:
        raise NotDurable("no replica has confirmed it", await real(self, *args))

    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        monkeypatch.setattr(RedisStore, "commit", commit)
        report = await Learner(memory, student=answering, teacher=asked).run(until_empty=True)
        assert report.outcomes == {"settled": 1}
        assert "no replica" in report.last_error
        assert await _spent(memory) == len(asked.asked) + len(answering.asked)
        assert (await _traffic(memory)).waiting == 0
