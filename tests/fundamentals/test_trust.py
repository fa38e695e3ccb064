"""What a lesson from traffic must show before others see it, and who decides."""

import re

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Episode, TedMemory, open_memory
from ted_memory.learner import Learner, explain
from ted_memory.models import Message
from ted_memory.testing import ScriptedChatModel
from tests.conftest import Server

PEOPLE = [f"user-{i}" for i in range(9)]
RIGHT, WRONG = "say dock 7", "say dock 2"


def student(messages: list[BaseMessage]) -> str:
    """Say what a lesson says; guess without one."""
    prompt = "\n".join(str(message.text) for message in messages)
    told = re.findall(r"say (dock \d)", prompt)
    return str(told[-1]) if told else "dock 1"


def silent(_: list[BaseMessage]) -> str:
    return "{}"


async def propose(memory: TedMemory, text: str) -> str:
    """Propose a lesson as a learner does that read a run of zoe's; return its id.

    Zoe's own requests would be no evidence on it.
    """
    lesson = Add(
        text=text,
        when="asked for the dock of tea",
        state="proposed",
        sources=("run:1", "principal:zoe"),
    )
    return (await memory.commit([lesson], author="learner")).applied[0].id


async def request(memory: TedMemory, number: int, people: list[str], right: str) -> bool:
    """One request of somebody's who says what was right; tell whether the lesson was shown.

    `TedMemoryMiddleware(memory, record=True)` does the same for an agent. The coin falls once for
    each ``unit``, which is a conversation.
    """
    who = people[number % len(people)]
    question = f"What is the dock of tea, in order {number}?"
    shown = await memory.expose(question, unit=f"order-{number}", principal=who)
    told = re.findall(r"say (dock \d)", shown.block)
    answer = told[-1] if told else "dock 1"
    episode = Episode(
        run_id=f"run-{number}",
        principal=who,
        input=(Message(role="user", content=question),),
        output=(Message(role="assistant", content=answer),),
        **shown.model_dump(exclude={"block", "placement", "turns"}),
    )
    await memory.record(episode)
    await memory.flush()
    score = float(answer == right)
    await memory.give_feedback(f"run-{number}", score=score, correction=right, principal=who)
    return bool(shown.seen)


async def learn(memory: TedMemory) -> None:
    """Let a learner do what is to be done now: replays, and the steps that follow."""
    models = ScriptedChatModel(script=student), ScriptedChatModel(script=silent)
    await Learner(memory, student=models[0], teacher=models[1]).run(until_empty=True)


async def state(memory: TedMemory, id: str) -> str:
    lesson = (await memory.load()).by_id.get(id)
    return lesson.state if lesson else "gone"


async def serve(
    memory: TedMemory, numbers: range, people: list[str] = PEOPLE, right: str = "dock 7"
) -> list[bool]:
    return [await request(memory, number, people, right) for number in numbers]


async def test_a_lesson_is_replayed_then_tried_by_a_coin_then_active(memory: TedMemory) -> None:
    id = await propose(memory, RIGHT)
    # `ted-memory plan` says how many requests it takes
    assert not any(await serve(memory, range(30))), "proposed: nobody sees it"

    await learn(memory)
    assert await state(memory, id) == "trial", (
        "replays on others' questions have shown that it helps"
    )

    seen = await serve(memory, range(30, 110))
    assert 20 <= sum(seen) <= 60, "on trial: half of the conversations see it"
    await learn(memory)
    assert await state(memory, id) == "active", "and so have live outcomes"


async def test_an_active_lesson_that_comes_to_hurt_is_taken_back(memory: TedMemory) -> None:
    id = await propose(memory, RIGHT)
    await memory.approve(id, author="a person")
    await serve(memory, range(40))
    await learn(memory)
    assert await state(memory, id) == "active"

    # the tea has moved to the dock that agents guess
    await serve(memory, range(40, 100), right="dock 1")
    await learn(memory)
    assert await state(memory, id) == "proposed"
    standing = await explain(memory, id)
    assert standing is not None
    assert standing.waits_for.startswith("a person's word: it has come to hurt")


async def test_a_lesson_that_does_not_help_leaves_without_a_user_who_saw_it(
    memory: TedMemory,
) -> None:
    id = await propose(memory, WRONG)
    assert not any(await serve(memory, range(60)))
    await learn(memory)
    assert await state(memory, id) == "gone"


async def test_two_accounts_bring_nothing_about(memory: TedMemory) -> None:
    assert memory.settings.min_principals == 3
    id = await propose(memory, RIGHT)
    await serve(memory, range(60), people=["mallory", "mallory-again"])
    await learn(memory)
    assert await state(memory, id) == "proposed", "the two who say most for it are left out"
    await serve(memory, range(60, 90))
    await learn(memory)
    assert await state(memory, id) == "trial", "the control: others' questions count"


async def test_explain_says_what_a_lesson_waits_for(memory: TedMemory) -> None:
    id = await propose(memory, RIGHT)
    standing = await explain(memory, id)
    assert standing is not None
    assert "replay" in standing.waits_for


async def test_with_review_a_person_has_the_last_word(valkey: Server, namespace: str) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, trust="review", read_timeout=5
    ) as memory:
        id = await propose(memory, RIGHT)
        await serve(memory, range(30))
        await learn(memory)
        await serve(memory, range(30, 110))
        await learn(memory)
        assert await state(memory, id) == "trial"
        standing = await explain(memory, id)
        assert standing is not None
        assert standing.waits_for == "a person's approval: its trial is passed"
        await memory.approve(id, author="a person")
        assert await state(memory, id) == "active"


@pytest.mark.parametrize(
    "text", ["say dock 7, see https://example.com", "say dock 7, call +1 555 0100"]
)
async def test_a_link_or_a_number_to_call_waits_for_a_person(memory: TedMemory, text: str) -> None:
    id = await propose(memory, text)
    await serve(memory, range(30))
    await learn(memory)
    assert await state(memory, id) == "proposed"
    standing = await explain(memory, id)
    assert standing is not None
    assert standing.waits_for.startswith("a person's word: it ")
