"""Feedback: by the tool of an agent, and in the shape that LangSmith gives it."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from ted_memory import Feedback, TedMemory
from ted_memory.errors import InvalidInput
from ted_memory.integrations.tools import NOTHING, TOLD, create_feedback_tool
from ted_memory.testing import in_memory
from tests.integrations.agents import agent, asks, call, look_up, teach
from tests.spy_log import recorded

THREAD: Any = {"configurable": {"thread_id": "t1", "user_id": "anna"}}


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


def rates(**said: Any) -> Callable[[list[BaseMessage]], AIMessage | str]:
    """A script that rates when the user complains, and then tells what the tool said."""

    def script(messages: list[BaseMessage]) -> AIMessage | str:
        if isinstance(messages[-1], ToolMessage):
            return f"tool: {messages[-1].content}"
        if "wrong" in str(messages[-1].content):
            return call("rate_answer", f"c{len(messages)}", **{"score": 0, **said})
        return "It is 4."

    return script


def rating(memory: TedMemory, **more: Any) -> Any:
    said = more.pop("said", {})
    return agent(
        memory,
        rates(**said),
        tools=[create_feedback_tool(memory), look_up],
        checkpointer=InMemorySaver(),
        **more,
    )[0]


def told(out: Any) -> str:
    return str(out["messages"][-1].content).removeprefix("tool: ")


async def feedback_on(memory: TedMemory, run_id: str) -> tuple[Feedback, ...]:
    claims = await memory.store.episodes.claim(
        "test", "me", lease=60, count=100, max_deliveries=3, alone=False
    )
    return next(claim.feedback for claim in claims.claims if claim.episode.run_id == run_id)


async def scores(memory: TedMemory) -> dict[str, float | None]:
    """What was said last of the answer to each question."""
    log = memory.store.episodes
    said = {e.question: (await log.told("test", [e.run_id]))[0] for e in await recorded(memory)}
    return {
        question: next((f.score for f in reversed(told) if f.score is not None), None)
        for question, told in said.items()
    }


async def test_a_second_turn_rates_the_first(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    runs = rating(memory, said={"comment": "too low", "correction": "It is 5."})
    await runs.ainvoke(asks("What is x?"), THREAD)
    assert told(await runs.ainvoke(asks("That is wrong, it is 5."), THREAD)) == TOLD["credited"]
    first, second = await recorded(memory)
    [said] = await feedback_on(memory, first.run_id)
    assert (said.score, said.comment, said.correction, said.principal) == (
        0.0,
        "too low",
        "It is 5.",
        "anna",
    )
    usage = (await memory.usage())[id]
    assert (usage.n_with, usage.successes_with) == (1, 0)
    assert second.answer == f"tool: {TOLD['credited']}"
    await memory.aclose()


async def test_the_next_rating_is_of_the_next_answer(memory: TedMemory) -> None:
    runs = rating(memory)
    for text in ("What is x?", "wrong", "What is y?", "wrong too"):
        out = await runs.ainvoke(asks(text), THREAD)
    assert told(out) == TOLD["credited"]
    assert await scores(memory) == {
        "What is x?": 0.0,
        "wrong": None,
        "What is y?": 0.0,
        "wrong too": None,
    }
    await memory.aclose()


async def test_a_rating_that_is_repeated_rates_the_turn_before_it(memory: TedMemory) -> None:
    runs = rating(memory)
    for text in ("What is x?", "wrong", "wrong again"):
        await runs.ainvoke(asks(text), THREAD)
    assert await scores(memory) == {"What is x?": 0.0, "wrong": 0.0, "wrong again": None}
    await memory.aclose()


async def test_where_there_is_nothing_to_rate_the_model_is_told_so(memory: TedMemory) -> None:
    assert told(await rating(memory).ainvoke(asks("wrong"), THREAD)) == NOTHING
    unrecorded = rating(memory, record=False)
    await unrecorded.ainvoke(asks("What is x?"), THREAD)
    assert told(await unrecorded.ainvoke(asks("wrong"), THREAD)) == NOTHING
    await memory.aclose()


async def test_a_turn_that_is_not_recorded_itself_rates_the_answer_before_it_all_the_same(
    memory: TedMemory,
) -> None:
    saver = InMemorySaver()
    given = {"tools": [create_feedback_tool(memory)], "checkpointer": saver}
    for text in ("What is x?", "What is y?"):
        await agent(memory, rates(), **given)[0].ainvoke(asks(text), THREAD)
    await agent(memory, rates(), record=False, **given)[0].ainvoke(asks("wrong"), THREAD)
    assert await scores(memory) == {"What is x?": None, "What is y?": 0.0}
    await memory.aclose()


@dataclass
class Who:
    user_id: str


@pytest.mark.parametrize("how", ["argument", "context", "configurable"])
async def test_it_counts_under_the_principal_of_the_run(memory: TedMemory, how: str) -> None:
    more: dict[str, Any] = {"principal": "anna"} if how == "argument" else {"context_schema": Who}
    runs = rating(memory, **more)
    config: Any = {"configurable": {"thread_id": "t1"}}
    context = None
    if how == "context":
        context = Who("anna")
    elif how == "configurable":
        config["configurable"]["user_id"] = "anna"
    for text in ("What is x?", "wrong"):
        await runs.ainvoke(asks(text), config, context=context)
    first, _ = await recorded(memory)
    [said] = await feedback_on(memory, first.run_id)
    assert said.principal == first.principal == "anna"
    await memory.aclose()


async def test_one_user_can_be_talked_into_only_so_much_praise() -> None:
    memory = in_memory(rate_limit=3)
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    said = [told(await runs.ainvoke(asks("wrong"), THREAD)) for _ in range(5)]
    assert said[:2] == [TOLD["credited"]] * 2
    assert said[-1] == TOLD["limited"]
    await memory.aclose()


def test_it_works_under_invoke(memory: TedMemory) -> None:
    runs = rating(memory)
    runs.invoke(asks("What is x?"), THREAD)
    assert told(runs.invoke(asks("wrong"), THREAD)) == TOLD["credited"]
    asyncio.run(memory.aclose())


@pytest.mark.parametrize(("score", "kept"), [(7, 1.0), (-3, 0.0), (0.5, 0.5)])
async def test_a_score_of_the_models_is_brought_into_range(
    memory: TedMemory, score: float, kept: float
) -> None:
    runs = rating(memory, said={"score": score, "comment": "half \ud83d"})
    for text in ("What is x?", "wrong"):
        out = await runs.ainvoke(asks(text), THREAD)
    assert told(out) == TOLD["credited"]
    assert (await scores(memory))["What is x?"] == kept
    await memory.aclose()


def test_the_model_sees_only_what_it_is_to_fill_in(memory: TedMemory) -> None:
    tool = create_feedback_tool(memory, name="thumbs")
    assert tool.name == "thumbs"
    shown: Any = tool.tool_call_schema
    assert set(shown.model_json_schema()["properties"]) == {"score", "comment", "correction"}
    assert "latest earlier answer" in tool.description


# --- LangSmith

RUN = uuid.uuid4()


@pytest.mark.parametrize(
    ("given", "score", "comment", "correction"),
    [
        ({"run_id": RUN, "key": "correctness", "score": 1}, 1.0, "", ""),
        ({"run_id": str(RUN), "score": 0.25, "comment": "no"}, 0.25, "no", ""),
        ({"run_id": RUN, "score": True}, 1.0, "", ""),
        ({"run_id": RUN, "score": None, "value": 0}, 0.0, "", ""),
        ({"run_id": RUN, "value": "good"}, None, "", ""),
        ({"run_id": RUN, "score": 0, "correction": {"desired": "It is 5."}}, 0.0, "", "It is 5."),
        ({"run_id": RUN, "score": 0, "correction": {"answer": 5}}, 0.0, "", "5"),
        ({"run_id": RUN, "correction": "It is 5."}, None, "", "It is 5."),
        ({"run_id": RUN, "correction": {}}, None, "", ""),
        ({"run_id": RUN, "comment": None, "extra": {"a": 1}, "feedback_source": {}}, None, "", ""),
    ],
)
def test_feedback_of_langsmiths_shape_is_understood(
    given: Any, score: float | None, comment: str, correction: str
) -> None:
    said = Feedback.from_langsmith(given, principal="anna")
    assert (said.run_id, said.principal) == (str(RUN), "anna")
    assert (said.score, said.comment, said.correction) == (score, comment, correction)


@pytest.mark.parametrize(
    "given",
    [
        {"score": 1},
        {"run_id": RUN, "score": 5},
        {"run_id": RUN, "score": -1},
        {"run_id": RUN, "score": "good"},
        {"run_id": RUN, "score": 10**400},
        {"run_id": "a b"},
    ],
)
def test_what_is_no_feedback_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Feedback.from_langsmith(given)
    assert "\n" not in str(caught.value)
    assert "nothing was counted" in str(caught.value)


async def test_what_langsmith_tells_is_credited(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    await agent(memory)[0].ainvoke(asks(), {"run_id": RUN})
    said = Feedback.from_langsmith({"run_id": RUN, "score": 1, "comment": "yes"}, principal="bert")
    given = said.model_dump(include={"run_id", "score", "comment", "correction", "principal"})
    assert await memory.give_feedback(given.pop("run_id"), **given) == "credited"
    assert (await memory.usage())[id].successes_with == 1
    await memory.aclose()
