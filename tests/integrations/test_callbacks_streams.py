"""The callback handler, however a run is called: streamed, in batches, given up before its end."""

import asyncio
import uuid
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate

from ted_memory import TedMemory
from ted_memory.integrations import callbacks
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.testing import in_memory, wait_until
from tests.integrations.agents import (
    Scripted,
    agent,
    asks,
    calls_once,
    put_on_trial,
    teach,
)
from tests.integrations.test_callbacks import keeps_nothing, says, the_only_one, told
from tests.spy_log import recorded, taken_in


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


@pytest.fixture
def handler(memory: TedMemory) -> TedMemoryCallbackHandler:
    return TedMemoryCallbackHandler(memory)


WAYS: dict[str, Any] = {
    "ainvoke": lambda chain, config: chain.ainvoke("Hi", config),
    "invoke": lambda chain, config: asyncio.to_thread(chain.invoke, "Hi", config),
    "invoke within a loop": lambda chain, config: asyncio.sleep(0, chain.invoke("Hi", config)),
    "stream": lambda chain, config: asyncio.to_thread(lambda: list(chain.stream("Hi", config))),
    "astream": lambda chain, config: _all(chain.astream("Hi", config)),
    "astream events": lambda chain, config: _all(chain.astream_events("Hi", config, version="v2")),
}


async def _all(stream: Any) -> list[Any]:
    return [part async for part in stream]


@pytest.mark.parametrize("way", WAYS)
async def test_a_chain_is_recorded_however_it_is_called(
    memory: TedMemory, handler: TedMemoryCallbackHandler, way: str
) -> None:
    ids = await teach(memory, "Be brief.")
    await WAYS[way](inject_lessons(memory) | says(), {"callbacks": [handler]})
    await wait_until(lambda: memory.health().recorded == 1)
    episode = await the_only_one(handler)
    assert (episode.question, episode.answer.strip(), list(episode.seen)) == ("Hi", "It is 4.", ids)


@pytest.mark.parametrize("way", WAYS)
async def test_a_model_is_recorded_however_it_is_called(
    handler: TedMemoryCallbackHandler, way: str
) -> None:
    await WAYS[way](says(), {"callbacks": [handler]})
    await wait_until(lambda: handler.memory.health().recorded == 1)
    episode = await the_only_one(handler)
    assert (episode.question, episode.answer.strip()) == ("Hi", "It is 4.")


@pytest.mark.parametrize("way", ["abatch", "batch"])
async def test_many_runs_at_once_do_not_mix(
    memory: TedMemory, handler: TedMemoryCallbackHandler, way: str
) -> None:
    await put_on_trial(memory, "On trial.")

    def echo(messages: list[BaseMessage]) -> str:
        return f"{messages[-1].content} {'On trial.' in str(messages[0].content)}"

    chain = inject_lessons(memory) | Scripted(script=echo)
    questions: list[Any] = [f"Question {i}" for i in range(60)]
    if way == "abatch":
        outs = await chain.abatch(questions, {"callbacks": [handler]})
    else:
        outs = await asyncio.to_thread(chain.batch, questions, {"callbacks": [handler]})
    await wait_until(lambda: memory.health().recorded == 60)
    episodes = {e.run_id: e for e in await recorded(memory)}
    assert len(episodes) == 60
    for question, out in zip(questions, outs, strict=True):
        episode = episodes[told(out)["run_id"]]
        assert (episode.question, episode.answer) == (question, f"{question} {bool(episode.seen)}")
    assert keeps_nothing(handler)
    await memory.aclose()


async def test_a_stream_that_is_closed_early_is_recorded_and_forgotten(
    memory: TedMemory, handler: TedMemoryCallbackHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.integrations.live_run.ABANDONED", 0.2)
    monkeypatch.setattr(callbacks, "ABANDONED", 0.2)
    ids = await teach(memory, "Be brief.")
    prompt = ChatPromptTemplate.from_messages([("user", "{question}")])
    for chain in [inject_lessons(memory) | says("one two three")] * 5 + [
        prompt | inject_lessons(memory) | says("one two three")
    ] * 5:
        stream = chain.astream(
            {"question": "What is x?"} if chain.first is prompt else "What is x?",
            {"callbacks": [handler]},
        )
        async for _part in stream:
            break
        await stream.aclose()
    await wait_until(lambda: len(taken_in(memory)) == 10)
    for episode in taken_in(memory):
        assert (episode.question, list(episode.seen)) == ("What is x?", ids)
        assert episode.error
    for _ in range(5):
        await says().ainvoke("Hi", {"callbacks": [handler]})
    assert keeps_nothing(handler)
    await memory.aclose()


async def test_a_graph_whose_stream_nobody_reads_to_its_end_is_recorded(
    handler: TedMemoryCallbackHandler,
) -> None:
    runs, _ = agent(in_memory(), calls_once("look_up"), record=False)
    stream = runs.astream(asks("What is x?"), {"callbacks": [handler]})
    async for _part in stream:
        break
    await stream.aclose()
    [episode] = await recorded(handler.memory)
    assert episode.question == "What is x?"
    assert episode.error
    await handler.memory.aclose()


async def test_a_run_of_whose_end_nobody_tells_is_recorded_and_forgotten(
    handler: TedMemoryCallbackHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of LangGraph say nothing when a stream is closed."""
    monkeypatch.setattr("ted_memory.integrations.live_run.ABANDONED", 0.2)
    monkeypatch.setattr(callbacks, "ABANDONED", 0.2)
    for _ in range(4):
        root = uuid.uuid4()
        handler.on_chain_start({}, {"question": "What is x?"}, run_id=root)
        handler.on_tool_start({"name": "look_up"}, "x", run_id=uuid.uuid4(), parent_run_id=root)
    await wait_until(lambda: len(taken_in(handler.memory)) == 4)
    assert {e.question for e in taken_in(handler.memory)} == {"What is x?"}
    assert {e.error for e in taken_in(handler.memory)} == {"abandoned: it did not come to an end"}
    for _ in range(3):
        await says().ainvoke("Hi", {"callbacks": [handler]})
    assert keeps_nothing(handler)
    await handler.memory.aclose()
