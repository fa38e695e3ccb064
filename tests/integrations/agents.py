"""Agents whose model follows a script, calls tools and streams."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool

from ted_memory import Add, TedMemory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.models import SetState, Trial
from ted_memory.testing import ScriptedChatModel

Says = Callable[[list[BaseMessage]], AIMessage | str]


class Scripted(ScriptedChatModel):
    """Says what its script says, which may be a tool call; streams it word by word."""

    script: Any = lambda messages: "done"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._says(messages))])

    def _says(self, messages: list[BaseMessage]) -> AIMessage:
        self.asked.append(messages)
        said = self.script(messages)
        return AIMessage(content=said) if isinstance(said, str) else said

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said = self._says(messages)
        calls: list[Any] = [
            {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i}
            for i, c in enumerate(said.tool_calls)
        ]
        parts = [
            AIMessageChunk(content=f"{word} ", tool_call_chunks=[])
            for word in str(said.content).split()
        ]
        for part in (
            [*parts, AIMessageChunk(content="", tool_call_chunks=calls)]
            if calls or not parts
            else parts
        ):
            chunk = ChatGenerationChunk(message=part)
            if run_manager:
                run_manager.on_llm_new_token(str(part.content), chunk=chunk)
            yield chunk


def call(name: str, id: str = "c1", **args: Any) -> AIMessage:
    """The message with which a model calls a tool."""
    return AIMessage(
        content="", tool_calls=[{"name": name, "args": args, "id": id, "type": "tool_call"}]
    )


def calls_once(name: str, answer: str = "done", **args: Any) -> Says:
    """A script that calls a tool in each turn, and then answers."""
    return lambda messages: (
        answer if isinstance(messages[-1], ToolMessage) else call(name, f"c{len(messages)}", **args)
    )


@tool
def look_up(thing: str = "") -> str:
    """Look something up."""
    return f"found {thing}" if thing else "found"


def agent(
    memory: TedMemory,
    script: Says | None = None,
    *,
    tools: Any = (look_up,),
    around: Any = (),
    inside: Any = (),
    **more: Any,
) -> tuple[Any, Scripted]:
    """An agent that is recorded, and its model; ``around`` and ``inside`` are middlewares."""
    ours_too = ("principal", "principal_from_clients", "record", "name")
    given = {name: more.pop(name) for name in ours_too if name in more}
    model = Scripted(script=script) if script else Scripted(script=lambda messages: "done")
    ours = TedMemoryMiddleware(memory, **{"record": True, **given})
    return create_agent(model, list(tools), middleware=[*around, ours, *inside], **more), model


def asks(text: str = "Hello") -> Any:
    """What an agent is invoked with."""
    return {"messages": [HumanMessage(content=text)]}


async def teach(memory: TedMemory, *texts: str) -> list[str]:
    """Commit active lessons; return their ids."""
    return [
        one.id
        for one in (await memory.commit([Add(text=text) for text in texts], author="me")).applied
    ]


async def put_on_trial(memory: TedMemory, text: str) -> str:
    """Put a lesson on trial, which half of the conversations see; return its id."""
    [added] = (await memory.commit([Add(text=text, state="proposed")], author="me")).applied
    await memory.commit([SetState(id=added.id, state="trial", trial=Trial(bet=0.5))], author="me")
    return added.id
