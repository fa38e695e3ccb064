"""Runs that fail, are tried again or are cut off: one episode each, with what was seen."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRetryMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.types import interrupt

from ted_memory import TedMemory
from ted_memory.episodes import Episode
from ted_memory.integrations.live_run import LiveRun
from ted_memory.testing import in_memory, wait_until
from tests.integrations.agents import Says, agent, asks, call, calls_once, teach
from tests.spy_log import recorded, spied, taken_in


class Boom(Exception):  # noqa: N818
    """What models and tools of these tests raise."""


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(withhold_share=0.0)


@tool
async def break_down() -> str:
    """Break down."""
    raise Boom("the tool broke")


@tool
async def hang() -> str:
    """Hang."""
    await asyncio.sleep(60)
    return "never"


@tool
def ask_a_person(question: str = "") -> str:
    """Ask a person."""
    return f"a person said {interrupt('May I?')}"


def fails(times: int, then: Says = lambda messages: "It is 4.") -> Says:
    """A script that raises so many times, and then goes on."""
    left = [times]

    def script(messages: list[BaseMessage]) -> AIMessage | str:
        if left[0]:
            left[0] -= 1
            raise Boom("the model broke")
        return then(messages)

    return script


async def the_only_one(memory: TedMemory) -> Episode:
    [episode] = await recorded(memory)
    await memory.aclose()
    return episode


# --- failures


async def test_a_model_that_raises_ends_a_run_that_is_recorded_with_its_error(
    memory: TedMemory,
) -> None:
    [id] = await teach(memory, "Be brief.")
    with pytest.raises(Boom):
        await agent(memory, fails(1))[0].ainvoke(asks("What is x?"))
    episode = await the_only_one(memory)
    assert episode.error == "Boom: the model broke"
    assert (episode.question, episode.answer, episode.seen) == ("What is x?", "", (id,))
    assert episode.latency is not None


def test_under_invoke_too(memory: TedMemory) -> None:
    with pytest.raises(Boom):
        agent(memory, fails(1))[0].invoke(asks())
    assert asyncio.run(the_only_one(memory)).error == "Boom: the model broke"


async def test_a_tool_that_raises_ends_a_run_that_is_recorded_with_the_call(
    memory: TedMemory,
) -> None:
    with pytest.raises(Boom):
        await agent(memory, calls_once("break_down"), tools=[break_down])[0].ainvoke(asks())
    episode = await the_only_one(memory)
    assert episode.error == "Boom: the tool broke"
    assert episode.tools == ("break_down({}) -> (no result)",)


async def test_of_two_tools_at_once_the_one_that_broke_is_told(memory: TedMemory) -> None:
    both = AIMessage(
        content="",
        tool_calls=[*call("hang", "c1").tool_calls, *call("break_down", "c2").tool_calls],
    )
    with pytest.raises(Boom):
        await agent(memory, lambda messages: both, tools=[break_down, hang])[0].ainvoke(asks())
    assert (await the_only_one(memory)).error == "Boom: the tool broke"


async def test_a_failure_is_sent_by_itself_when_nothing_more_comes(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.integrations.live_run.SETTLED", 0.1)
    with pytest.raises(Boom):
        await agent(memory, fails(1))[0].ainvoke(asks())
    assert taken_in(memory) == []
    await wait_until(lambda: len(taken_in(memory)) == 1)
    await memory.aclose()


async def test_a_run_that_is_cancelled_is_recorded(memory: TedMemory) -> None:
    [id] = await teach(memory, "Be brief.")
    for tools, says in (([hang], calls_once("hang")), ([], lambda messages: "never")):
        runs, model = agent(memory, says, tools=tools)
        model.delay = 0.0 if tools else 60.0
        task = asyncio.create_task(runs.ainvoke(asks()))
        await asyncio.sleep(0.15)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    first, second = await recorded(memory)
    assert first.error.startswith("CancelledError")
    assert second.error.startswith("CancelledError")
    assert first.seen == second.seen == (id,)
    await memory.aclose()


@pytest.mark.parametrize(
    ("mode", "error"), [("messages", "CancelledError"), ("updates", "abandoned")]
)
async def test_a_stream_that_is_closed_early_is_recorded_with_what_was_seen(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, mode: str, error: str
) -> None:
    for name in ("ABANDONED", "SETTLED"):
        monkeypatch.setattr(f"ted_memory.integrations.live_run.{name}", 0.3)
    [id] = await teach(memory, "Be brief.")
    stream = agent(memory, lambda messages: "one two three")[0].astream(asks(), stream_mode=mode)
    async for _ in stream:
        break
    await stream.aclose()
    await wait_until(lambda: len(taken_in(memory)) == 1)
    episode = await the_only_one(memory)
    assert episode.error.startswith(error)
    assert episode.seen == (id,)


# --- tried again


class Again(AgentMiddleware[Any, Any, Any]):
    """Asks the model once more when it raises."""

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except Boom:
            await asyncio.sleep(0.05)
            return await handler(request)


RETRIES: dict[str, Callable[[], Any]] = {
    "langchain's": lambda: ModelRetryMiddleware(max_retries=2, initial_delay=0.01, jitter=False),
    "one's own": Again,
}


@pytest.mark.parametrize("where", ["around", "inside"])
@pytest.mark.parametrize("retry", RETRIES)
async def test_a_run_that_is_tried_again_and_succeeds_is_one_episode_without_the_error(
    memory: TedMemory, retry: str, where: str
) -> None:
    runs, _ = agent(memory, fails(1), **{where: [RETRIES[retry]()]})
    await runs.ainvoke(asks())
    episode = await the_only_one(memory)
    assert (episode.error, episode.answer) == ("", "It is 4.")


async def test_an_error_that_is_sent_at_once_would_stay(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: what comes first is what counts."""
    monkeypatch.setattr("ted_memory.integrations.live_run.SETTLED", 0.0)
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.001)
    await agent(memory, fails(1), around=[Again()])[0].ainvoke(asks())
    assert (await the_only_one(memory)).error == "Boom: the model broke"


