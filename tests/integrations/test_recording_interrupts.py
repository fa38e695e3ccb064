"""Runs that are interrupted and resumed, or not: one episode each, with what was seen."""

import asyncio
from typing import Any

import pytest
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from ted_memory import TedMemory
from ted_memory.integrations.live_run import LiveRun
from ted_memory.testing import in_memory, wait_until
from tests.integrations.agents import agent, asks, call, calls_once, put_on_trial, teach
from tests.integrations.test_recording_troubles import ask_a_person, the_only_one
from tests.spy_log import recorded


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


async def _interrupted(runs: Any, config: Any) -> None:
    assert "__interrupt__" in await runs.ainvoke(asks("What is x?"), config)


THREAD: Any = {"configurable": {"thread_id": "t1", "user_id": "anna"}}


async def test_a_run_that_is_interrupted_and_resumed_is_one_episode(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    runs, _ = agent(
        memory, calls_once("ask_a_person"), tools=[ask_a_person], checkpointer=InMemorySaver()
    )
    await _interrupted(runs, THREAD)
    out = await runs.ainvoke(Command(resume="yes"), THREAD)
    episode = await the_only_one(memory)
    assert (episode.question, episode.answer, episode.error) == ("What is x?", "done", "")
    assert episode.tools == ("ask_a_person({}) -> a person said yes",)
    assert (episode.seen, episode.principal, episode.thread_id) == ((id,), "anna", "t1")
    assert out["messages"][-1].response_metadata["ted_memory"]["run_id"] == episode.run_id


async def test_under_invoke_and_interrupted_twice_it_is_one_too(memory: TedMemory) -> None:
    def says(messages: list[BaseMessage]) -> AIMessage | str:
        results = sum(isinstance(m, ToolMessage) for m in messages)
        return call("ask_a_person", f"c{results}") if results < 2 else "done"

    def work() -> None:
        runs, _ = agent(memory, says, tools=[ask_a_person], checkpointer=InMemorySaver())
        assert "__interrupt__" in runs.invoke(asks(), THREAD)
        assert "__interrupt__" in runs.invoke(Command(resume="yes"), THREAD)
        assert runs.invoke(Command(resume="no"), THREAD)["messages"][-1].content == "done"

    await asyncio.to_thread(work)
    await wait_until(lambda: memory.health().recorded == 1)
    episode = await the_only_one(memory)
    assert [t.rpartition(" ")[2] for t in episode.tools] == ["yes", "no"]


EDITED = {"name": "look_up", "args": {"thing": "y"}}
DECISIONS = [
    ({"type": "approve"}, "-> found"),
    ({"type": "edit", "edited_action": EDITED}, " found y"),
    ({"type": "reject", "message": "not now"}, " not now"),
]


@pytest.mark.parametrize(("decision", "result"), DECISIONS)
async def test_a_person_in_the_loop_is_no_trouble(
    memory: TedMemory, decision: Any, result: str
) -> None:
    person = HumanInTheLoopMiddleware(interrupt_on={"look_up": True})
    runs, _ = agent(memory, calls_once("look_up"), inside=[person], checkpointer=InMemorySaver())
    await _interrupted(runs, THREAD)
    await runs.ainvoke(Command(resume={"decisions": [decision]}), THREAD)
    episode = await the_only_one(memory)
    assert (episode.answer, episode.error) == ("done", "")
    [told] = episode.tools
    assert told.startswith("look_up(")
    assert told.endswith(result)


async def test_another_process_that_resumes_a_run_records_it_with_what_was_seen(
    memory: TedMemory,
) -> None:
    tried = [await put_on_trial(memory, f"On trial {i}.") for i in range(5)]
    saver, elsewhere = InMemorySaver(), in_memory(store=memory.store, withhold_share=0.0)

    def process(opened: TedMemory) -> Any:
        return agent(opened, calls_once("ask_a_person"), tools=[ask_a_person], checkpointer=saver)

    await _interrupted(process(memory)[0], THREAD)
    runs, model = process(elsewhere)
    out = await runs.ainvoke(Command(resume="yes"), THREAD)
    await recorded(elsewhere)
    whole, first = await recorded(memory)
    assert (whole.question, whole.answer, whole.error) == ("What is x?", "done", "")
    assert whole.tools == ("ask_a_person({}) -> a person said yes",)
    assert (whole.seen, whole.withheld) == (first.seen, first.withheld)
    assert {*whole.seen, *whole.withheld} == {*tried}
    assert {
        id for i, id in enumerate(tried) if f"On trial {i}." in str(model.asked[-1][0].content)
    } == {*whole.seen}
    assert out["messages"][-1].response_metadata["ted_memory"]["run_id"] == whole.run_id
    assert (first.answer, first.error) == ("", "abandoned: it did not come to an end")
    await memory.aclose()


async def test_a_run_that_nobody_resumes_is_recorded_and_the_next_one_is_its_own(
    memory: TedMemory,
) -> None:
    runs, _ = agent(
        memory, calls_once("ask_a_person"), tools=[ask_a_person], checkpointer=InMemorySaver()
    )
    await _interrupted(runs, THREAD)
    other, _ = agent(memory, lambda messages: "done", tools=[ask_a_person])
    await other.ainvoke(asks("Something else"), THREAD)
    last, first = await recorded(memory)
    assert (first.question, first.answer) == ("What is x?", "")
    assert (last.question, last.answer, last.error) == ("Something else", "done", "")
    await memory.aclose()


async def test_an_agent_within_a_graph_is_resumed_as_itself(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    inner, _ = agent(memory, calls_once("ask_a_person"), tools=[ask_a_person])
    graph = StateGraph(MessagesState)
    for name in ("one", "two"):
        graph.add_node(name, inner)
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    graph.add_edge(["one", "two"], END)
    outer = graph.compile(checkpointer=InMemorySaver())
    waiting = (await outer.ainvoke(asks(), THREAD))["__interrupt__"]
    assert len(waiting) == 2
    await outer.ainvoke(
        Command(resume={one.id: f"yes {i}" for i, one in enumerate(waiting)}), THREAD
    )
    episodes = await recorded(memory)
    assert [e.error for e in episodes] == ["", ""]
    assert {e.tools for e in episodes} == {
        (f"ask_a_person({{}}) -> a person said yes {i}",) for i in range(2)
    }
    assert {e.seen for e in episodes} == {(id,)}
    await memory.aclose()


async def test_without_learn_an_interrupt_is_no_trouble_either(memory: TedMemory) -> None:
    await teach(memory, "Be brief.")
    runs, model = agent(
        memory,
        calls_once("ask_a_person"),
        tools=[ask_a_person],
        record=False,
        checkpointer=InMemorySaver(),
    )
    await _interrupted(runs, THREAD)
    await runs.ainvoke(Command(resume="yes"), THREAD)
    assert ["Be brief." in str(asked) for asked in model.asked] == [True, True]
    assert await recorded(memory) == []
    await memory.aclose()


async def test_a_question_after_an_interrupt_is_a_run_of_its_own(memory: TedMemory) -> None:
    """The interrupted run of the same conversation is not taken for it."""
    runs, _ = agent(
        memory, calls_once("ask_a_person"), tools=[ask_a_person], checkpointer=InMemorySaver()
    )
    await _interrupted(runs, THREAD)
    answered = [ToolMessage("nobody was there", tool_call_id="c1")]
    await runs.aupdate_state(THREAD, {"messages": answered}, as_node="tools")
    await _interrupted(runs, THREAD)  # "What is x?" once more, in a message of its own
    await runs.ainvoke(Command(resume="yes"), THREAD)
    first, second = sorted(await recorded(memory), key=lambda e: bool(e.answer))
    await memory.aclose()
    assert first.run_id != second.run_id
    assert (first.answer, second.answer) == ("", "done")
    assert len(second.input) > len(first.input)


def test_a_run_is_known_again_by_its_question_whatever_it_was_given_behind_it(
    memory: TedMemory,
) -> None:
    asked, draft = HumanMessage("What is x?", id="q"), AIMessage("A draft.", id="d")
    run = LiveRun(memory, "r", input=(asked, draft))
    assert run.has_been_resumed_at([asked, draft, call("ask_a_person")])
    assert not run.has_been_resumed_at([asked])
    assert not run.has_been_resumed_at([asked, draft, HumanMessage("And y?", id="q2"), draft])
