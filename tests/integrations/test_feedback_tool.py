"""Feedback: by the tool that an agent passes it on with, and in the shape that LangSmith gives it."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from ted_memory import Feedback, TedMemory, open_memory
from ted_memory.capture.recorder import Recorder
from ted_memory.errors import InvalidInput, StoreRefused, StoreUnavailable
from ted_memory.integrations import tools
from ted_memory.integrations.tools import LATER, LEAST, NOTHING, TOLD, create_feedback_tool
from ted_memory.testing import in_memory, wait_until
from tests.conftest import Server
from tests.integrations.agents import agent, asks, call, look_up, teach
from tests.spy_log import SpyLog, recorded, spied, taken_in

THREAD: Any = {"configurable": {"thread_id": "t1", "user_id": "anna"}}


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


def rates(**said: Any) -> Callable[[list[BaseMessage]], AIMessage | str]:
    """Return a script that rates when the user complains or thanks, and tells what the tool said."""

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
    """Return what was said last of the answer to each question."""
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


# --- a store that is slow or away


async def arrived(memory: TedMemory) -> list[float | None]:
    """Return the scores that are at the store; nothing is sent for it."""
    found = await memory.store.episodes.told("test", [e.run_id for e in taken_in(memory)])
    return [said.score for of_run in found for said in of_run]


def hanging(log: SpyLog, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have feedback wait until the event that is returned."""
    real, there = log.feedback, asyncio.Event()

    async def slow(*args: Any) -> Any:
        await there.wait()
        return await real(*args)

    monkeypatch.setattr(log, "feedback", slow)
    return there


async def test_what_is_said_while_the_store_is_away_waits_as_runs_do() -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
    with pytest.raises(StoreUnavailable):
        await memory.flush()
    log.away = 0
    await memory.flush()
    assert (await scores(memory))["What is x?"] == 0.0
    await memory.aclose()


async def test_what_is_said_while_the_store_is_away_is_sent_without_being_asked_for() -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
    log.away = 0

    async def there() -> bool:
        return await arrived(memory) == [0.0]

    await wait_until(there, what="the feedback")
    await memory.aclose()


async def test_an_agent_waits_for_a_slow_store_no_longer_than_is_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    there = hanging(log, monkeypatch)
    try:
        out = await asyncio.wait_for(runs.ainvoke(asks("wrong"), THREAD), 10 * LEAST)
        assert told(out) == LATER
    finally:
        there.set()
        await memory.flush()
        assert await arrived(memory) == [0.0]
        await memory.aclose()


async def test_were_it_more_patient_an_agent_would_wait_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control."""
    monkeypatch.setattr(tools, "LEAST", 60.0)
    with pytest.raises(TimeoutError):
        await test_an_agent_waits_for_a_slow_store_no_longer_than_is_promised(monkeypatch)


@pytest.mark.parametrize("end", ["flush", "aclose"])
def test_what_is_still_being_sent_is_not_lost_with_its_loop(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, log = spied()

    async def program() -> None:
        runs, real = rating(memory), log.feedback

        async def slow(*args: Any) -> Any:
            await asyncio.sleep(1)
            return await real(*args)

        await runs.ainvoke(asks("What is x?"), THREAD)
        monkeypatch.setattr(log, "feedback", slow)
        assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
        await getattr(memory, end)()

    asyncio.run(program())
    assert asyncio.run(arrived(memory)) == [0.0]


@pytest.mark.parametrize("end", ["flush", "aclose"])
def test_were_it_not_in_the_buffer_it_would_be_lost(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing but the tool's own task sends it."""

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr(Recorder, "_send_all", nothing)
    with pytest.raises(AssertionError):
        test_what_is_still_being_sent_is_not_lost_with_its_loop(end, monkeypatch)


PROGRAM = """
import asyncio, sys
from ted_memory import open_memory
from ted_memory.integrations import tools
from ted_memory.memory import sync_bridge
from tests.integrations.test_feedback_tool import THREAD, asks, rating, told

_, url, namespace, how = sys.argv
if how == "control":
    sync_bridge._Bridge.flush_recorded = lambda self: None
memory = open_memory(url, namespace=namespace)
log, calls = memory.store.episodes, []
real = log.feedback

async def slow(*args):
    calls.append(args)
    if len(calls) == 1:
        await asyncio.sleep(60)
    return await real(*args)

async def program():
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    await memory.flush()
    log.feedback = slow
    print(told(await runs.ainvoke(asks("wrong"), THREAD)))

asyncio.run(program())
"""


@pytest.mark.parametrize(("how", "count"), [("as it is", 1), ("control", 0)])
def test_what_is_still_being_sent_when_a_program_ends_is_sent_then(
    valkey: Server, namespace: str, how: str, count: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, valkey.url, namespace, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, LATER), done.stderr

    async def arrived() -> int:
        async with open_memory(valkey.url, namespace=namespace) as memory:
            asked = {"lease": 60, "count": 9, "max_deliveries": 3, "alone": False}
            found = (await memory.store.episodes.claim(namespace, "me", **asked)).claims
            return sum(len(claim.feedback) for claim in found)

    assert asyncio.run(arrived()) == count


async def test_what_the_store_refuses_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)

    async def refuses(*_: Any) -> Any:
        raise StoreRefused("no right to do so")

    with monkeypatch.context() as patch:
        patch.setattr(log, "feedback", refuses)
        assert (
            told(await runs.ainvoke(asks("wrong"), THREAD))
            == "It could not be noted: no right to do so"
        )
    await memory.flush()
    assert (await scores(memory))["What is x?"] is None
    await memory.aclose()


async def test_what_finds_the_buffer_full_is_told_so() -> None:
    memory, log = spied(buffer=3)
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    said = [told(await runs.ainvoke(asks("wrong"), THREAD)) for _ in range(4)]
    assert said[0] == LATER
    assert said[-1].startswith("It could not be noted: the buffer is full")
    log.away = 0
    await memory.aclose()


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
