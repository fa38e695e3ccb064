"""Several runs in one trace, under one name, beside other models: each with its own words."""

import asyncio
import contextlib
import multiprocessing
import queue
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from ted_memory import Add, TedMemory
from ted_memory.episodes import Exposure
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.integrations.under_way import Key, UnderWay, under_way
from ted_memory.models import Experience
from ted_memory.testing import in_memory, wait_until
from tests.integrations.agents import Scripted, agent, asks, call, calls_once, teach
from tests.integrations.findings import Traces
from tests.spy_log import recorded


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


async def test_several_runs_in_one_trace_are_several_runs(memory: TedMemory) -> None:
    inner, _ = agent(memory, lambda messages: f"answer to {messages[-1].text}")

    async def ask(_: Any) -> list[Any]:
        first = [await inner.ainvoke(asks(f"q{i}")) for i in range(2)]
        return [*first, *await inner.abatch([asks("q2"), asks("q3")])]

    tracer = Traces()
    outs = await RunnableLambda(ask).ainvoke("go", {"callbacks": [tracer]})
    told = {e.run_id: (e.question, e.answer) for e in await recorded(memory)}
    assert {*told.values()} == {(f"q{i}", f"answer to q{i}") for i in range(4)}
    assert [told[str(find_run_id(out))][0] for out in outs] == [f"q{i}" for i in range(4)]
    assert {*told} <= {str(run.id) for run in tracer.runs}, "LangSmith knows each of them"


async def test_an_agent_that_another_ones_tool_asks_is_traced_as_a_run_of_its_own(
    memory: TedMemory,
) -> None:
    inner, _ = agent(memory, lambda messages: "from within")

    async def delegate(thing: str = "") -> str:
        """Ask somebody else."""
        return str((await inner.ainvoke(asks("inner")))["messages"][-1].content)

    runs, _ = agent(memory, calls_once("delegate"), tools=[delegate])
    out = await runs.ainvoke(asks("outer"), {"callbacks": [Traces()]})
    told = {e.run_id: e.question for e in await recorded(memory)}
    assert sorted(told.values()) == ["inner", "outer"]
    assert told[str(find_run_id(out))] == "outer"


async def test_two_runs_at_once_under_one_name_of_the_callers_are_two(memory: TedMemory) -> None:
    gate = asyncio.Event()

    async def wait(thing: str = "") -> str:
        """Wait for the other one."""
        await gate.wait()
        return thing

    def says(messages: list[BaseMessage]) -> AIMessage | str:
        asked = next(m.text for m in messages if isinstance(m, HumanMessage))
        if asked == "slow" and not isinstance(messages[-1], ToolMessage):
            return call("wait")
        return f"answer to {asked}"

    runs, _ = agent(memory, says, tools=[wait])
    config: Any = {"run_id": "01234567-89ab-cdef-0123-456789abcdef"}
    slow = asyncio.create_task(runs.ainvoke(asks("slow"), config))
    await asyncio.sleep(0.05)
    await runs.ainvoke(asks("fast"), config)
    gate.set()
    await slow
    told = {(e.question, e.answer) for e in await recorded(memory)}
    assert told == {("slow", "answer to slow"), ("fast", "answer to fast")}


async def test_a_run_that_failed_is_tried_again_under_its_own_name(memory: TedMemory) -> None:
    broken = [True]

    def says(messages: list[BaseMessage]) -> str:
        if broken.pop() if broken else False:
            raise RuntimeError("not yet")
        return "done"

    runs, _ = agent(memory, says)
    config: Any = {"run_id": "01234567-89ab-cdef-0123-456789abcdef"}
    with pytest.raises(RuntimeError):
        await runs.ainvoke(asks(), config)
    out = await runs.ainvoke(asks(), config)
    assert find_run_id(out) == config["run_id"]
    assert [(e.run_id, e.answer) for e in await recorded(memory)] == [(config["run_id"], "done")]


