"""Answers without a lesson, which all lessons share that are replayed on an episode."""

import asyncio
from collections import Counter
from unittest.mock import AsyncMock

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.learner import replay
from ted_memory.testing import wait_until
from tests.distill.scripts import CODES, follows, prompt_of, student
from tests.learner.test_replay_troubles import at_work
from tests.learner.worlds import PEOPLE, archive, blocks, propose, replayed


@pytest.mark.parametrize(("seconds", "plain"), [(300.0, 4), (0.0, 8)])
async def test_lessons_that_meet_an_episode_soon_after_each_other_share_the_answers_without_them(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, seconds: float, plain: int
) -> None:
    monkeypatch.setattr(replay, "SHARED_FOR", seconds)
    await archive(memory, "apples", PEOPLE[:2])
    for says in ("", f"say {CODES['apples']}, please"):
        await propose(memory, "apples", says=says)
    model = student()
    learner = await replayed(memory, model)
    assert learner.report.replayed == 4
    assert Counter(blocks(model.asked)) == {True: 8, False: plain}
    today = (await memory.store.episodes.traffic(memory.namespace)).today
    assert today["replay_calls"] == 8 + plain


@pytest.mark.parametrize("told_apart", [True, False])
async def test_a_lesson_that_the_student_chokes_on_takes_no_episode_from_the_others(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, told_apart: bool
) -> None:
    if not told_apart:  # the control
        monkeypatch.setattr(
            "ted_memory.distill.comparison.Comparison.answers_without",
            AsyncMock(return_value=False),
        )
    await archive(memory, "apples", PEOPLE[:6])
    await propose(memory, "apples", says="filtered")
    choked: list[str] = []

    def filtered(messages: list[BaseMessage]) -> str:
        if "filtered" in prompt_of(messages):
            choked.append("")
            raise ValueError("content filter")
        return follows(messages)

    async with at_work(memory, student(filtered)) as learner:
        await wait_until(lambda: len(choked) >= 6)
        await asyncio.sleep(0.3)
        await propose(memory, "apples")
        if told_apart:
            await wait_until(lambda: learner.report.replayed == 6)
        else:
            await asyncio.sleep(1.0)
            assert learner.report.replayed < 6


async def test_nothing_of_peoples_episodes_is_held_once_nothing_is_replayed(
    memory: TedMemory,
) -> None:
    await archive(memory, "apples", PEOPLE[:3])
    await propose(memory, "apples")
    async with at_work(memory, student()) as learner:
        await wait_until(lambda: learner.report.replayed == 3)
        [space] = learner._spaces.made()
        await wait_until(lambda: space.replayer._comparison is None)
