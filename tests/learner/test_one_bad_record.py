"""A record that nobody can read stops nothing: it is a dead letter, or a fault with a name."""

import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import redis
from pydantic import ValidationError

from ted_memory import Add, open_memory
from ted_memory.episodes import Claim
from ted_memory.errors import CorruptData, InvalidInput
from ted_memory.learner import Learner
from ted_memory.learner.spaces import Spaces
from ted_memory.models import Restore, Usage
from ted_memory.storage.redis import codec, scripts
from ted_memory.storage.redis.keys import WITH_TRAFFIC, Keys
from ted_memory.storage.redis.queue import RedisEpisodeQueue
from ted_memory.testing import in_memory
from tests.conftest import Server
from tests.distill.scripts import student, teacher
from tests.learner.worlds import complain, episode

CHEAP: dict[str, Any] = {"trust": "always", "rollouts": 1, "verify_calls": 0}


@pytest.mark.parametrize("stored", ["", "no episode", "12", "|{}", "12|not JSON"])
async def test_an_episode_that_cannot_be_read_becomes_a_dead_letter(
    valkey: Server, namespace: str, stored: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples"), episode("bananas")])
        keys = Keys(namespace)
        with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
            first = sorted(client.hkeys(keys.episodes), key=int)[0]
            client.hset(keys.episodes, first, stored)
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes["learned"] == 1
        traffic = await memory.store.episodes.traffic(namespace)
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 1)
        [letter] = await memory.store.episodes.dead_letters(namespace, 9)
        assert letter.reason
        assert await memory.store.episodes.drop_dead(namespace, [letter.seq]) == 1


async def test_a_namespace_that_cannot_be_read_keeps_no_other_from_its_turn(
    own_server: Server,
) -> None:
    """It comes first in every order; so does a name that is none."""
    async with open_memory(own_server.url, namespace="b", **CHEAP) as memory:
        broken = memory.for_namespace("a")
        await complain(broken, [episode("apples")])
        await complain(memory, [episode("bananas")])
        await broken.commit([Add(text="One.")], author="me")
        with redis.Redis.from_url(own_server.url) as client:
            client.hset(Keys("a").experiences, "abc", "not a lesson")
            client.sadd(WITH_TRAFFIC, "no namespace!")
        one = Learner(memory, student=student(), teacher=teacher(), namespaces="all")
        report = await one.run(until_empty=True)
        assert report.outcomes["learned"] == 1
        assert len((await memory.load()).active) == 1
        assert "'a'" in report.last_error or "no namespace!" in report.last_error


async def test_steps_are_taken_in_a_namespace_after_a_broken_one(own_server: Server) -> None:
    """Said twice: one of the two is retired when trials are looked at."""
    async with open_memory(own_server.url, namespace="b") as memory:
        broken = memory.for_namespace("a")
        await broken.commit([Add(text="One.")], author="me")
        twice = [Add(text="Two.", state="proposed", sources=(f"principal:{i}",)) for i in range(2)]
        await memory.commit(twice, author="me")
        with redis.Redis.from_url(own_server.url) as client:
            client.hset(Keys("a").experiences, "abc", "not a lesson")
        one = Learner(memory, teacher=teacher(), replay="none", namespaces=("a", "b"))
        report = await one.run(until_empty=True)
        assert len((await memory.load()).proposed) == 1
        assert "'a'" in report.last_error


# --- counters and places


