"""A call of a real agent whose model answers at once: alone, with lessons, with a constant text.

The variants take turns, so what slows the machine slows them all. Wall clock (p50), and beside it
the processor time of the thread.
"""

import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from bench.figures import Figure, Measured, middle
from bench.measuring import lessons
from bench.peers import peers
from bench.spans import sides
from ted_memory import TedMemory, open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware

TITLE = "An agent's call"
ROUNDS, WARM = 600, 30
ASKED: Any = {"messages": [("user", "What about topic1, topic2 and topic3?")]}
PROMPT = "You help people."
SPANS = ", with spans"


class Instant(BaseChatModel):
    """A model that answers at once."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Sure."))])

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return self._generate()


class Constant(AgentMiddleware[Any, Any, Any]):
    """The least that a middleware can do which adds a text to the prompt."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Append the text to the system message."""
        message = SystemMessage(f"{request.system_message.text}\n\n{self.text}")
        return await handler(request.override(system_message=message))


def agent(*middleware: Any) -> Any:
    """Return an agent with these middlewares."""
    return create_agent(Instant(), system_prompt=PROMPT, middleware=middleware)


async def in_turn(agents: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Ask each of the agents in turn; return p50s in microseconds: wall clock, processor time."""
    wall: dict[str, list[float]] = {name: [] for name in agents}
    cpu: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(WARM):
        for one in agents.values():
            await one.ainvoke(ASKED)
    gc.collect()
    for _ in range(ROUNDS):
        for name, one in agents.items():
            began, worked = time.perf_counter(), time.thread_time()
            await one.ainvoke(ASKED)
            wall[name].append((time.perf_counter() - began) * 1e6)
            cpu[name].append((time.thread_time() - worked) * 1e6)
    return (
        {name: middle(taken) for name, taken in wall.items()},
        {name: middle(taken) for name, taken in cpu.items()},
    )


@contextlib.asynccontextmanager
async def memory(url: str, name: str, **settings: Any) -> AsyncIterator[TedMemory]:
    """Open a memory with 50 lessons."""
    async with open_memory(
        url, namespace=name, refresh=3600, buffer_episodes=10**6, **settings
    ) as opened:
        await opened.commit(lessons(50), author="bench")
        await opened.render()
        yield opened


async def measure(url: str) -> list[Measured]:
    """Measure the ways to show 50 lessons, and what peers add."""
    async with contextlib.AsyncExitStack() as stack:
        agents = {"bare": agent()}
        opened = None
        for selection in ("all", "relevant", "budget"):
            opened = await stack.enter_async_context(memory(url, selection, selection=selection))
            agents[selection] = agent(TedMemoryMiddleware(opened))
            if selection == "all":
                agents["constant"] = agent(Constant(await opened.render()))
        recording = await stack.enter_async_context(memory(url, "recording"))
        agents["recorded"] = agent(TedMemoryMiddleware(recording, record=True))
        wall, cpu = await in_turn(agents)
    beside = "a middleware that appends a constant"
    limits = {"all": 1.15, "relevant": 1.25, "budget": 1.15, "recorded": 1.4}
    figures: list[Measured] = [
        Figure(
            f"an agent's call, 50 lessons, {name}",
            wall[name],
            "us",
            beside,
            wall["constant"],
            at_most=most,
            note=f"processor {cpu[name]:,.0f} us; {cpu['constant']:,.0f} us beside it",
        )
        for name, most in limits.items()
    ]
    for peer, added in peers("agent_calls").items():
        figures += [
            Figure(
                f"added to an agent's call, {name}",
                wall[name] - wall["bare"],
                "us",
                f"what {peer} adds",
                added,
                at_most=0.25,
            )
            for name in ("all", "relevant")
        ]
    return [*figures, *await _with_spans(url)]


async def _with_spans(url: str) -> list[Measured]:
    """Measure what OpenTelemetry's SDK adds; last, since it is there for the whole process."""
    async with contextlib.AsyncExitStack() as stack:
        shown = await stack.enter_async_context(memory(url, "shown"))
        recorded = await stack.enter_async_context(memory(url, "recorded"))
        asked = await stack.enter_async_context(
            sides(
                all=agent(TedMemoryMiddleware(shown)),
                recorded=agent(TedMemoryMiddleware(recorded, record=True)),
            )
        )
        wall, cpu = await in_turn(asked)
    return [
        Figure(
            f"an agent's call, 50 lessons, {name}{SPANS}",
            wall[name + SPANS],
            "us",
            "the same without spans",
            wall[name],
            at_most=1.05,
            note=f"processor {cpu[name + SPANS]:,.0f} us; {cpu[name]:,.0f} us beside it",
        )
        for name in ("all", "recorded")
    ]
