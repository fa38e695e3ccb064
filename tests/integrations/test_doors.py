"""What users of LangChain and LangGraph see of us: an id in the state, and nothing else."""

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

from ted_memory import Add, TedMemory, open_memory, open_memory_sync
from ted_memory.episodes import Exposure
from ted_memory.integrations import prompt_watch
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.integrations.under_way import MOST, Key, UnderWay
from ted_memory.testing import in_memory
from tests.integrations.agents import (
    Scripted,
    agent,
    asks,
    calls_once,
    look_up,
    put_on_trial,
    teach,
)
from tests.integrations.findings import Traces, ours
from tests.spy_log import recorded, spied

MODES: list[Any] = ["values", "updates", "debug", "messages", "custom", "tasks", "checkpoints"]


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


# --- state and streams


@pytest.mark.parametrize("mode", MODES)
async def test_no_stream_shows_an_object_of_ours(memory: TedMemory, mode: Any) -> None:
    await teach(memory, "Be brief.")
    runs, _ = agent(memory, calls_once("look_up"), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    chunks = [chunk async for chunk in runs.astream(asks(), config, stream_mode=mode)]
    assert chunks or mode == "custom"
    assert ours(chunks) == []
    pickle.dumps(chunks)


async def test_events_and_traces_show_no_object_of_ours(memory: TedMemory) -> None:
    await teach(memory, "Be brief.")
    runs, _ = agent(memory, calls_once("look_up"))
    tracer = Traces()
    events = [
        event async for event in runs.astream_events(asks(), {"callbacks": [tracer]}, version="v2")
    ]
    assert ours([event["data"] for event in events]) == []
    assert ours([(run.inputs, run.outputs, run.extra) for run in tracer.runs]) == []


async def test_a_run_that_is_over_leaves_nothing_in_its_answer_or_checkpoint(
    memory: TedMemory,
) -> None:
    runs, _ = agent(memory, calls_once("look_up"), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    out = await runs.ainvoke(asks(), config)
    assert set(out) == {"messages"}
    assert set((await runs.aget_state(config)).values) == {"messages"}


# --- copies


def everything(memory: TedMemory) -> list[Any]:
    middleware = TedMemoryMiddleware(memory, record=True, principal="anna")
    return [memory, middleware, TedMemoryCallbackHandler(memory), inject_lessons(memory)]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
async def test_memories_and_integrations_can_be_copied(
    memory_of_a_server: TedMemory, which: int, how: str
) -> None:
    original = everything(memory_of_a_server)[which]
    made = pickle.loads(pickle.dumps(original)) if how == "pickle" else copy.deepcopy(original)
    opened: TedMemory = made.func.args[0] if which == 3 else getattr(made, "memory", made)
    assert opened is not memory_of_a_server
    assert opened.store is not memory_of_a_server.store
    async with opened:
        assert await opened.render() == await memory_of_a_server.render()
    assert await memory_of_a_server.load(), "closing the copy left the original's connections alone"
    if which == 1:
        agent_of_copy = create_agent(Scripted(), [], middleware=[made])
        assert (await agent_of_copy.ainvoke(asks()))["messages"][-1].content == "done"
        await opened.aclose()


@pytest.fixture
async def memory_of_a_server(valkey: Any, namespace: str) -> Any:
    async with open_memory(valkey.url, namespace=namespace) as opened:
        await opened.commit([Add(text="Be brief.")], author="me")
        yield opened


def test_memories_of_a_folder_are_copied_as_their_folder(tmp_path: Path) -> None:
    opened = open_memory_sync(home=str(tmp_path / "home"))
    with opened:
        opened.commit([Add(text="Be brief.")], author="me")
        with pickle.loads(pickle.dumps(opened)) as other:
            assert other.render() == opened.render()


async def test_over_a_client_of_ones_own_a_copy_shares_it_and_a_pickle_says_what_to_do(
    valkey: Any, namespace: str
) -> None:
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        # a busy machine may need more than 50 ms for the first read of a copy
        opened = open_memory(client=client, namespace=namespace, read_timeout=5.0)
        await opened.commit([Add(text="Be brief.")], author="me")
        assert "Be brief." in await copy.deepcopy(opened).render()
        with pytest.raises(TypeError, match="open it with a URL"):
            pickle.dumps(opened)
        await opened.aclose()


async def test_embeddings_of_a_copy_hold_no_vectors() -> None:
    pytest.importorskip("numpy", reason="of the extra embeddings")
    from ted_memory.retrieval.embeddings import EmbeddingRetriever
    from tests.retrieval.worlds import TopicEmbeddings

    retriever = EmbeddingRetriever(TopicEmbeddings(), name="letters")
    made = pickle.loads(pickle.dumps(retriever))
    assert (made._name, made._held) == ("letters", {})


# --- lessons that another middleware removes


@dynamic_prompt
def _another_prompt(request: Any) -> str:
    return "You are somebody else."


async def test_lessons_that_a_later_middleware_removes_are_not_credited(
    memory: TedMemory, caplog: pytest.LogCaptureFixture
) -> None:
    prompt_watch._warn_once.cache_clear()
    [id] = await teach(memory, "Be brief.")
    runs, model = agent(memory, inside=[_another_prompt])
    with caplog.at_level(logging.WARNING, "ted_memory"):
        await runs.ainvoke(asks())
        await runs.ainvoke(asks())
    assert "Be brief." not in str(model.asked)
    assert [episode.seen for episode in await recorded(memory)] == [(), ()]
    assert memory.health().lessons_removed == 2
    assert [r.message.count("middleware=[...]") for r in caplog.records] == [1]
    await memory.aclose()

    runs, model = agent(memory, around=[_another_prompt])
    await runs.ainvoke(asks())
    assert "Be brief." in str(model.asked)
    assert (await recorded(memory))[-1].seen == (id,)
    assert memory.health().lessons_removed == 2


async def test_while_lessons_are_removed_withheld_ones_are_not_credited_either(
    memory: TedMemory,
) -> None:
    """Else outcomes without a lesson would count, and none of those with it."""
    await put_on_trial(memory, "Be brief.")
    runs, _ = agent(memory, inside=[_another_prompt])
    for i in range(20):
        await runs.ainvoke(asks(), {"configurable": {"thread_id": f"t{i}"}})
    told = await recorded(memory)
    first = next(i for i, e in enumerate(told) if not e.withheld)
    assert first < 10, "the lesson was shown, and seen to be removed"
    assert [e.withheld for e in told[first:]] == [()] * len(told[first:])


async def test_solved_tasks_that_reach_the_model_are_not_taken_for_removed() -> None:
    shown = Exposure(block="Lessons.", turns=(("1+1?", "2"),))
    whole = [
        SystemMessage("You are. Lessons."),
        HumanMessage("1+1?"),
        AIMessage("2"),
        HumanMessage("2+2?"),
    ]
    assert prompt_watch._stands_in(shown, whole)
    assert not prompt_watch._stands_in(shown, whole[1:])
    assert not prompt_watch._stands_in(shown, [whole[0], whole[3]])


@pytest.mark.parametrize("placement", ["system", "user"])
def test_synchronous_agents_are_watched_too(placement: Any) -> None:
    memory = in_memory(withhold_share=0.0, placement=placement)
    import asyncio

    [id] = asyncio.run(teach(memory, "Be brief."))
    runs, _ = agent(memory)
    runs.invoke(asks())
    assert memory.health().lessons_removed == 0
    runs, _ = agent(memory, inside=[_another_prompt])
    runs.invoke(asks())
    assert memory.health().lessons_removed == (1 if placement == "system" else 0)
    assert id


# --- the run's id


class Verdict(BaseModel):
    """What an agent answers in a form of ours."""

    right: bool


async def test_the_id_of_a_run_is_found_in_structured_answers(memory: TedMemory) -> None:
    def says(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(
            "",
            tool_calls=[
                {"name": "Verdict", "args": {"right": True}, "id": "v1", "type": "tool_call"}
            ],
        )

    runs, _ = agent(memory, says, response_format=ToolStrategy(Verdict))
    out = await runs.ainvoke(asks())
    assert out["structured_response"] == Verdict(right=True)
    [episode] = await recorded(memory)
    assert find_run_id(out) == episode.run_id


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", ["values", "updates", "messages", ["updates", "messages"]])
async def test_the_id_of_a_run_is_in_its_stream(
    memory: TedMemory, mode: Any, subgraphs: bool
) -> None:
    runs, _ = agent(memory, lambda messages: "It is four.")
    chunks = [c async for c in runs.astream(asks(), stream_mode=mode, subgraphs=subgraphs)]
    [episode] = await recorded(memory)
    assert {find_run_id(chunk) for chunk in chunks} - {None} == {episode.run_id}
    tokens = [c for c in chunks if isinstance(c, tuple) and isinstance(c[0], AIMessageChunk)]
    assert all(find_run_id(token) for token in tokens)


@pytest.mark.parametrize(
    "given", [None, "text", 3, [], {}, {"messages": []}, AIMessage("a"), {"a": {"b": {"c": {}}}}]
)
def test_where_no_id_is_told_none_is_found(given: Any) -> None:
    assert find_run_id(given) is None


async def test_the_latest_answer_of_a_conversation_tells_its_run(memory: TedMemory) -> None:
    runs, _ = agent(memory, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    first, second = await runs.ainvoke(asks(), config), await runs.ainvoke(asks("And now?"), config)
    assert find_run_id(first) != find_run_id(second)
    assert find_run_id(second) == (await recorded(memory))[-1].run_id


async def test_the_traced_root_run_is_the_run(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    runs, _ = agent(memory, calls_once("look_up"), checkpointer=InMemorySaver())
    tracer = Traces()
    await runs.ainvoke(asks(), {"callbacks": [tracer], "configurable": {"thread_id": "t1"}})
    [episode] = await recorded(memory)
    assert str(tracer.runs[0].id) == episode.run_id
    told = [
        run.extra["metadata"]
        for run in tracer.runs
        if run.run_type == "llm" or run is tracer.runs[0]
    ]
    assert len(told) == 3, "the root and two calls of a model"
    for metadata in told:
        assert metadata["ted_memory_namespace"] == "test"
        assert (metadata["ted_memory_version"], metadata["ted_memory_seen"]) == (1, [id])
        assert metadata["ted_memory_run_id"] == episode.run_id


async def test_the_callers_id_goes_before_the_traced_one(memory: TedMemory) -> None:
    runs, _ = agent(memory)
    run_id = "01234567-89ab-cdef-0123-456789abcdef"
    await runs.ainvoke(asks(), {"callbacks": [Traces()], "run_id": run_id})
    assert [e.run_id for e in await recorded(memory)] == [run_id]


# --- an outage with large messages


@pytest.mark.parametrize("buffer_bytes", [20_000, 10**6])
async def test_runs_that_wait_for_the_store_are_bounded_in_bytes(buffer_bytes: int) -> None:
    memory, log = spied(buffer_bytes=buffer_bytes, withhold_share=0.0)
    log.away = 10**9
    runs, _ = agent(memory)
    picture = {"type": "image", "base64": "A" * 6_000, "mime_type": "image/png"}
    asked: Any = {"messages": [HumanMessage([{"type": "text", "text": "What is it?"}, picture])]}
    for _ in range(5):
        await runs.ainvoke(asked)
    kept = 3 if buffer_bytes == 20_000 else 5
    assert (memory.health().buffered, memory.health().dropped) == (kept, 5 - kept)
    log.away = 0
    await memory.flush()
    assert memory.health().recorded == kept
    await runs.ainvoke(asked)
    assert (memory.health().buffered, memory.health().dropped) == (1, 5 - kept), (
        "there is room again"
    )
    await memory.aclose()


# --- many at once


async def test_an_agent_within_an_agent_is_a_run_of_its_own(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    inner, inner_model = agent(memory)
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    whole: Any = graph.compile()

    async def ask(thing: str = "") -> str:
        """Ask another agent."""
        out = await whole.ainvoke(asks(thing))
        return str(out["messages"][-1].content)

    runs, model = agent(memory, calls_once("ask"), tools=[ask])
    await runs.ainvoke(asks(), {"run_id": "01234567-89ab-cdef-0123-456789abcdef"})
    told = await recorded(memory)
    assert len({e.run_id for e in told}) == 2
    assert [e.seen for e in told] == [(id,), (id,)]
    assert all("Be brief." in str(asked[0].content) for asked in [*model.asked, *inner_model.asked])


def test_what_runs_are_shown_is_remembered_in_bounds() -> None:
    runs = UnderWay()
    for i in range(MOST + 5):
        runs.show(Key("ours", str(i), "", ""), Exposure())
    assert len(runs._shown) == MOST
    assert runs.shown(Key("ours", "4", "", "")) is None
    assert runs.shown(Key("ours", "5", "", "")) is not None


async def test_tools_of_an_agent_are_sent_no_object_of_ours(memory: TedMemory) -> None:
    runs, _ = agent(memory, calls_once("look_up"), tools=[look_up], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    tasks = [c async for c in runs.astream(asks(), config, stream_mode="tasks")]
    sent = [c["input"] for c in tasks if c["name"] == "tools" and "input" in c]
    assert sent
    assert ours(sent) == []