@pytest.mark.parametrize(
    "usage", [{"n_with": -1.0}, {"weight": 1e300}, {"weight": float("inf")}, {"helped": -0.5}]
)
def test_usage_that_no_traffic_can_make_is_refused_at_the_door(usage: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Usage(**usage)


@pytest.mark.parametrize("where", ["in memory", "on a server"])
async def test_counters_stay_within_their_bounds(
    valkey: Server, namespace: str, where: str
) -> None:
    memory = in_memory() if where == "in memory" else open_memory(valkey.url, namespace=namespace)
    async with memory:
        id = (await memory.commit([Add(text="One.")], author="me")).applied[0].id
        for token in ("a", "b"):
            usage = {id: Usage(n_with=1e12, weight=1e12, weighted_difference=-1e12)}
            await memory.credit(usage, token=token)
        await memory.commit([Add(text="Two.")], author="me")
        found = (await memory.load()).usage[id]
        assert (found.n_with, found.weighted_difference) == (1e12, -1e12)
        assert "One." in await memory.render()


@pytest.mark.parametrize("stored", ["inf|-inf", "nan|nan|nan", "-5|1e308", "-1|0|1|0|-100|0|0|0"])
async def test_a_counter_that_is_no_number_hides_no_set(
    valkey: Server, namespace: str, stored: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, selection="budget") as memory:
        id = (await memory.commit([Add(text="One.")], author="me")).applied[0].id
        with redis.Redis.from_url(valkey.url) as client:
            client.hset(Keys(namespace).ranking, id, stored)
        other = open_memory(valkey.url, namespace=namespace, selection="budget", read_timeout=5.0)
        try:
            assert "One." in await other.render()
        finally:
            await other.aclose()


@pytest.mark.parametrize("where", ["in memory", "on a server"])
async def test_a_lesson_at_the_last_place_hides_no_set(
    valkey: Server, namespace: str, where: str
) -> None:
    memory = in_memory() if where == "in memory" else open_memory(valkey.url, namespace=namespace)
    async with memory:
        await memory.commit([Add(text="One.")], author="me")
        last = (await memory.load()).active[0].model_copy(update={"id": "last", "order": 2**52})
        await memory.commit([Restore(experience=last)], author="me")
        await memory.commit([Add(text="Three."), Add(text="Four.")], author="me")
        assert {e.text for e in await memory.load()} == {"One.", "Three.", "Four."}
        assert len(await memory.load()) == 4


# --- controls: each mechanism is switched off, and a test above must find it out


def _without_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    async def readable(
        self: RedisEpisodeQueue, _: Keys, found: Sequence[tuple[int, int, int, str]]
    ) -> list[Claim]:
        return [
            Claim(
                seq=seq,
                fence=fence,
                deliveries=deliveries,
                episode=codec.decode_episode(self._seal.open(raw)),
            )
            for seq, fence, deliveries, raw in found
        ]

    monkeypatch.setattr(RedisEpisodeQueue, "_readable", readable)


def _without_turns_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spaces, "by_itself", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("ted_memory.learner.spaces.NAMESPACE", re.compile(".*"))


def _without_bounds_on_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "math.max(-MOST_USAGE, math.min(MOST_USAGE, value))"
    assert scripts._CREDIT.count(line) == 1
    broken = scripts._CREDIT.replace(line, "value")
    monkeypatch.setattr(scripts, "_CREDIT", broken)
    monkeypatch.setitem(scripts._DIGESTS, broken, hashlib.sha1(broken.encode()).hexdigest())
    _without_bounds_when_read(monkeypatch)


def _without_bounds_when_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_bounded", lambda _, number: number)


FOUND = (AssertionError, CorruptData, InvalidInput)


async def test_without_dead_letters_a_record_that_nobody_can_read_stops_its_namespace(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_dead_letters(monkeypatch)
    with pytest.raises(FOUND):
        await test_an_episode_that_cannot_be_read_becomes_a_dead_letter(
            valkey, namespace, "no episode"
        )


@pytest.mark.parametrize(
    "test",
    [
        test_a_namespace_that_cannot_be_read_keeps_no_other_from_its_turn,
        test_steps_are_taken_in_a_namespace_after_a_broken_one,
    ],
)
async def test_without_turns_of_their_own_a_broken_namespace_stops_the_others(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, test: Callable[[Server], Awaitable[None]]
) -> None:
    _without_turns_of_their_own(monkeypatch)
    with pytest.raises(FOUND):
        await test(own_server)


async def test_without_bounds_counters_leave_them(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_bounds_on_the_server(monkeypatch)
    with pytest.raises(FOUND):
        await test_counters_stay_within_their_bounds(valkey, namespace, "on a server")


@pytest.mark.parametrize("stored", ["inf|-inf", "nan|nan|nan", "-5|1e308"])
async def test_without_bounds_when_read_a_counter_hides_its_set(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    _without_bounds_when_read(monkeypatch)
    with pytest.raises(FOUND):
        await test_a_counter_that_is_no_number_hides_no_set(valkey, namespace, stored)
