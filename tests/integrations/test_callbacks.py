"""The callback handler: runs of models, chains, functions and graphs become episodes."""

import uuid
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from ted_memory import TedMemory
from ted_memory.episodes import Episode
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.runnable import inject_lessons
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
from tests.integrations.test_recording_troubles import Boom, fails
from tests.spy_log import recorded


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


@pytest.fixture
def handler(memory: TedMemory) -> TedMemoryCallbackHandler:
    return TedMemoryCallbackHandler(memory)


async def the_only_one(handler: TedMemoryCallbackHandler) -> Episode:
    [episode] = await recorded(handler.memory)
    await handler.memory.aclose()
    assert keeps_nothing(handler)
    return episode


def keeps_nothing(handler: TedMemoryCallbackHandler) -> bool:
    return not any((handler._runs, handler._roots, handler._children, handler._tools))


def told(message: BaseMessage) -> dict[str, Any]:
    return dict(message.response_metadata["ted_memory"])


def says(text: str = "It is 4.") -> Scripted:
    return Scripted(script=lambda messages: text)


# --- models


async def test_a_model_that_is_called_by_itself_is_recorded(
    handler: TedMemoryCallbackHandler,
) -> None:
    given = uuid.uuid4()
    metadata = {"thread_id": "t1", "user_id": "anna"}
    config: Any = {"callbacks": [handler], "run_id": given, "tags": ["shop"], "metadata": metadata}
    out = await says().ainvoke("What is x?", config)
    episode = await the_only_one(handler)
    assert told(out) == {"run_id": str(given), "namespace": "test", "version": 0}
    assert (episode.run_id, episode.thread_id, episode.principal) == (str(given), "t1", "anna")
    assert (episode.question, episode.answer, episode.error) == ("What is x?", "It is 4.", "")
    assert "shop" in episode.tags
    assert episode.model == "scripted"
    assert episode.latency is not None


async def test_a_model_of_plain_text_is_recorded_too(handler: TedMemoryCallbackHandler) -> None:
    await FakeListLLM(responses=["It is 4."]).ainvoke("What is x?", {"callbacks": [handler]})
    episode = await the_only_one(handler)
    assert (episode.question, episode.answer) == ("What is x?", "It is 4.")


async def test_a_cached_answer_tells_each_caller_of_its_own_run(
    handler: TedMemoryCallbackHandler,
) -> None:
    model = Scripted(script=lambda messages: "It is 4.", cache=InMemoryCache())
    first = await model.ainvoke("Hi", {"callbacks": [handler]})
    before = told(first)
    second = await model.ainvoke("Hi", {"callbacks": [handler]})
    assert len(model.asked) == 1
    assert told(first) == before
    assert told(second)["run_id"] != before["run_id"]
    assert [e.run_id for e in await recorded(handler.memory)] == [
        before["run_id"],
        told(second)["run_id"],
    ]
    await handler.memory.aclose()


@pytest.mark.parametrize("how", ["argument", "configurable", "metadata", "nowhere"])
async def test_who_is_behind_a_run_is_found_where_it_is_said(memory: TedMemory, how: str) -> None:
    handler = TedMemoryCallbackHandler(memory, principal="anna" if how == "argument" else None)
    config: Any = {"callbacks": [handler]}
    if how in {"configurable", "metadata"}:
        config[how] = {"user_id": "anna", "thread_id": "t1"}
    await (inject_lessons(memory) | says()).ainvoke("Hi", config)
    episode = await the_only_one(handler)
    assert episode.principal == ("anonymous" if how == "nowhere" else "anna")
    assert episode.thread_id == ("t1" if how in {"configurable", "metadata"} else "")


# --- chains


