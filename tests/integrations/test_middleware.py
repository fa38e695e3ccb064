"""The middleware, in real agents of ``create_agent``."""

import asyncio
import re
import uuid
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from ted_memory import Add, TedMemory, open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.under_way import under_way
from ted_memory.testing import ScriptedChatModel, in_memory

HELLO: Any = {"messages": [HumanMessage(content="Hello", id="h1")]}


class ToolCaller(ScriptedChatModel):
    """Calls the tool it was bound to once, then answers."""

    tool_name: str = ""

    def bind_tools(self, tools: Any, **kwargs: Any) -> "ToolCaller":
        self.tool_name = tools[0].name
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(messages)
        call = {"name": self.tool_name, "args": {}, "id": "t1", "type": "tool_call"}
        last = isinstance(messages[-1], ToolMessage) or not self.tool_name
        message = AIMessage(content="done") if last else AIMessage(content="", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


def caller() -> ToolCaller:
    return ToolCaller(script=lambda _: "")


def systems(model: ScriptedChatModel) -> list[Any]:
    return [m[0].content if isinstance(m[0], SystemMessage) else None for m in model.asked]


@pytest.fixture
async def one_lesson(scratch: TedMemory) -> TedMemory:
    await scratch.commit([Add(text="Be brief.")], author="me")
    return scratch


def _looks_up(memory: TedMemory) -> Any:
    @tool
    async def look_up() -> str:
        """Look something up, while somebody else teaches the agent."""
        await memory.commit([Add(text="Be loud.")], author="someone else")
        return "found"

    return look_up


async def test_all_calls_of_one_run_see_the_same_block_and_the_next_run_sees_what_is_new(
    one_lesson: TedMemory,
) -> None:
    model = caller()
    middleware = [TedMemoryMiddleware(one_lesson)]
    agent = create_agent(
        model, [_looks_up(one_lesson)], system_prompt="You are kind.", middleware=middleware
    )
    before = await one_lesson.render()
    out = await agent.ainvoke(HELLO)
    assert systems(model) == [f"You are kind.\n\n{before}"] * 2
    assert "ted_memory_blocks" not in out

    await agent.ainvoke(HELLO)
    assert (
        systems(model)[2:]
        == [f"You are kind.\n\n{before.replace('Be brief.', 'Be brief.' + chr(10) + '- Be loud.')}"]
        * 2
    )


async def test_it_works_under_invoke_and_in_streams(one_lesson: TedMemory) -> None:
    @tool
    def look_up() -> str:
        """Look something up."""
        return "found"

    block = await one_lesson.render()
    model = caller()
    agent = create_agent(model, [look_up], middleware=[TedMemoryMiddleware(one_lesson)])
    assert agent.invoke(HELLO)["messages"][-1].content == "done"
    assert (await asyncio.to_thread(agent.invoke, HELLO))["messages"][-1].content == "done"
    assert [step async for step in agent.astream(HELLO)]
    assert list(agent.stream(HELLO))
    assert systems(model) == [block] * 8


async def test_an_empty_set_changes_nothing(scratch: TedMemory) -> None:
    model = caller()
    await create_agent(
        model, [], system_prompt="You are kind.", middleware=[TedMemoryMiddleware(scratch)]
    ).ainvoke(HELLO)
    await create_agent(model, [], middleware=[TedMemoryMiddleware(scratch)]).ainvoke(HELLO)
    assert systems(model) == ["You are kind.", None]


async def test_a_prompt_of_blocks_gets_one_plain_block_more_and_no_random_id(
    one_lesson: TedMemory,
) -> None:
    prompt = SystemMessage(content=[{"type": "text", "text": "You are kind."}])
    model = caller()
    agent = create_agent(
        model, [], system_prompt=prompt, middleware=[TedMemoryMiddleware(one_lesson)]
    )
    await agent.ainvoke(HELLO)
    await agent.ainvoke(HELLO)
    first, second = systems(model)
    assert (
        first
        == second
        == [
            {"type": "text", "text": "You are kind."},
            {"type": "text", "text": await one_lesson.render()},
        ]
    )


async def test_nothing_of_it_is_kept_in_checkpoints(one_lesson: TedMemory) -> None:
    saver = InMemorySaver()
    model = caller()
    agent = create_agent(
        model,
        [_looks_up(one_lesson)],
        middleware=[TedMemoryMiddleware(one_lesson)],
        checkpointer=saver,
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    await agent.ainvoke(HELLO, config)
    assert "Lessons from earlier work" not in str([item async for item in saver.alist(config)])
    assert "Lessons from earlier work" not in repr((saver.storage, saver.blobs, saver.writes))
    await agent.ainvoke({"messages": [HumanMessage(content="Again")]}, config)
    assert "Be loud." in str(systems(model)[-1]), (
        "the next turn is not stuck with the last one's block"
    )


async def test_two_memories_in_one_agent_do_not_mix(one_lesson: TedMemory) -> None:
    other = one_lesson.for_namespace("other")
    await other.commit([Add(text="Be polite.")], author="me")
    model = caller()
    both = [TedMemoryMiddleware(one_lesson, name="one"), TedMemoryMiddleware(other, name="two")]
    await create_agent(model, [], middleware=both).ainvoke(HELLO)
    [system] = systems(model)
    assert system.count("Be brief.") == system.count("Be polite.") == 1


async def test_an_agent_that_was_interrupted_goes_on_with_its_lessons(
    one_lesson: TedMemory,
) -> None:
    @tool
    def ask_a_person() -> str:
        """Ask a person."""
        return str(interrupt("May I?"))

    model = caller()
    agent = create_agent(
        model,
        [ask_a_person],
        middleware=[TedMemoryMiddleware(one_lesson)],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in await agent.ainvoke(HELLO, config)
    out = await agent.ainvoke(Command(resume="yes"), config)
    assert out["messages"][-1].content == "done"
    assert systems(model) == [await one_lesson.render()] * 2


@pytest.mark.parametrize("placement", ["system", "user"])
async def test_nothing_comes_between_a_tool_call_and_its_result(
    namespace: str, placement: str
) -> None:
    memory = in_memory(namespace=namespace, placement=placement)
    await memory.commit([Add(text="Be brief.")], author="me")
    model = caller()
    out = await create_agent(
        model, [_looks_up(memory)], middleware=[TedMemoryMiddleware(memory)]
    ).ainvoke(HELLO)
    kinds = [m.type for m in model.asked[-1] if m.type != "system"]
    assert kinds == ["human", "ai", "tool"]
    assert str(model.asked[-1]).count("Lessons from earlier work") == 1
    assert "Lessons from earlier work" not in str(out["messages"]), (
        "the conversation itself is not changed"
    )
    assert not re.search(r"lc_[0-9a-f-]+", str([m.content for m in model.asked[-1]]))


async def test_without_its_store_the_agent_still_answers() -> None:
    nowhere = open_memory("redis://127.0.0.1:1/0", namespace="x")
    model = caller()
    agent = create_agent(model, [], middleware=[TedMemoryMiddleware(nowhere)])
    assert (await agent.ainvoke(HELLO))["messages"][-1].content == "done"
    assert nowhere.health().failed_reads >= 1
    await nowhere.aclose()


async def test_lessons_are_picked_for_the_question(namespace: str) -> None:
    memory = in_memory(namespace=namespace, selection="relevant", top_k=1)
    await memory.commit(
        [Add(text="say red", when="apples"), Add(text="say blue", when="the sky")], author="me"
    )
    model = caller()
    agent = create_agent(model, [], middleware=[TedMemoryMiddleware(memory)])
    await agent.ainvoke({"messages": [HumanMessage(content="What colour has the sky?")]})
    assert "blue" in systems(model)[0]
    assert "red" not in systems(model)[0]


# --- what it takes of an agent


def _nodes(middleware: TedMemoryMiddleware) -> set[str]:
    built = create_agent(caller(), [], middleware=[middleware])
    return {*built.get_graph().nodes} - {"__start__", "__end__", "model"}


def test_an_agent_gets_nodes_only_where_its_runs_are_recorded() -> None:
    memory = in_memory()
    hooks = {"TedMemoryMiddleware.after_agent", "tools"}
    assert not _nodes(TedMemoryMiddleware(memory))
    assert _nodes(TedMemoryMiddleware(memory, record=True)) == hooks
    later = TedMemoryMiddleware(memory)
    later.record = True
    assert _nodes(later) == hooks


class _OnesOwn(TedMemoryMiddleware):
    """A user's subclass, with arguments and a hook of its own."""

    def __init__(self, label: str, memory: TedMemory, *, record: bool) -> None:
        super().__init__(memory, record=record)
        self.label, self.called = label, list[str]()

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.called.append(str(request.tool_call["name"]))
        return await super().awrap_tool_call(request, handler)


@pytest.mark.parametrize("record", [True, False])
async def test_a_class_of_ones_own_has_all_hooks(one_lesson: TedMemory, record: bool) -> None:
    own = _OnesOwn("mine", one_lesson, record=record)
    agent = create_agent(caller(), [_looks_up(one_lesson)], middleware=[own])
    assert (await agent.ainvoke(HELLO))["messages"][-1].content == "done"
    assert own.called == ["look_up"]
    await one_lesson.flush()
    assert one_lesson.health().recorded == record


async def test_each_run_sees_what_was_committed_before_it(one_lesson: TedMemory) -> None:
    """The same message object, so the same id: nothing of the first run is taken for the second."""
    model = caller()
    agent = create_agent(model, [], middleware=[TedMemoryMiddleware(one_lesson)])
    await agent.ainvoke(HELLO)
    await one_lesson.commit([Add(text="Be loud.")], author="somebody")
    await agent.ainvoke(HELLO)
    first, second = map(str, systems(model))
    assert "Be loud." not in first
    assert "Be loud." in second


async def test_runs_at_once_with_one_id_each_keep_their_lessons(scratch: TedMemory) -> None:
    """Though nothing is recorded: what a run is shown stays through the run."""
    topics = [f"topic{i}" for i in range(6)]
    await scratch.commit([Add(text=f"All of {t}.", when=t) for t in topics], author="me")
    memory = in_memory(store=scratch.store, namespace=scratch.namespace, selection="relevant")

    @tool
    async def look_up() -> str:
        """Look something up."""
        await asyncio.sleep(0.01)
        return "found"

    model = caller()
    agent = create_agent(model, [look_up], middleware=[TedMemoryMiddleware(memory)])
    config: Any = {"run_id": uuid.uuid4()}
    asked = [{"messages": [("user", f"What about {t}?")]} for t in topics]
    await asyncio.gather(*(agent.ainvoke(one, config) for one in asked))
    for messages in model.asked:
        topic = str(messages[1].content).removeprefix("What about ").removesuffix("?")
        assert f"All of {topic}." in str(messages[0].content)
    assert len(model.asked) == 12


async def test_what_an_ended_run_was_shown_is_let_go_of(one_lesson: TedMemory) -> None:
    agent = create_agent(caller(), [], middleware=[TedMemoryMiddleware(one_lesson)])
    for _ in range(20):
        await agent.ainvoke({"messages": [("user", "Hello")]})
    assert not under_way(one_lesson)._shown