@tool
async def take_long() -> str:
    """Take long."""
    await asyncio.sleep(0.6)
    return "found"


async def test_a_failure_that_was_made_good_is_forgotten_however_long_the_run_goes_on(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ted_memory.integrations.live_run.SETTLED", 0.2)
    says = fails(1, calls_once("take_long", "It is 4."))
    await agent(memory, says, around=[Again()], tools=[take_long])[0].ainvoke(asks())
    episode = await the_only_one(memory)
    assert (episode.error, episode.answer) == ("", "It is 4.")


async def test_without_being_taken_back_the_failure_would_be_what_is_recorded(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(LiveRun, "goes_on", lambda self, at="model": None)
    monkeypatch.setattr("ted_memory.integrations.live_run.SETTLED", 0.2)
    says = fails(1, calls_once("take_long", "It is 4."))
    await agent(memory, says, around=[Again()], tools=[take_long])[0].ainvoke(asks())
    assert (await the_only_one(memory)).error == "Boom: the model broke"


async def test_a_tool_that_is_called_again_and_works_leaves_no_error(memory: TedMemory) -> None:
    left = [1]

    @tool
    async def shaky() -> str:
        """Work the second time."""
        if left[0]:
            left[0] -= 1
            raise Boom("the tool broke")
        return "found"

    retry = ToolRetryMiddleware(max_retries=2, initial_delay=0.01, jitter=False)
    await agent(memory, calls_once("shaky"), tools=[shaky], around=[retry])[0].ainvoke(asks())
    episode = await the_only_one(memory)
    assert episode.error == ""
    assert episode.tools == ("shaky({}) -> found",)


async def test_a_failure_is_not_lost_on_a_store_that_comes_back_later_and_neither_is_its_good_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits in the buffer already when the run goes on: the good end takes its place."""
    monkeypatch.setattr("ted_memory.integrations.live_run.SETTLED", 0.0)
    monkeypatch.setattr("ted_memory.capture.recorder.EVERY", 0.001)
    memory, log = spied()
    log.away = 10**6
    await agent(memory, fails(1), around=[Again()])[0].ainvoke(asks())
    log.away = 0
    episode = await the_only_one(memory)
    assert (episode.error, episode.answer) == ("", "It is 4.")
    assert memory.health().recorded == 1