async def test_a_chain_tells_what_it_saw_and_what_was_withheld(
    memory: TedMemory, handler: TedMemoryCallbackHandler
) -> None:
    active = await teach(memory, "Be brief.")
    tried = await put_on_trial(memory, "On trial.")
    model = says()
    chain = inject_lessons(memory) | model
    outs = [await chain.ainvoke("What is x?", {"callbacks": [handler]}) for _ in range(30)]
    episodes = await recorded(memory)
    for episode, asked, out in zip(episodes, model.asked, outs, strict=True):
        shown = "On trial." in str(asked[0].content)
        assert episode.seen == ((*active, tried) if shown else tuple(active))
        assert episode.withheld == (() if shown else (tried,))
        assert episode.version == told(out)["version"] == (await memory.load()).version
        assert told(out)["run_id"] == episode.run_id
        assert [m.content for m in episode.input] == ["What is x?"], "without our block"
        assert episode.answer == "It is 4."
    assert {bool(e.withheld) for e in episodes} == {True, False}
    await memory.aclose()


async def test_one_conversation_is_assigned_alike_throughout(
    memory: TedMemory, handler: TedMemoryCallbackHandler
) -> None:
    await put_on_trial(memory, "On trial.")
    chain = inject_lessons(memory) | says()
    for i in range(30):
        await chain.ainvoke(
            "Hi", {"callbacks": [handler], "configurable": {"thread_id": f"t{i % 10}"}}
        )
    pairs = {(e.thread_id, e.seen) for e in await recorded(memory)}
    assert len(pairs) == 10
    assert len({seen for _, seen in pairs}) == 2
    await memory.aclose()


async def test_a_handler_of_another_memory_does_not_meddle(memory: TedMemory) -> None:
    await teach(memory, "Be brief.")
    other = TedMemoryCallbackHandler(in_memory(namespace="other"))
    model = says()
    await (inject_lessons(memory) | model).ainvoke("Hi", {"callbacks": [other]})
    assert "Be brief." in str(model.asked[0])
    assert (await the_only_one(other)).seen == ()
    await memory.aclose()


INPUTS: list[tuple[Any, str]] = [
    ("What is x?", "What is x?"),
    ({"question": "What is x?", "more": 1}, "What is x?"),
    ({"input": "What is x?"}, "What is x?"),
    ({"messages": [HumanMessage("What is x?")]}, "What is x?"),
    ({"messages": [{"role": "user", "content": "What is x?"}]}, "What is x?"),
    ({"messages": [("user", "What is x?")]}, "What is x?"),
    ({"x": 1}, '{"x": 1}'),
    ({"messages": [{"no": "message"}]}, "[{'no': 'message'}]"),
    ([HumanMessage("What is x?")], "What is x?"),
    (
        ChatPromptTemplate.from_messages([("user", "{said}")]).invoke({"said": "What is x?"}),
        "What is x?",
    ),
    (7, "7"),
]


@pytest.mark.parametrize(("given", "question"), INPUTS)
async def test_a_function_is_recorded_whatever_it_takes(
    handler: TedMemoryCallbackHandler, given: Any, question: str
) -> None:
    await RunnableLambda(lambda _: "It is 4.").ainvoke(given, {"callbacks": [handler]})
    episode = await the_only_one(handler)
    assert (episode.question, episode.answer) == (question, "It is 4.")


@pytest.mark.parametrize(
    ("gives", "answer"),
    [
        ("It is 4.", "It is 4."),
        ({"answer": "It is 4."}, "It is 4."),
        ({"messages": [AIMessage("It is 4.")]}, "It is 4."),
        ({"messages": [{"role": "assistant", "content": "It is 4."}]}, "It is 4."),
        (AIMessage("It is 4."), "It is 4."),
        ({"x": 4}, '{"x": 4}'),
        (4, "4"),
        (["a", "b"], "['a', 'b']"),
    ],
)
async def test_a_function_is_recorded_whatever_it_gives(
    handler: TedMemoryCallbackHandler, gives: Any, answer: str
) -> None:
    await RunnableLambda(lambda _: gives).ainvoke("Hi", {"callbacks": [handler]})
    assert (await the_only_one(handler)).answer == answer


# --- failures


