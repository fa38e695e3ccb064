"""What becomes of what an agent did: recorded, spoken about, learned from, or forgotten."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import TedMemory, open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.learner import Learner, LearnerReport
from ted_memory.testing import ScriptedChatModel, asked_for_edits, wait_until
from tests.conftest import Server


def teacher(messages: list[BaseMessage]) -> str:
    edit = {"op": "add", "when": "asked for the dock of tea", "text": "say dock 7"}
    critique = {"reason": "It guessed.", "edits": [edit]}
    return json.dumps(critique) if asked_for_edits(messages) else "I am not sure."


def student(messages: list[BaseMessage]) -> str:
    """Guess, where no lesson says it."""
    prompt = "\n".join(str(message.text) for message in messages)
    return "dock 7" if "say dock 7" in prompt else "dock 1"


HANGS = """
import asyncio, time
from ted_memory import open_memory
from ted_memory.learner import Learner, LearnerReport
from ted_memory.testing import ScriptedChatModel

async def learn():
    async with open_memory("{url}", namespace="{namespace}", lease_seconds=1) as memory:
        model = ScriptedChatModel(script=lambda _: "", delay=600)
        await Learner(memory, student=model, teacher=model).run()

asyncio.run(learn())
"""
"""A learner in a process of its own, whose models never answer."""


async def one_run(memory: TedMemory, principal: str = "anna") -> str:
    """Have an agent answer a question of somebody's, and return the run's id."""
    model, recording = ScriptedChatModel(script=student), TedMemoryMiddleware(memory, record=True)
    agent = create_agent(model, tools=[], middleware=[recording])
    asked = {"messages": [HumanMessage("What is the dock of tea?")]}
    done = await agent.ainvoke(asked, {"configurable": {"principal": principal}})
    await memory.flush()  # for tests: it goes by itself, in the background
    return str(find_run_id(done))


def learner(memory: TedMemory, critic: ScriptedChatModel | None = None) -> Learner:
    return Learner(
        memory,
        student=ScriptedChatModel(script=student),
        teacher=critic or ScriptedChatModel(script=teacher),
    )


async def is_empty(memory: TedMemory) -> bool:
    traffic = await memory.traffic()
    return traffic.waiting + traffic.claimed == 0


async def is_claimed(memory: TedMemory) -> bool:
    return (await memory.traffic()).claimed > 0


async def test_a_recorded_run_waits_to_be_learned_from(memory: TedMemory) -> None:
    await one_run(memory)
    assert (await memory.traffic()).waiting == 1
    assert memory.health().recorded == 1


async def test_a_correction_becomes_a_lesson_that_waits_for_evidence(memory: TedMemory) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, correction="dock 7", principal="anna")
    report = await learner(memory).run(until_empty=True)
    assert report.settled == 1
    [lesson] = await memory.load()
    assert (lesson.text, lesson.state) == ("say dock 7", "proposed")
    assert "principal:anna" in lesson.sources
    assert (await memory.traffic()).waiting == 0


async def test_a_run_that_was_right_teaches_nothing(memory: TedMemory) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, score=1.0, principal="anna")
    report = await learner(memory).run(until_empty=True)
    assert report.settled == 1
    assert len(await memory.load()) == 0


async def test_nobody_speaks_of_the_runs_of_others(memory: TedMemory) -> None:
    run = await one_run(memory)
    assert await memory.give_feedback(run, score=1.0, principal="bruno") == "foreign"
    verdict = await memory.give_feedback(run, score=1.0, principal="bruno", reviewer=True)
    assert verdict == "credited", "whom the program knows as a reviewer may"


async def begun(memory: TedMemory) -> asyncio.Task[LearnerReport]:
    """Have a learner begin an episode, with a teacher that takes a minute for each answer."""
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, correction="dock 7", principal="anna")
    slow = ScriptedChatModel(script=teacher, delay=60)
    learning = asyncio.create_task(learner(memory, slow).run())
    await wait_until(lambda: is_claimed(memory))
    return learning


async def test_a_learner_that_is_stopped_hands_back_its_episode(memory: TedMemory) -> None:
    learning = await begun(memory)
    learning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await learning
    report = await learner(memory).run(until_empty=True)
    assert report.settled == 1
    assert len(await memory.load()) == 1


async def test_the_episode_of_a_learner_that_died_is_anothers(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    async with open_memory(valkey.url, namespace=namespace, lease_seconds=1) as memory:
        run = await one_run(memory)
        await memory.give_feedback(run, score=0.0, correction="dock 7", principal="anna")
        program = tmp_path / "learner.py"
        program.write_text(HANGS.format(url=valkey.url, namespace=namespace), encoding="utf-8")
        first = await asyncio.create_subprocess_exec(sys.executable, str(program))
        await wait_until(lambda: is_claimed(memory), timeout=60)
        first.kill()
        await first.wait()

        second = learner(memory)
        learning = asyncio.create_task(second.run())
        await wait_until(lambda: is_empty(memory))  # after the lease has ended
        second.stop()
        assert (await learning).settled == 1
        assert len(await memory.load()) == 1


async def test_a_person_is_forgotten_with_all_that_was_learned_of_them(memory: TedMemory) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, correction="dock 7", principal="anna")
    await learner(memory).run(until_empty=True)
    await one_run(memory)

    forgotten = await memory.forget("principal", "anna")
    assert (len(forgotten.lessons.removed), forgotten.episodes) == (1, 1)
    assert len(await memory.load()) == 0
    assert (await memory.traffic()).waiting == 0
