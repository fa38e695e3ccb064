"""Record the runs of any Runnable, as a callback."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.prompt_values import PromptValue
from langgraph.config import get_config
from langgraph.types import Command

from ted_memory.capture.recorder import ABANDONED
from ted_memory.capture.texts import without_block
from ted_memory.episodes import ANONYMOUS
from ted_memory.integrations.live_run import (
    LiveRun,
    is_sampled,
    principal_of,
    thread_of,
    up_to_the_question,
)
from ted_memory.integrations.run_ids import response_metadata_of
from ted_memory.llm.messages import LONGEST_RESULT
from ted_memory.memory.client import TedMemory
from ted_memory.retrieval.selection import warm

__all__ = [
    "TedMemoryCallbackHandler",
]

ASKED = ("messages", "input", "question", "query")
SAID = ("messages", "output", "answer", "result", "text")


class TedMemoryCallbackHandler(BaseCallbackHandler):
    """Records each root run of a chain or a model for a `Learner`, also one that fails.

    It belongs to `ted_memory.integrations.runnable.inject_lessons`: with that in the same chain the
    record says which lessons the run saw, and lessons on trial take their turn. An agent with
    `TedMemoryMiddleware(memory, record=True)` is recorded by that, and needs no handler.

    The run's id is the root's: the caller's ``config["run_id"]``, else LangChain's own. A chat
    model's answer carries it, and `ted_memory.integrations.run_ids.find_run_id` finds it there. One
    handler may serve many runs at once. It raises nothing into a run: a run that cannot be recorded
    is counted as dropped (`TedMemory.health`).

    Args:
        memory: the memory whose learner is to see the runs (of them the share ``sample_rate``).
        principal: who stands behind the runs. By default ``principal`` (or ``user_id``) of the
            run's metadata; else, where `inject_lessons` sees the configuration, whom LangGraph's
            server has authenticated, or ``principal`` of ``configurable``; else ``anonymous``. The
            conversation is ``thread_id`` of the same places.
        principal_from_clients: behind a LangGraph server that has authenticated nobody, believe
            what clients say there.

    Examples:
        >>> chain = inject_lessons(memory) | model
        >>> handler = TedMemoryCallbackHandler(memory)
        >>> async def ask(question, user):
        ...     config = {"callbacks": [handler], "metadata": {"principal": user}}
        ...     answer = await chain.ainvoke(question, config)
        ...     return await memory.give_feedback(find_run_id(answer), score=1.0, principal=user)
        >>> asyncio.run(ask("I want my money back", "anna"))
        'credited'
    """

    run_inline = True  # in the caller's event loop: it only takes notes

    def __init__(
        self,
        memory: TedMemory,
        *,
        principal: str | None = None,
        principal_from_clients: bool = False,
    ) -> None:
        warm()
        self.memory = memory
        self.principal = principal
        self.principal_from_clients = principal_from_clients
        self._runs: dict[UUID, LiveRun] = {}
        self._roots: dict[UUID, UUID] = {}
        self._children: dict[UUID, list[UUID]] = {}
        self._tools: dict[UUID, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is under way in this process: a copy begins with nothing."""
        return {**self.__dict__, "_runs": {}, "_roots": {}, "_children": {}, "_tools": {}}

    def run_of(self, run_id: UUID | None) -> LiveRun | None:
        """The record of the root run that a run belongs to; None where it is not recorded."""
        return None if run_id is None else self._runs.get(self._roots.get(run_id, run_id))

    def complete(self, run: LiveRun, config: Mapping[str, Any]) -> None:
        """Add principal and conversation from ``configurable``, which a root run does not see."""
        run.thread_id = run.thread_id or thread_of(config)
        if run.principal == ANONYMOUS:
            run.principal = principal_of(
                None, config, self.principal, from_clients=self.principal_from_clients
            )

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a record with a root run."""
        self._start(run_id, parent_run_id, lambda: _messages(inputs, ASKED, HumanMessage), kwargs)

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a record with a model that is called by itself, and note its name."""
        self._start(run_id, parent_run_id, lambda: messages[0], kwargs)
        run = self.run_of(run_id)
        if run is not None and not run.input:  # a stream, or a graph that goes on
            run.input = tuple(up_to_the_question(messages[0]))
        self._name_model(run_id, kwargs)

    def on_llm_start(
        self,
        serialized: Any,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a record with a model of plain text that is called by itself, and note its name."""
        self._start(run_id, parent_run_id, lambda: [HumanMessage(prompts[0])], kwargs)
        self._name_model(run_id, kwargs)

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note the call of a tool; begin a record with one that is called by itself."""
        self._start(run_id, parent_run_id, lambda: [HumanMessage(input_str)], kwargs)
        self._tools[run_id] = f"{(serialized or {}).get('name', 'tool')}({_brief(input_str)})"

    def on_tool_end(
        self, output: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Note the result of a tool; record one that was called by itself."""
        self._add_tool(run_id, _text(output))
        self._end(run_id, parent_run_id, lambda: [AIMessage(_text(output))], kwargs)

    def on_tool_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note the failure of a tool; record one that was called by itself."""
        self._add_tool(run_id, f"failed: {error}")
        self._fail(run_id, parent_run_id, error, kwargs)

    def on_chain_end(
        self, outputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Record a root run."""
        self._end(run_id, parent_run_id, lambda: _messages(outputs, SAID, AIMessage), kwargs)

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Say in the answer which run it belongs to; record a model that was called by itself."""
        run = self.run_of(run_id)
        first = response.generations[0][0] if response.generations else None
        if isinstance(first, ChatGeneration):
            message: BaseMessage = first.message
            if run is not None:
                # a dict of its own: a cache may give the same one to others
                metadata = {**message.response_metadata, **response_metadata_of(run)}
                message.response_metadata = metadata
        else:
            message = AIMessage(first.text if first else "")
        self._end(run_id, parent_run_id, lambda: [message], kwargs)

    def on_chain_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Record a root run that failed."""
        self._fail(run_id, parent_run_id, error, kwargs)

    def on_llm_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Record a model that was called by itself and failed."""
        self._fail(run_id, parent_run_id, error, kwargs)

    def _start(
        self,
        run_id: UUID,
        parent: UUID | None,
        asked: Callable[[], Sequence[BaseMessage]],
        kwargs: Mapping[str, Any],
    ) -> None:
        if parent is not None:
            self._start_child(run_id, self._roots.get(parent, parent))
            return
        self._forget_abandoned()
        if not is_sampled(self.memory, str(run_id)):
            return
        metadata = kwargs.get("metadata") or {}
        self._children[run_id] = []
        self._runs[run_id] = run = LiveRun(
            self.memory,
            str(run_id),
            thread_id=str(metadata.get("thread_id") or ""),
            principal=principal_of(
                metadata, {}, self.principal, from_clients=self.principal_from_clients
            ),
            input=tuple(asked()),
            tags=tuple(str(tag) for tag in kwargs.get("tags") or ()),
        )
        run.begun()

    def _start_child(self, run_id: UUID, root: UUID) -> None:
        run = self._runs.get(root)
        if run is None:
            return
        self._roots[run_id] = root
        self._children[root].append(run_id)
        # there is no configuration where a child is called outside of any Runnable
        with contextlib.suppress(RuntimeError):
            self.complete(run, get_config())

    def _forget_abandoned(self) -> None:
        """Forget runs that are recorded as abandoned: a stream that nobody reads on has no end."""
        for run_id, run in list(islice(self._runs.items(), 2)):  # the oldest ones
            if run.began + ABANDONED < time.monotonic():
                self._close(run_id)

    def _close(self, root: UUID) -> LiveRun | None:
        for child in self._children.pop(root, ()):
            self._roots.pop(child, None)
            self._tools.pop(child, None)
        return self._runs.pop(root, None)

    def _end(
        self,
        run_id: UUID,
        parent: UUID | None,
        answered: Callable[[], Sequence[BaseMessage]],
        kwargs: Mapping[str, Any],
    ) -> None:
        run = self._close(run_id) if parent is None else None
        if run is None:
            return
        output = answered()
        self._read_late_input(run, kwargs)
        if not run.input:
            # a graph that is resumed gives back what it was asked before
            run.input = tuple(m for m in up_to_the_question(output) if m is not output[-1])
        run.finish(output)

    def _fail(
        self, run_id: UUID, parent: UUID | None, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        run = self._close(run_id) if parent is None else None
        if run is not None:
            self._read_late_input(run, kwargs)
            run.fail(error, final=True)

    @staticmethod
    def _read_late_input(run: LiveRun, kwargs: Mapping[str, Any]) -> None:
        """Note what a stream was asked: LangChain tells it at the end."""
        if kwargs.get("inputs") is not None:
            run.input = tuple(_messages(kwargs["inputs"], ASKED, HumanMessage))

    def _name_model(self, run_id: UUID, kwargs: Mapping[str, Any]) -> None:
        run = self.run_of(run_id)
        if run is None or run.model:
            return
        params = kwargs.get("invocation_params") or {}
        names = (params.get(key) for key in ("model", "model_name", "_type"))
        run.model = str(next(filter(None, names), ""))

    def _add_tool(self, run_id: UUID, result: str) -> None:
        run, call = self.run_of(run_id), self._tools.pop(run_id, None)
        if run is not None and call is not None:
            run.tools = (*run.tools, f"{call} -> {_brief(result)}")


def _messages(
    given: Any, keys: Sequence[str], kind: type[HumanMessage] | type[AIMessage]
) -> list[BaseMessage]:
    """What went into a Runnable, or came out of it, as messages.

    Args:
        given: messages in any form that LangChain takes, or a mapping that holds them.
        keys: where in a mapping they may stand, best first.
        kind: of a message that is made of anything else, by its text.
    """
    if isinstance(given, Mapping):
        given = _in_mapping(given, keys)
    if given is None or isinstance(given, Command):  # a graph that goes on
        return []
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, BaseMessage):
        return [given]
    return _converted(given) or [kind(_text(given))]


def _in_mapping(given: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What stands under the first of these keys that says something; without one, all as JSON."""
    # what LangChain says of the input of a stream when it begins
    is_unknown_yet = len(given) == 1 and _is_nothing(given.get("input", 0))
    if is_unknown_yet:
        return None
    for key in keys:
        if not _is_nothing(given.get(key)):
            return given[key]
    return json.dumps(given, ensure_ascii=False, default=str)


def _converted(given: Any) -> list[BaseMessage]:
    """Messages of a list in a form that LangChain takes; none where it is none of these."""
    if not isinstance(given, Sequence):
        return []
    if not all(isinstance(item, BaseMessage | Mapping | tuple) for item in given):
        return []
    try:
        return convert_to_messages(given)
    except (ValueError, TypeError, NotImplementedError):
        return []


def _is_nothing(given: Any) -> bool:
    return given is None or (isinstance(given, str | list | tuple) and not given)


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    return str(given.text) if isinstance(given, BaseMessage) else str(given)


def _brief(text: str) -> str:
    text = " ".join(without_block(text).split())
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]} ..."