async def test_a_model_that_a_middleware_asks_beside_removes_no_lesson(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    guard = Scripted(script=lambda messages: "fine")

    class Guarded(AgentMiddleware[Any, Any, Any]):
        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            response = await handler(request)
            await guard.ainvoke([HumanMessage("Is this fine?")])
            return response

    runs, _ = agent(memory, inside=[Guarded()])
    await runs.ainvoke(asks())
    assert guard.asked
    assert memory.health().lessons_removed == 0
    assert [e.seen for e in await recorded(memory)] == [(id,)]


async def test_a_turn_that_is_not_recorded_has_no_id_not_that_of_the_turn_before(
    memory: TedMemory,
) -> None:
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "t1"}}
    await agent(memory, checkpointer=saver)[0].ainvoke(asks(), config)
    plain: Any = create_agent(Scripted(), [], checkpointer=saver)
    assert find_run_id(await plain.ainvoke(asks("And now?"), config)) is None
    runs, _ = agent(memory, checkpointer=saver)
    chunks = [c async for c in runs.astream(asks("And then?"), config, stream_mode="values")]
    assert find_run_id(chunks[0]) is None
    assert find_run_id(chunks[-1]) == (await recorded(memory))[-1].run_id


async def test_runs_that_are_resumed_or_fail_are_not_remembered_for_ever(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_a_person() -> str:
        """Ask a person."""
        return str(interrupt("May I?"))

    runs, _ = agent(
        memory, calls_once("ask_a_person"), tools=[ask_a_person], checkpointer=InMemorySaver()
    )
    for i in range(5):
        config: Any = {"configurable": {"thread_id": f"t{i}"}}
        await runs.ainvoke(asks(), config)
        await runs.ainvoke(Command(resume="yes"), config)
    assert len(under_way(memory)._shown) == 0

    def fails(messages: list[BaseMessage]) -> str:
        raise RuntimeError("broken")

    broken, _ = agent(memory, fails)
    for _ in range(5):
        with pytest.raises(RuntimeError):
            await broken.ainvoke(asks())
    assert len(under_way(memory)._shown) == 5
    monkeypatch.setattr("ted_memory.integrations.under_way.LONGEST", 0.0)
    with contextlib.suppress(RuntimeError):
        await broken.ainvoke(asks())
    assert len(under_way(memory)._shown) <= 1
    await memory.aclose()


@pytest.mark.parametrize("guarded", [True, False])
def test_agents_of_many_threads_share_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Without the lock one thread lets go of what another one has just found there."""
    monkeypatch.setattr("ted_memory.integrations.under_way.MOST", 2)
    runs, failed = UnderWay(), list[BaseException]()
    if not guarded:
        monkeypatch.setattr(runs, "_lock", contextlib.nullcontext())

    def work(number: int) -> None:
        try:
            for i in range(4_000):
                key = Key("ours", f"{number % 2}-{i % 3}", "", "")
                runs.show(key, Exposure())
                runs.shown(key)
                runs.close(key)
        except BaseException as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert bool(failed) is not guarded, failed


class HangsAtFirst:
    """A retriever whose first answer never comes."""

    def __init__(self) -> None:
        self.asked = 0

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        return list(experiences)


async def test_a_run_that_is_cancelled_while_lessons_are_chosen_may_come_again_under_its_name() -> (
    None
):
    retriever = HangsAtFirst()
    memory = in_memory(
        retriever=retriever, selection="relevant", withhold_share=0.0, read_timeout=60.0
    )
    await memory.commit([Add(text="Be brief.", when="asked")], author="me")
    runs, _ = agent(memory)
    config: Any = {"run_id": "01234567-89ab-cdef-0123-456789abcdef"}
    first = asyncio.create_task(runs.ainvoke(asks(), config))
    await wait_until(lambda: retriever.asked == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert find_run_id(await runs.ainvoke(asks(), config)) == config["run_id"]
    await memory.aclose()


def ask_in_child(memory: TedMemory, results: Any) -> None:
    asyncio._set_running_loop(None)  # the fork happened inside the parent's loop
    runs, _ = agent(memory)
    results.put(find_run_id(asyncio.run(runs.ainvoke(asks()))))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("anew", [True, False])
async def test_a_forked_child_knows_nothing_of_the_parents_runs(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    """Without a lock of its own the child waits for a thread that it does not have."""
    runs, key = under_way(memory), Key("ours", "the parent's", "", "")
    runs.show(key, Exposure())
    if not anew:
        monkeypatch.setattr(UnderWay, "_begin_anew", lambda self: None)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with runs._lock:  # as when another thread holds it just then
        child = context.Process(target=ask_in_child, args=(memory, results), daemon=True)
        child.start()
    try:
        told = await asyncio.to_thread(results.get, timeout=60 if anew else 3)
        assert anew
        assert told
    except queue.Empty:
        assert not anew
    finally:
        child.kill()
    assert runs.is_open(key), "the parent's goes on"
