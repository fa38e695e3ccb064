"""Recording is not noticed: not in prompts, answers and streams, nor where the store is down."""

import asyncio
import contextvars
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from ted_memory import TedMemory, open_memory
from ted_memory.capture.recorder import Hooks
from ted_memory.episodes import Episode
from ted_memory.settings import make_settings
from ted_memory.testing import in_memory, wait_until
from ted_memory.testing.oracle.store import InMemoryStore
from tests.integrations.agents import Scripted, agent, asks, calls_once, put_on_trial, teach
from tests.spy_log import recorded, spied, taken_in


@pytest.fixture
def memory() -> TedMemory:
    """A memory that shows what is on trial to half of the conversations, and withholds nothing."""
    return in_memory(withhold_share=0.0)


async def test_without_learn_nothing_is_recorded_and_nothing_on_trial_is_shown(
    memory: TedMemory,
) -> None:
    await teach(memory, "Be brief.")
    await put_on_trial(memory, "On trial.")
    runs, model = agent(memory, record=False)
    for _ in range(20):
        out = await runs.ainvoke(asks())
    assert "On trial." not in str(model.asked)
    assert "Be brief." in str(model.asked)
    assert "ted_memory" not in out["messages"][-1].response_metadata
    assert await recorded(memory) == []
    await memory.aclose()


def _plain(messages: list[BaseMessage]) -> list[Any]:
    return [(m.type, m.content, getattr(m, "tool_calls", None)) for m in messages]


async def test_prompts_and_answers_are_the_same_with_and_without_recording(
    memory: TedMemory,
) -> None:
    await teach(memory, "Be brief.", "Be kind.")
    told = []
    for learn in (True, False):
        runs, model = agent(
            memory, calls_once("look_up", "It is 4."), record=learn, system_prompt="You are kind."
        )
        out = await runs.ainvoke(
            {
                "messages": [
                    SystemMessage("Old."),
                    HumanMessage("Hi"),
                    AIMessage("Yes?"),
                    *asks()["messages"],
                ]
            }
        )
        told.append(
            (_plain(out["messages"]), [_plain(asked) for asked in model.asked], sorted(out))
        )
    assert told[0] == told[1]
    assert len(told[0][1]) == 2
    await memory.aclose()


async def test_a_stream_of_tokens_holds_those_of_the_model_alone() -> None:
    streams = []
    for learn in (True, False):
        memory, log = spied()
        await teach(memory, "Be brief.")
        runs, _ = agent(memory, calls_once("look_up", "one two three"), record=learn)
        stream = []
        async for message, where in runs.astream(asks(), stream_mode="messages"):
            stream.append((type(message).__name__, message.content, where["langgraph_node"]))
            await asyncio.sleep(0.01)
        assert not learn or await _sent(memory, log)
        streams.append(stream)
        await memory.aclose()
    assert streams[0] == streams[1]
    assert [content for kind, content, _ in streams[0] if kind == "AIMessageChunk" and content] == [
        "one ",
        "two ",
        "three ",
    ]


async def _sent(memory: TedMemory, log: Any) -> bool:
    await wait_until(lambda: len(taken_in(memory)) == 1)
    return bool(log.batches)


def _asking(text: str) -> str:
    """A hook that asks a model of its own."""
    return str(Scripted(script=lambda messages: f"foreign {text}").invoke(text).content)


async def _tokens_beside_such_a_hook(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.01)
    memory = TedMemory(
        InMemoryStore(), make_settings(namespace="test"), "test", hooks=Hooks(_asking)
    )
    runs, _ = agent(memory, calls_once("look_up", "one two three"))
    tokens, left = set(), 3
    async for message, _ in runs.astream(asks(), stream_mode="messages"):
        tokens |= {*str(message.content).split()}
        if left:
            left -= 1
            await memory.record(Episode(run_id=str(uuid.uuid4()), error="something"))
            await asyncio.sleep(0.05)
    await memory.aclose()
    return tokens


async def test_what_happens_beside_a_run_stays_out_of_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await _tokens_beside_such_a_hook(monkeypatch) == {"found", "one", "two", "three"}


async def test_in_the_runs_own_context_it_would_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(
        "ted_memory.capture.recorder.contextvars", SimpleNamespace(Context=contextvars.copy_context)
    )
    assert "foreign" in await _tokens_beside_such_a_hook(monkeypatch)


async def test_two_memories_in_one_agent_record_the_same_run_each_with_its_own_lessons(
    memory: TedMemory,
) -> None:
    other = memory.for_namespace("other")
    [mine], [theirs] = await teach(memory, "Be brief."), await teach(other, "Be polite.")
    from ted_memory.integrations.middleware import TedMemoryMiddleware

    second = TedMemoryMiddleware(other, record=True, name="second")
    runs, model = agent(memory, calls_once("look_up"), inside=[second])
    out = await runs.ainvoke(asks())
    [one], [two] = await recorded(memory), await recorded(other)
    assert (one.seen, two.seen) == ((mine,), (theirs,))
    told = out["messages"][-1].response_metadata["ted_memory"]["run_id"]
    assert {one.run_id, two.run_id} == {told}, "feedback can be given to both"
    assert [await m.give_feedback(told, score=1.0) for m in (memory, other)] == ["credited"] * 2
    assert all("Be brief." in str(asked) and "Be polite." in str(asked) for asked in model.asked)
    await other.aclose()
    await memory.aclose()


async def test_with_the_store_down_agents_go_on() -> None:
    nowhere = open_memory("redis://127.0.0.1:1/0", namespace="x")
    out = await agent(nowhere, calls_once("look_up"))[0].ainvoke(asks())
    assert out["messages"][-1].content == "done"
    assert nowhere.health().buffered == 1
    await nowhere.aclose()
    assert (nowhere.health().buffered, nowhere.health().dropped) == (0, 1)


async def test_only_the_share_that_is_asked_for_is_recorded() -> None:
    memory = in_memory(sample_rate=0.5, withhold_share=0.0)
    runs, _ = agent(memory)
    told = [
        (await runs.ainvoke(asks()))["messages"][-1].response_metadata.get("ted_memory")
        for _ in range(40)
    ]
    episodes = await recorded(memory)
    assert 8 < len(episodes) < 32
    assert [e.run_id for e in episodes] == [one["run_id"] for one in told if one]
    await memory.aclose()
