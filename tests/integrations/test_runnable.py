"""``inject_lessons(memory) | model``, for any LangChain model or chain."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from ted_memory import Add, TedMemory, open_memory
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.conftest import Server

INPUTS: list[Any] = [
    "Hello",
    [("system", "You are kind."), ("user", "Hello")],
    [HumanMessage(content="Hello")],
    ChatPromptTemplate.from_messages([("system", "You are kind."), ("user", "{said}")]).invoke(
        {"said": "Hello"}
    ),
]


@pytest.fixture
async def one_lesson(scratch: TedMemory) -> TedMemory:
    await scratch.commit([Add(text="Be brief.")], author="me")
    return scratch


async def test_the_block_stands_at_the_end_of_the_system_message(one_lesson: TedMemory) -> None:
    block = await one_lesson.render()
    for given in INPUTS:
        system, user = await inject_lessons(one_lesson).ainvoke(given)
        assert isinstance(system, SystemMessage)
        assert isinstance(system.content, str)
        assert system.content in {block, f"You are kind.\n\n{block}"}
        assert user.content == "Hello"


async def test_a_system_message_of_blocks_gets_one_plain_block_more(one_lesson: TedMemory) -> None:
    blocks = [{"type": "text", "text": "You are kind.", "cache_control": {"type": "ephemeral"}}]
    given = [SystemMessage(content=blocks), HumanMessage(content="Hello")]  # type: ignore[arg-type]
    system, _ = await inject_lessons(one_lesson).ainvoke(given)
    assert system.content == [*blocks, {"type": "text", "text": await one_lesson.render()}]
    assert given[0].content == blocks, "what was handed in is not changed"


async def test_the_block_can_stand_in_the_user_turn(namespace: str) -> None:
    memory = in_memory(namespace=namespace, placement="user")
    await memory.commit([Add(text="Be brief.")], author="me")
    block = await memory.render()
    assert [m.content for m in await inject_lessons(memory).ainvoke("Hello")] == [
        f"Hello\n\n{block}"
    ]
    talk = [HumanMessage(content="Hi"), AIMessage(content="Yes?"), HumanMessage(content="Hello")]
    assert [m.content for m in await inject_lessons(memory).ainvoke(talk)] == [
        "Hi",
        "Yes?",
        f"Hello\n\n{block}",
    ]


@pytest.mark.parametrize("given", INPUTS)
async def test_an_empty_set_changes_nothing(scratch: TedMemory, given: Any) -> None:
    said = [m.content for m in await inject_lessons(scratch).ainvoke(given)]
    assert said in (["Hello"], ["You are kind.", "Hello"])


async def test_lessons_are_picked_for_the_question(namespace: str) -> None:
    memory = in_memory(namespace=namespace, selection="relevant", top_k=1)
    await memory.commit(
        [Add(text="say red", when="apples"), Add(text="say blue", when="the sky")], author="me"
    )
    assert "red" in str(
        (await inject_lessons(memory).ainvoke("What colour have apples?"))[0].content
    )
    assert "blue" in str(
        (await inject_lessons(memory).ainvoke("What colour has the sky?"))[0].content
    )


def _echo(messages: list[BaseMessage]) -> str:
    return str(messages[0].content)


async def test_every_way_to_call_a_chain_works(one_lesson: TedMemory) -> None:
    chain = inject_lessons(one_lesson) | ScriptedChatModel(script=_echo)
    block = await one_lesson.render()
    assert (await chain.ainvoke("Hello")).content == block
    assert [m.content for m in await chain.abatch(["Hello"] * 3)] == [block] * 3
    assert "".join([str(part.content) async for part in chain.astream("Hello")]) == block


async def test_a_program_without_a_loop_can_use_it_and_so_can_one_inside_a_loop(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, read_timeout=2.0) as memory:
        await memory.commit([Add(text="Be brief.")], author="me")
        block = await memory.render()
    shared = open_memory(valkey.url, namespace=namespace, read_timeout=2.0)
    chain = inject_lessons(shared) | ScriptedChatModel(script=_echo)

    def plain() -> list[Any]:
        return [
            chain.invoke("Hello").content,
            *(m.content for m in chain.batch(["Hello"] * 2)),
            "".join(str(part.content) for part in chain.stream("Hello")),
        ]

    assert await asyncio.to_thread(plain) == [block] * 4
    assert plain() == [block] * 4, "in the thread of a running loop"
    assert (await chain.ainvoke("Hello")).content == block
    await shared.aclose()


async def test_without_its_store_the_model_still_answers() -> None:
    nowhere = open_memory("redis://127.0.0.1:1/0", namespace="x")
    assert [m.content for m in await inject_lessons(nowhere).ainvoke("Hello")] == ["Hello"]
    health = nowhere.health()
    assert (health.stale_reads, health.failed_reads) == (1, 1)
    assert health.last_error
    await nowhere.aclose()


@pytest.mark.parametrize("name", ["messages", "input", "question", "query"])
async def test_a_mapping_is_asked_for_what_it_holds(name: str) -> None:
    async with in_memory() as memory:
        given = {"remaining_steps": 3, name: [HumanMessage("Hi")] if name == "messages" else "Hi"}
        assert [str(m.text) for m in await inject_lessons(memory).ainvoke(given)] == ["Hi"]  # type: ignore[arg-type]


async def test_a_mapping_that_holds_no_question_is_refused() -> None:
    async with in_memory() as memory:
        with pytest.raises(TypeError, match="keys prompt, steps; it takes text, messages"):
            await inject_lessons(memory).ainvoke({"prompt": "Hi", "steps": 3})  # type: ignore[arg-type]
