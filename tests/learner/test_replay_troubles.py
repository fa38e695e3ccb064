"""Replays while a store, provider, episode or learner is away: nothing is lost or doubled."""

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pytest
import redis
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.errors import StoreUnavailable
from ted_memory.grading.judge import Judge
from ted_memory.learner import Learner, replay
from ted_memory.learner.replay import Replayer
from ted_memory.protocols import Pair, PairVerdict
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.queue import RedisEpisodeQueue
from ted_memory.testing import ScriptedChatModel, wait_until
from tests.conftest import Server
from tests.distill.scripts import CODES, SlowChatModel, follows, prompt_of, student
from tests.learner.replaying import Away, at_work, check_once, slow, until_pairs
from tests.learner.worlds import (
    PEOPLE,
    archive,
    archived,
    propose,
    replayed,
    says_nothing,
    shown,
    sums,
)

GUESS = "guess"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.learner.beside.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("ted_memory.learner.beside.LONGEST_PAUSE", 0.1)


# --- several learners


async def test_one_learner_replays_at_a_time(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive(memory, "apples")

    async def both(id: str) -> list[SlowChatModel]:
        models = [slow(0.02), slow(0.02)]
        async with at_work(memory, models[0]), at_work(memory, models[1]):
            await until_pairs(memory, id, len(PEOPLE))
        return models

    [id] = await propose(memory, "apples", says=GUESS)
    await check_once(memory, id, len(PEOPLE), *await both(id))

    # the control: without the lease they ask for the same pairs, and yet none is counted twice
    async def held(self: Replayer, seconds: float) -> bool:
        return True

    monkeypatch.setattr(Replayer, "_hold", held)
    [other] = await propose(memory, "apples", says="ask a friend")
    models = await both(other)
    assert sum(len(model.asked) for model in models) > 4 * len(PEOPLE)
    assert (await sums(memory, other)).pairs == len(PEOPLE)


async def test_another_learner_takes_over_when_one_is_gone_and_not_before(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SECONDS", 0.4)
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    hanging, second = slow(60), slow(0)
    first = Learner(memory, student=hanging, teacher=says_nothing())
    running = asyncio.create_task(first.run())
    await wait_until(lambda: len(hanging.asked) + hanging.gauge["now"] > 0, what="replays")
    async with at_work(memory, second):
        await asyncio.sleep(1.2)  # three leases
        assert second.asked == [], "a slow model is no reason to ask for the same pairs"
        # as when it is killed
        monkeypatch.setattr(Replayer, "release_lease", lambda _: asyncio.sleep(0))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until_pairs(memory, id, len(PEOPLE))
    await check_once(memory, id, len(PEOPLE), second)


async def test_a_lease_that_is_not_held_longer_is_found_out(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(replay, "SECONDS", 0.2)
    monkeypatch.setattr(Replayer, "_held", lambda _: contextlib.nullcontext())
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    hanging, second = slow(60), slow(0)
    async with at_work(memory, hanging) as first:
        await wait_until(lambda: hanging.gauge["now"] > 0, what="replays")
        async with at_work(memory, second):
            await until_pairs(memory, id, len(PEOPLE))
        first.stop()


async def test_a_learner_that_is_stopped_lets_go_at_once(memory: TedMemory) -> None:
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    hanging = slow(60)
    async with at_work(memory, hanging):
        await wait_until(lambda: hanging.gauge["now"] > 0, what="replays")
    held = await memory.store.hold(memory.namespace, replay.LEASE, "somebody else", 0.01)
    assert held, "its lease would go on for seconds"
    await asyncio.sleep(0.05)
    model = slow(0)
    await replayed(memory, model)
    await check_once(memory, id, len(PEOPLE), model)


async def test_a_learner_whose_provider_is_away_leaves_the_replays_to_another(
    memory: TedMemory,
) -> None:
    def is_away(_: list[BaseMessage]) -> str:
        raise Away(401)

    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    async with at_work(memory, student(is_away)) as first:
        await wait_until(lambda: bool(first.report.refused), timeout=60, what="a refusal")
        async with at_work(memory, slow(0)):
            await until_pairs(memory, id, len(PEOPLE))
        assert "401" in first.report.last_error
    today = (await memory.store.episodes.traffic(memory.namespace)).today
    assert today["replay_calls"] == 4 * len(PEOPLE), (
        "what is refused takes nothing of the day's calls"
    )


# --- the store


@pytest.mark.parametrize("when", ["before", "after"])
async def test_answers_that_were_paid_for_are_counted_when_the_store_is_back(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real, lost = RedisEpisodeQueue.replayed, Counter[int]()

    async def broken(self: RedisEpisodeQueue, namespace: str, pair: Pair) -> PairVerdict:
        lost[pair.seq] += 1
        if lost[pair.seq] > 2:
            return await real(self, namespace, pair)
        if when == "after":
            await real(self, namespace, pair)
        raise StoreUnavailable("the reply is lost")

    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    model = slow(0)
    with monkeypatch.context() as patch:
        patch.setattr(RedisEpisodeQueue, "replayed", broken)
        async with at_work(memory, model) as learner:
            await until_pairs(memory, id, len(PEOPLE))
            assert "the reply is lost" in learner.report.last_error
    await check_once(memory, id, len(PEOPLE), model)
    assert (await memory.store.episodes.traffic(memory.namespace)).today["replay_calls"] == 4 * len(
        PEOPLE
    )


async def test_answers_that_are_not_kept_would_be_paid_for_again(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    real, lost = RedisEpisodeQueue.replayed, Counter[int]()

    async def broken(self: RedisEpisodeQueue, namespace: str, pair: Pair) -> PairVerdict:
        lost[pair.seq] += 1
        if lost[pair.seq] > 1:
            return await real(self, namespace, pair)
        raise StoreUnavailable("the reply is lost")

    monkeypatch.setattr(RedisEpisodeQueue, "replayed", broken)

    async def send_nothing(self: Replayer) -> None:
        await self._allowance.pay()

    monkeypatch.setattr(Replayer, "_send_all", send_nothing)
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    model = slow(0)
    async with at_work(memory, model):
        await until_pairs(memory, id, len(PEOPLE))
    with pytest.raises(AssertionError, match="answers for 12 pairs"):
        await check_once(memory, id, len(PEOPLE), model)


async def test_what_was_spent_is_counted_when_the_store_is_back(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, told = RedisEpisodeQueue.count, list[str]()

    async def broken(self: RedisEpisodeQueue, namespace: str, counters: Any) -> None:
        told.append(" ".join(counters))
        if len(told) <= 2:
            raise StoreUnavailable("away")
        await real(self, namespace, counters)

    monkeypatch.setattr(RedisEpisodeQueue, "count", broken)
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    async with at_work(memory, slow(0)):
        await until_pairs(memory, id, len(PEOPLE))
    today = (await memory.store.episodes.traffic(memory.namespace)).today
    assert (today["replay_calls"], today["student_calls"]) == (48, 48)
    assert len(told) > 4, "the control: it was away"


# --- a provider


async def test_a_provider_that_is_away_costs_no_pair_and_counts_none_twice(
    memory: TedMemory,
) -> None:
    down = True

    def often_away(messages: list[BaseMessage]) -> str:
        if down:
            raise Away()
        return follows(messages)

    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    model = student(often_away)
    async with at_work(memory, model) as learner:
        await wait_until(
            lambda: "status 503" in learner.report.last_error, timeout=60, what="an outage"
        )
        assert (await sums(memory, id)).pairs == 0
        assert "replays got no answer" in learner.report.last_error
        down = False
        # as if a minute had passed
        learner._beside.spaces.of(memory.namespace).replayer.reach.reload()
        await until_pairs(memory, id, len(PEOPLE))
    assert len((await shown(memory, id)).done) == len(PEOPLE)


async def test_a_learner_that_is_to_end_ends_although_nothing_gets_an_answer(
    memory: TedMemory,
) -> None:
    def is_away(_: list[BaseMessage]) -> str:
        raise Away()

    await archive(memory, "apples")
    await propose(memory, "apples", says=GUESS)
    learner = await replayed(memory, student(is_away))
    assert learner.report.replayed == 0
    assert "status 503" in learner.report.last_error


async def test_a_refusal_is_told_and_over_when_replays_work_again(memory: TedMemory) -> None:
    refused = True

    def picky(messages: list[BaseMessage]) -> str:
        if refused:
            raise Away(401)
        return follows(messages)

    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    async with at_work(memory, student(picky)) as learner:
        await wait_until(lambda: "student" in learner.report.refused, timeout=60, what="a refusal")
        refused = False
        await until_pairs(memory, id, len(PEOPLE))
        await wait_until(lambda: not learner.report.refused, what="the end of the refusal")


@pytest.mark.parametrize("trouble", [TimeoutError("too slow"), ValueError("cannot read this")])
async def test_an_episode_with_a_trouble_of_its_own_does_not_hold_up_the_others(
    memory: TedMemory, trouble: Exception
) -> None:
    def stumbles(messages: list[BaseMessage]) -> str:
        if "code of figs" in prompt_of(messages):
            raise trouble
        return "no idea"

    await archive(memory, "apples", PEOPLE[:6])
    await archive(memory, "figs", ["anna"])  # the newest, which is asked for first
    [id] = await propose(memory, "apples or figs", says=GUESS)
    model = student(stumbles)
    await replayed(memory, model)
    assert len((await shown(memory, id)).done) == 6
    assert sum("code of figs" in prompt_of(prompt) for prompt in model.asked) <= 4 * 3, (
        "it is not asked for again and again"
    )


async def test_a_stopped_learner_does_not_wait_for_replays_at_its_end(memory: TedMemory) -> None:
    await archive(memory, "apples")
    await propose(memory, "apples", says=GUESS)
    hanging = slow(600)
    learner = Learner(memory, student=hanging, teacher=says_nothing())
    running = asyncio.create_task(learner.run(until_empty=True))
    await wait_until(lambda: hanging.gauge["now"] > 0, what="replays")
    learner.stop()
    await asyncio.wait_for(running, 60)
    assert learner.report.replayed == 0


# --- an episode that is gone


async def test_an_episode_that_is_gone_is_asked_for_once_and_not_again_and_again(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, real = list[int](), RedisEpisodeQueue.archived

    async def late(self: RedisEpisodeQueue, namespace: str, after: int = 0) -> Any:
        """Read the archive just before half of it is taken out."""
        found = await real(self, namespace, after)
        await self.forget_archived(namespace, gone)
        return found

    monkeypatch.setattr(RedisEpisodeQueue, "archived", late)

    async def asked(says: str, answers: int) -> int:
        """Let a learner replay until there were so many answers; return how many there are."""
        await archive(memory, "apples", PEOPLE[:6])
        gone[:] = [one.seq for one in (await archived(memory))[-6:]]
        [id] = await propose(memory, "apples", says=says)
        model = slow(0.01)
        async with at_work(memory, model) as learner:
            await wait_until(lambda: len(model.asked) >= answers, timeout=60, what="answers")
            await asyncio.sleep(0.5)
            assert learner.report.replayed == (await sums(memory, id)).pairs
        return len(model.asked)

    await archive(memory, "apples", PEOPLE[:6])
    assert await asked(GUESS, 4 * 12) == 4 * 12
    # the control: what is not dropped is asked for without an end
    monkeypatch.setattr(Replayer, "_drop_what_is_gone", lambda *_: None)
    assert await asked("ask a friend", 4 * 12) > 4 * 12


# --- what it costs


async def test_a_judges_calls_count_as_the_teachers(memory: TedMemory) -> None:
    def grades(messages: list[BaseMessage]) -> str:
        right = float(prompt_of(messages).count(CODES["apples"]) > 1)
        return f'{{"reason": "as it is", "score": {right}}}'

    await archive(memory, "apples", PEOPLE[:3])
    [id] = await propose(memory, "apples")
    before = (await memory.store.episodes.traffic(memory.namespace)).today["teacher_calls"]
    model = ScriptedChatModel(script=grades)
    await replayed(memory, grader=Judge(model))
    today = (await memory.store.episodes.traffic(memory.namespace)).today
    assert (today["replay_calls"], today["teacher_calls"] - before) == (12, 12)
    assert len(model.asked) == 12
    assert (await sums(memory, id)).score_with == 3


async def test_feedback_that_cannot_be_read_keeps_no_other_episode_from_its_replay(
    memory: TedMemory, valkey: Server
) -> None:
    """What was said of the runs of a round is read at once, and one record of it is damaged."""
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says=GUESS)
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        damaged = client.keys(Keys(memory.namespace).run("*"))[0]
        client.hset(damaged, "f1", "no feedback")
    async with at_work(memory, slow(0)):
        await until_pairs(memory, id, len(PEOPLE) - 1)
    assert (await sums(memory, id)).pairs == len(PEOPLE) - 1
