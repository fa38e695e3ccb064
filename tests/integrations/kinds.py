"""Agents of every kind that people make, with the turns of a conversation and what they yield."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import BaseMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from ted_memory import TedMemory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from tests.integrations.agents import Says, Scripted, agent, asks, call, calls_once

ANSWER = "It is four."


class Verdict(BaseModel):
    """What an agent answers in a form of ours."""

    right: bool


@dataclass
class Case:
    """An agent, and what to do with it."""

    runs: Any
    models: list[Scripted]
    """Those of agents that have our middleware."""
    turns: list[Any] = field(default_factory=lambda: [asks()])
    episodes: int = 1
    answer: str = ANSWER
    saver: InMemorySaver | None = None


@dataclass
class Maker:
    """Makes agents of one memory, recorded or not."""

    memory: TedMemory
    record: bool
    make: Callable[..., tuple[Any, Scripted]] = agent
    """Another one plays a middleware that is not as it should be."""

    def __call__(self, script: Says | None = None, **more: Any) -> tuple[Any, Scripted]:
        script = script or (lambda messages: ANSWER)
        return self.make(
            self.memory, script, record=self.record, system_prompt="You are kind.", **more
        )


def plain(make: Maker) -> Case:
    """One call of the model, no tools, no checkpoints."""
    runs, model = make(tools=[])
    return Case(runs, [model])


def tools(make: Maker) -> Case:
    """A tool is called."""
    runs, model = make(calls_once("look_up", ANSWER))
    return Case(runs, [model])


def checkpoints(make: Maker) -> Case:
    """A conversation of two turns that is kept."""
    saver = InMemorySaver()
    runs, model = make(calls_once("look_up", ANSWER), checkpointer=saver)
    return Case(runs, [model], [asks(), asks("And now?")], episodes=2, saver=saver)


def structured(make: Maker) -> Case:
    """The answer has a form."""
    saver = InMemorySaver(serde=_with(Verdict))
    runs, model = make(
        lambda messages: call("Verdict", right=True),
        response_format=ToolStrategy(Verdict),
        checkpointer=saver,
    )
    return Case(runs, [model], answer="", saver=saver)


def _with(*kinds: type) -> Any:
    return JsonPlusSerializer(
        allowed_msgpack_modules=[(kind.__module__, kind.__name__) for kind in kinds]
    )


def sub_agent(make: Maker) -> Case:
    """A tool asks another agent, which has lessons, too."""
    saver = InMemorySaver()
    inner, inner_model = make(tools=[])

    async def delegate(thing: str = "") -> str:
        """Ask another agent."""
        return str((await inner.ainvoke(asks(thing)))["messages"][-1].content)

    def delegate_now(thing: str = "") -> str:
        """Ask another agent."""
        return str(inner.invoke(asks(thing))["messages"][-1].content)

    tool = StructuredTool.from_function(delegate_now, coroutine=delegate, name="delegate")
    runs, model = make(calls_once("delegate", ANSWER), tools=[tool], checkpointer=saver)
    return Case(runs, [model, inner_model], episodes=2, saver=saver)


def person(make: Maker) -> Case:
    """A person allows the tool's call."""
    saver = InMemorySaver()
    hitl = HumanInTheLoopMiddleware(interrupt_on={"look_up": True})
    runs, model = make(calls_once("look_up", ANSWER), inside=[hitl], checkpointer=saver)
    return Case(
        runs, [model], [asks(), Command(resume={"decisions": [{"type": "approve"}]})], saver=saver
    )


def node(make: Maker) -> Case:
    """The agent is a node of a graph."""
    saver = InMemorySaver()
    inner, model = make(calls_once("look_up", ANSWER))
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    return Case(
        graph.compile(checkpointer=saver),
        [model],
        [asks(), asks("And now?")],
        episodes=2,
        saver=saver,
    )


def deep(make: Maker) -> Case:
    """An agent of deepagents with a sub-agent that both have lessons."""
    deepagents = pytest.importorskip("deepagents")

    def delegates(messages: list[BaseMessage]) -> Any:
        if messages[-1].type == "tool":
            return ANSWER
        return call("task", description="Look it up.", subagent_type="scout")

    outer, inner, saver = (
        Scripted(script=delegates),
        Scripted(script=lambda messages: ANSWER),
        InMemorySaver(),
    )
    ours = [TedMemoryMiddleware(make.memory, record=make.record) for _ in range(2)]
    scout = {
        "name": "scout",
        "description": "Looks things up.",
        "system_prompt": "You look.",
        "tools": [],
    }
    subagents = [{**scout, "model": inner, "middleware": [ours[1]]}]
    runs = deepagents.create_deep_agent(
        model=outer,
        system_prompt="You are kind.",
        middleware=[ours[0]],
        subagents=subagents,
        checkpointer=saver,
    )
    return Case(runs, [outer, inner], episodes=2, saver=saver)


KINDS: dict[str, Callable[[Maker], Case]] = {
    made.__name__: made
    for made in (plain, tools, checkpoints, structured, sub_agent, person, node, deep)
}