async def test_what_fails_is_recorded_with_its_error(
    memory: TedMemory, handler: TedMemoryCallbackHandler
) -> None:
    ids = await teach(memory, "Be brief.")
    broken = Scripted(script=fails(10))

    def raises(_: Any) -> str:
        raise Boom("the function broke")

    for runnable in (inject_lessons(memory) | broken, broken, RunnableLambda(raises)):
        with pytest.raises(Boom):
            await runnable.ainvoke("What is x?", {"callbacks": [handler]})
    chain, model, function = await recorded(memory)
    assert chain.error == model.error == "Boom: the model broke"
    assert function.error == "Boom: the function broke"
    assert {e.question for e in (chain, model, function)} == {"What is x?"}
    assert list(chain.seen) == ids
    assert keeps_nothing(handler)
    await memory.aclose()


async def test_a_chain_that_tries_again_and_succeeds_is_one_episode_without_the_error(
    memory: TedMemory, handler: TedMemoryCallbackHandler
) -> None:
    shaky = Scripted(script=fails(1)).with_retry(
        wait_exponential_jitter=False, stop_after_attempt=2
    )
    await (inject_lessons(memory) | shaky).ainvoke("Hi", {"callbacks": [handler]})
    episode = await the_only_one(handler)
    assert (episode.error, episode.answer) == ("", "It is 4.")


# --- graphs


async def test_an_agent_is_recorded_with_its_tools_and_only_what_is_new(
    handler: TedMemoryCallbackHandler,
) -> None:
    runs, _ = agent(
        in_memory(),
        calls_once("look_up", "It is 4.", thing="x"),
        record=False,
        checkpointer=InMemorySaver(),
    )
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t1"}}
    for asked in (
        asks("Question 0"),
        {"messages": [{"role": "user", "content": "Question 1"}]},
        asks("Question 2"),
    ):
        out = await runs.ainvoke(asked, config)
    episodes = await recorded(handler.memory)
    assert [e.question for e in episodes] == [f"Question {i}" for i in range(3)]
    assert [[m.content for m in e.output] for e in episodes] == [["It is 4."]] * 3
    for episode in episodes:
        [one] = episode.tools
        assert one.startswith("look_up(")
        assert one.endswith("-> found x")
    assert told(out["messages"][-1])["run_id"] == episodes[-1].run_id
    assert keeps_nothing(handler)
    await handler.memory.aclose()


async def test_a_graph_that_is_resumed_is_recorded_with_what_it_was_asked(
    handler: TedMemoryCallbackHandler,
) -> None:
    async def node(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"You said {interrupt('May I?')}.")]}

    graph = StateGraph(MessagesState).add_node("node", node)
    compiled = (
        graph.add_edge(START, "node").add_edge("node", END).compile(checkpointer=InMemorySaver())
    )
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t1"}}
    await compiled.ainvoke(asks("What is x?"), config)
    await compiled.ainvoke(Command(resume="yes"), config)
    first, second = await recorded(handler.memory)
    assert (first.question, first.answer) == ("What is x?", "")
    assert (second.question, second.answer, second.error) == ("What is x?", "You said yes.", "")
    await handler.memory.aclose()


async def test_a_tool_that_fails_is_told_with_its_error(handler: TedMemoryCallbackHandler) -> None:
    async def work(_: Any, config: Any) -> str:
        await look_up.ainvoke({"thing": "x"}, config)
        broken = look_up.model_copy(update={"func": lambda thing: 1 / 0})
        try:
            return str(await broken.ainvoke({"thing": "y"}, config))
        except ZeroDivisionError:
            return "It broke."

    await RunnableLambda(work).ainvoke("Hi", {"callbacks": [handler]})
    episode = await the_only_one(handler)
    assert episode.tools == (
        "look_up({'thing': 'x'}) -> found x",
        "look_up({'thing': 'y'}) -> failed: division by zero",
    )
    assert (episode.answer, episode.error) == ("It broke.", "")


async def test_only_the_share_that_is_asked_for_is_recorded_and_nothing_is_kept_of_the_others() -> (
    None
):
    handler = TedMemoryCallbackHandler(in_memory(sample_rate=0.0))
    out = await (inject_lessons(handler.memory) | says()).ainvoke("Hi", {"callbacks": [handler]})
    assert "ted_memory" not in out.response_metadata
    assert keeps_nothing(handler)
    assert await recorded(handler.memory) == []
