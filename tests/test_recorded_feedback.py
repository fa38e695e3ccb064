"""What is said of a run is credited once to what it had seen, whichever of the two comes first."""

import asyncio
from typing import Any

import pytest

from ted_memory import Add, TedMemory, open_memory
from ted_memory.episodes import Episode, Feedback
from ted_memory.errors import StoreUnavailable
from ted_memory.integrations.live_run import is_sampled
from ted_memory.learner import Learner
from ted_memory.models import Message, SetState, Trial
from ted_memory.storage.redis.queue import RedisEpisodeQueue
from ted_memory.testing import in_memory, wait_until
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server
from tests.learner.worlds import says_nothing
from tests.spy_log import spied, taken_in


async def seen(memory: TedMemory) -> str:
    """Commit a lesson; return its id."""
    return (await memory.commit([Add(text="Be brief.")], author="me")).applied[0].id


async def outcomes(memory: TedMemory, id: str) -> tuple[float, float]:
    usage = (await memory.usage()).get(id)
    return (usage.n_with, usage.successes_with) if usage else (0.0, 0.0)


async def test_feedback_on_a_run_that_is_still_in_the_buffer_is_credited() -> None:
    memory, log = spied()
    id = await seen(memory)
    await memory.record(Episode(run_id="r", seen=(id,)))
    assert not log.batches
    assert await memory.give_feedback("r", score=1.0) == "credited"
    assert await outcomes(memory, id) == (1, 1)
    await memory.aclose()


async def test_a_score_that_came_before_its_run_is_the_word_of_whoever_gave_it() -> None:
    """Not that of the users whose runs they were: one account would speak for all of them."""
    memory, _ = spied()
    [id] = [
        a.id
        for a in (
            await memory.commit([Add(text="Be brief.", state="proposed")], author="me")
        ).applied
    ]
    await memory.commit([SetState(id=id, state="trial", trial=Trial(bet=0.4))], author="me")
    version = (await memory.load()).version
    for when in ("early", "late"):
        for i in range(4):
            run = Episode(run_id=f"{when}-{i}", principal=f"user-{i}", seen=(id,), version=version)
            if when == "late":
                await memory.record(run)
                await memory.flush()
            await memory.give_feedback(run.run_id, score=1.0, principal="mallory", reviewer=True)
            if when == "early":
                await memory.record(run)
                await memory.flush()
        known = await memory.store.episodes.evidence(memory.namespace, [id])
        assert len(known[id].evidence.voices) == 1
        assert known[id].evidence.total.outcomes == (4 if when == "early" else 8)
    await memory.aclose()


