"""How much is replayed: the calls of a day, of one speaker, and what a learner may spend."""

import asyncio
import contextlib

import pytest
from langchain_core.runnables import RunnableLambda

from ted_memory import TedMemory, open_memory
from ted_memory.distill import Budget
from ted_memory.learner import Learner, replay
from ted_memory.learner.allowance import Allowance
from ted_memory.protocols import Pair
from ted_memory.testing import wait_until
from tests.conftest import Server
from tests.distill.scripts import student
from tests.learner.worlds import (
    PEOPLE,
    archive,
    on_another_day,
    propose,
    replayed,
    says_nothing,
    sums,
)


async def test_the_days_calls_hold_and_the_next_day_brings_others(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_memory(valkey.url, namespace=namespace, replay_calls=23) as memory:
        await archive(memory, "apples")
        [id] = await propose(memory, "apples", says="guess")
        model = student()
        await replayed(memory, model)
        assert len(model.asked) == 20, "a sixth pair would be the 24th call"
        await replayed(memory, model)
        assert len(model.asked) == 20, "also for another learner"
        today = (await memory.store.episodes.traffic(namespace)).today
        assert (today["replay_calls"], today["student_calls"]) == (20, 20)
        on_another_day(monkeypatch)
        await replayed(memory, model)
        assert (len(model.asked), (await sums(memory, id)).pairs) == (40, 10)


@pytest.mark.parametrize("how", ["killed", "broken", "not reserved"])
async def test_the_days_calls_hold_though_no_answer_comes(
    valkey: Server, namespace: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner that is killed has paid for what it asked, and so has one with a broken student."""
    asked = 0
    monkeypatch.setattr(replay, "SECONDS", 0.2)
    if how == "not reserved":  # the control

        async def nothing(*_: object) -> None: ...

        monkeypatch.setattr(Allowance, "reserve", nothing)

    async def no_answer(_: object) -> str:
        nonlocal asked
        asked += 1
        if how == "broken":
            raise ValueError("a broken agent")
        await asyncio.sleep(60)
        return ""

    async with open_memory(valkey.url, namespace=namespace, replay_calls=8) as memory:
        await archive(memory, "apples")
        await propose(memory, "apples", says="guess")
        for _ in range(4):
            model = RunnableLambda(no_answer)
            learner = Learner(memory, student=model, teacher=says_nothing())
            work, before = asyncio.create_task(learner.run(until_empty=True)), asked
            if how != "broken":
                with contextlib.suppress(TimeoutError):
                    await wait_until(lambda before=before: asked > before, timeout=0.5)
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await asyncio.sleep(0.3)  # its lease ends
        assert (asked > 8) == (how == "not reserved")
        counted = (await memory.store.episodes.traffic(namespace)).today.get("replay_calls", 0)
        assert (counted == 8) == (how != "not reserved")


@pytest.mark.parametrize(("min_principals", "asked"), [(3, 5), (1, 9)])
async def test_of_one_speaker_so_many_pairs_are_enough_where_the_loudest_are_left_out(
    valkey: Server,
    namespace: str,
    order: list[Pair],
    monkeypatch: pytest.MonkeyPatch,
    min_principals: int,
    asked: int,
) -> None:
    """Where nobody is left out a single speaker's episodes decide, and all of them are wanted."""
    monkeypatch.setattr(replay, "MOST_OF_ONE", 5)
    async with open_memory(
        valkey.url, namespace=namespace, min_principals=min_principals
    ) as memory:
        await archive(memory, "apples", [*PEOPLE[:3], *["eve"] * 9])
        await propose(memory, "apples", says="guess")
        await replayed(memory)
    assert [pair.speaker for pair in order].count("eve") == asked


async def test_without_calls_for_replays_there_are_none(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, replay_calls=0) as memory:
        await archive(memory, "apples", PEOPLE[:3])
        [id] = await propose(memory, "apples")
        model = student()
        assert (await replayed(memory, model)).report.replayed == 0
        assert (model.asked, (await sums(memory, id)).pairs) == ([], 0)


async def test_a_budget_of_the_learner_holds_for_replays_too(memory: TedMemory) -> None:
    await archive(memory, "apples")
    [id] = await propose(memory, "apples", says="guess")
    model = student()
    learner = await replayed(memory, model, budget=Budget(calls=30))
    spent = (await memory.store.episodes.traffic(memory.namespace)).today
    assert 0 < (await sums(memory, id)).pairs < 12
    assert (
        spent["student_calls"] + spent["teacher_calls"] <= 30 + 4 * memory.settings.episodes_at_once
    )
    assert "budget of 30 calls" in learner.report.last_error
    assert (await replayed(memory, model)).report.replayed > 0, (
        "the control: without it there are more"
    )