async def test_without_sending_the_run_first_its_feedback_would_find_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the test above."""

    async def nothing(self: Any, run_id: str) -> None: ...

    monkeypatch.setattr("ted_memory.capture.recorder.Recorder._send_first", nothing)
    memory, _ = spied()
    await memory.record(Episode(run_id="r"))
    assert await memory.give_feedback("r", score=1.0) == "unknown"
    await memory.aclose()


async def test_feedback_on_a_run_that_is_just_being_sent_is_credited() -> None:
    memory, log = spied()
    log.before = 0.1
    await memory.record(Episode(run_id="r"))
    await wait_until(lambda: log.asked == 1)
    assert await memory.give_feedback("r", score=1.0) == "credited"
    assert log.batches == [("r",)]
    await memory.aclose()


async def test_feedback_sends_one_run_and_leaves_those_that_may_still_be_tried_again() -> None:
    memory, _ = spied()
    for name in ("failed", "another"):
        memory.recorder.hold(name, lambda name=name: (Episode(run_id=name, error="x"), {}), 5.0)  # type: ignore[misc]
    memory.recorder.hold("under-way", lambda: (Episode(run_id="under-way"), {}))
    assert await memory.give_feedback("failed", score=0.0) == "credited"
    assert await memory.give_feedback("under-way", score=0.0) == "unknown"
    assert [e.run_id for e in taken_in(memory)] == ["failed"]
    assert memory.health().buffered == 2
    await memory.aclose()


async def test_feedback_that_comes_before_its_run_waits_for_it() -> None:
    memory, _ = spied()
    id = await seen(memory)
    assert await memory.give_feedback("r", score=0.0) == "unknown"
    assert await memory.give_feedback("r", score=1.0) == "unknown"
    assert await outcomes(memory, id) == (0, 0)
    await memory.record(Episode(run_id="r", seen=(id,)))
    await memory.flush()
    assert await outcomes(memory, id) == (1, 1), "the latest counts"
    assert await memory.give_feedback("r", score=0.0) == "corrected"
    assert await outcomes(memory, id) == (1, 0)
    await memory.aclose()


async def test_only_a_comment_that_came_before_credits_nothing() -> None:
    memory, _ = spied()
    id = await seen(memory)
    await memory.give_feedback("r", comment="well")
    await memory.record(Episode(run_id="r", seen=(id,)))
    await memory.flush()
    assert await outcomes(memory, id) == (0, 0)
    await memory.aclose()


@pytest.mark.parametrize(
    "trouble", ["the answer is lost", "the store goes away just then", "it is cancelled"]
)
async def test_feedback_that_came_before_is_credited_whatever_happens_on_the_way(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.01)
    memory, log = spied()
    id = await seen(memory)
    await memory.give_feedback("r", score=1.0)
    if trouble == "the answer is lost":
        log.lost = 1
    elif trouble == "it is cancelled":
        log.after = 30.0
    await memory.record(Episode(run_id="r", seen=(id,)))
    if trouble == "the store goes away just then":
        await wait_until(lambda: log.asked == 1)
        log.away = 3
    elif trouble == "it is cancelled":
        await wait_until(lambda: bool(log.batches))
        log.after = 0.0
        await memory.aclose()
    await wait_until(lambda: memory.health().recorded == 1)
    await memory.flush()
    assert await outcomes(memory, id) == (1, 1)
    await memory.aclose()


async def test_a_lost_answer_of_a_real_server_loses_no_feedback(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks again by itself then, and is told that the run had come before."""
    async with open_memory(valkey.url, namespace=namespace) as memory:
        id = await seen(memory)
        await memory.give_feedback("r", score=1.0)
        real = RedisEpisodeQueue.record

        async def twice(self: Any, *args: Any) -> Any:
            await real(self, *args)
            return await real(self, *args)

        monkeypatch.setattr(RedisEpisodeQueue, "record", twice)
        await memory.record(Episode(run_id="r", seen=(id,)))
        await memory.flush()
        assert await outcomes(memory, id) == (1, 1)
        assert memory.health().recorded == 1


async def test_what_is_withheld_is_credited_as_without_it() -> None:
    memory, _ = spied()
    id = await seen(memory)
    await memory.record(Episode(run_id="r", withheld=(id,)))
    await memory.give_feedback("r", score=1.0)
    usage = (await memory.usage())[id]
    assert (usage.n_with, usage.n_without, usage.successes_without) == (0, 1, 1)
    await memory.aclose()


async def test_feedback_is_refused_while_the_store_is_away_and_its_run_is_kept() -> None:
    memory, log = spied()
    log.away = 10**6
    await memory.record(Episode(run_id="r"))
    with pytest.raises(StoreUnavailable):
        await memory.give_feedback("r", score=1.0)
    log.away = 0
    assert await memory.give_feedback("r", score=1.0) == "credited"
    await memory.aclose()


async def test_a_later_word_is_not_replaced_by_one_that_waits() -> None:
    memory, log = spied()
    id = await seen(memory)
    await memory.record(Episode(run_id="r", seen=(id,)))
    log.away = 10**6
    first = memory.recorder.keep_feedback(Feedback(run_id="r", score=0.0))
    await memory.recorder.send_said()
    assert (first.verdict, first.trouble) == (None, None)
    log.away = 0
    assert await memory.give_feedback("r", score=1.0) == "corrected"
    await memory.flush()
    assert first.verdict == "credited"
    assert await outcomes(memory, id) == (1, 1)
    await memory.aclose()


async def test_feedback_that_waits_is_lost_at_the_end_with_a_warning_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory, log = spied()
    await memory.record(Episode(run_id="r"))
    log.away = 10**6
    memory.recorder.keep_feedback(Feedback(run_id="r", score=0.0))
    await memory.aclose()
    assert (
        "1 recorded runs and 1 words of feedback of 'test' are lost: nobody is there" in caplog.text
    )


async def test_many_at_once_send_what_is_in_the_buffer_once() -> None:
    memory, log = spied()
    for i in range(50):
        await memory.record(Episode(run_id=f"r{i}"))
    said = await asyncio.gather(*(memory.give_feedback(f"r{i}", score=1.0) for i in range(50)))
    assert set(said) == {"credited"}
    assert sum(map(len, log.batches)) == 50
    await memory.aclose()


# --- settings


async def _ready(memory: TedMemory) -> list[str]:
    log = memory.store.episodes
    claims = await log.claim("test", "somebody", lease=60, count=100, max_deliveries=3, alone=False)
    return [claim.episode.run_id for claim in claims.claims]


async def test_an_episode_waits_for_feedback_as_long_as_it_is_told_to() -> None:
    memory, _ = spied(feedback_wait=0.3)
    for name in ("told", "not-told"):
        await memory.record(Episode(run_id=name))
    await memory.flush()
    assert await _ready(memory) == []
    await memory.give_feedback("told", score=0.0)
    assert await _ready(memory) == ["told"]
    await asyncio.sleep(0.35)
    assert await _ready(memory) == ["not-told"]
    await memory.aclose()


async def test_one_whose_feedback_came_first_does_not_wait_and_without_the_setting_none_does() -> (
    None
):
    waiting, _ = spied(feedback_wait=60)
    await waiting.give_feedback("r", score=0.0)
    await waiting.record(Episode(run_id="r"))
    await waiting.flush()
    assert await _ready(waiting) == ["r"]
    await waiting.aclose()

    at_once, _ = spied()
    await at_once.record(Episode(run_id="r"))
    await at_once.flush()
    assert await _ready(at_once) == ["r"]
    await at_once.aclose()


def test_the_share_of_runs_asked_for_is_recorded_and_each_is_always_judged_alike() -> None:
    memory, none, every = in_memory(sample_rate=0.3), in_memory(sample_rate=0.0), in_memory()
    ids = [f"run-{i}" for i in range(4000)]
    taken = [id for id in ids if is_sampled(memory, id)]
    assert 0.26 < len(taken) / len(ids) < 0.34
    assert taken == [id for id in ids if is_sampled(memory, id)]
    assert not any(is_sampled(none, id) for id in ids)
    assert all(is_sampled(every, id) for id in ids)


async def test_a_learner_counts_what_was_said_before_a_run_whose_recorder_ended_too_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = InMemoryStore()
    dying, memory = in_memory(store=store), in_memory(store=store)

    async def ends_here() -> None: ...

    monkeypatch.setattr(dying.recorder, "_pay", ends_here)
    id = await seen(memory)
    for i in range(4):
        if i < 3:
            await dying.give_feedback(f"r-{i}", score=1.0, principal="anna")
        await dying.record(_asked(f"r-{i}", id, principal="anna"))
    await dying.flush()
    assert await outcomes(memory, id) == (0, 0), "the control: nothing is counted yet"
    await memory.give_feedback("r-2", score=0.0, principal="anna")
    await memory.give_feedback("r-3", score=1.0, principal="anna")
    await Learner(memory, teacher=says_nothing(), replay="none").run(until_empty=True)
    assert await outcomes(memory, id) == (4, 3), "each once, and the later word stands"
    await dying.aclose()
    await memory.aclose()


def _asked(run_id: str, id: str, **fields: Any) -> Episode:
    return Episode(
        run_id=run_id, input=(Message(role="user", content="How?"),), seen=(id,), **fields
    )
