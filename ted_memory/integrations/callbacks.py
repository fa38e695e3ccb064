"""Record the runs of any Runnable: ``config={"callbacks": [TedMemoryCallbackHandler(memory)]}``."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
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
from ted_memory.integrations.run_ids import told_of
from ted_memory.llm.messages import LONGEST_RESULT
from ted_memory.memory.client import TedMemory
from ted_memory.retrieval.selection import warm

ASKED = ("messages", "input", "question", "query")
SAID = ("messages", "output", "answer", "result", "text")


class TedMemoryCallbackHandler(BaseCallbackHandler):
    """Turns each root run into an episode for a `Learner`, also one that fails.

    With `ted_memory.integrations.runnable.inject_lessons` in the same chain the episode tells which
    lessons it saw, and lessons on trial take their turn. The run id is the root's: the caller's
    ``config["run_id"]``, else LangChain's own; a chat model's answer carries it in
    ``response_metadata["ted_memory"]["run_id"]``. May be used by many runs at once. An agent with
    `TedMemoryMiddleware(memory, record=True)` is recorded by that, and needs no handler.

    Args:
        memory: whose learner is to see the runs.
        principal: who stands behind them; default: ``principal`` (or ``user_id``) of the run's
            metadata, else, where `inject_lessons` sees the configuration, whom LangGraph's server
            has authenticated, or ``principal`` of ``configurable``; else ``anonymous``. The
            conversation is their ``thread_id``.
        principal_from_clients: behind a LangGraph server that has authenticated nobody, believe
            what clients say there.
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
        """Return the record of the root run that a run belongs to."""
        return None if run_id is None else self._runs.get(self._roots.get(run_id, run_id))

    def complete(self, run: LiveRun, config: Mapping[str, Any]) -> None:
        """Note who and which conversation it is: a root run is not told what stands in ``configurable``."""
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
        """Do the same for a model of plain text."""
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
        """Note a tool call."""
        self._start(run_id, parent_run_id, lambda: [HumanMessage(input_str)], kwargs)
        self._tools[run_id] = f"{(serialized or {}).get('name', 'tool')}({_brief(input_str)})"

    def on_tool_end(
        self, output: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Note its result."""
        self._tool_told(run_id, _text(output))
        self._end(run_id, parent_run_id, lambda: [AIMessage(_text(output))], kwargs)

    def on_tool_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note its failure."""
        self._tool_told(run_id, f"failed: {error}")
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
        run, said = (
            self.run_of(run_id),
            response.generations[0][0] if response.generations else None,
        )
        if run is not None and isinstance(said, ChatGeneration):
            # a dict of its own: a cache may give the same one to others
            said.message.response_metadata = {**said.message.response_metadata, **told_of(run)}
        message = (
            said.message
            if isinstance(said, ChatGeneration)
            else AIMessage(said.text if said else "")
        )
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
        self, run_id: UUID, parent: UUID | None, asked: Any, kwargs: Mapping[str, Any]
    ) -> None:
        if parent is not None:
            root = self._roots.get(parent, parent)
            run = self._runs.get(root)
            if run is not None:
                self._roots[run_id] = root
                self._children[root].append(run_id)
                # a child that is called outside of any Runnable
                with contextlib.suppress(RuntimeError):
                    self.complete(run, get_config())
            return
        self._let_go()
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

    def _let_go(self) -> None:
        """Forget runs that are recorded as abandoned: whose stream nobody reads any more has no end."""
        for run_id, run in list(islice(self._runs.items(), 2)):  # the oldest ones
            if run.began + ABANDONED < time.monotonic():
                self._close(run_id)

    def _close(self, root: UUID) -> LiveRun | None:
        for child in self._children.pop(root, ()):
            self._roots.pop(child, None)
            self._tools.pop(child, None)
        return self._runs.pop(root, None)

    def _end(self, run_id: UUID, parent: UUID | None, said: Any, kwargs: Mapping[str, Any]) -> None:
        run = self._close(run_id) if parent is None else None
        if run is not None:
            now = said()
            self._asked_late(run, kwargs)
            # a graph that is resumed gives back what it was asked before
            run.input = run.input or tuple(m for m in up_to_the_question(now) if m is not now[-1])
            run.finish(now)

    def _fail(
        self, run_id: UUID, parent: UUID | None, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        run = self._close(run_id) if parent is None else None
        if run is not None:
            self._asked_late(run, kwargs)
            run.fail(error, final=True)

    @staticmethod
    def _asked_late(run: LiveRun, kwargs: Mapping[str, Any]) -> None:
        """Note what a stream was asked: LangChain tells it at the end."""
        if kwargs.get("inputs") is not None:
            run.input = tuple(_messages(kwargs["inputs"], ASKED, HumanMessage))

    def _name_model(self, run_id: UUID, kwargs: Mapping[str, Any]) -> None:
        run, told = self.run_of(run_id), kwargs.get("invocation_params") or {}
        if run is not None and not run.model:
            run.model = str(told.get("model") or told.get("model_name") or told.get("_type") or "")

    def _tool_told(self, run_id: UUID, result: str) -> None:
        run, call = self.run_of(run_id), self._tools.pop(run_id, None)
        if run is not None and call is not None:
            run.tools = (*run.tools, f"{call} -> {_brief(result)}")


def _messages(
    given: Any, keys: Sequence[str], kind: type[HumanMessage] | type[AIMessage]
) -> list[BaseMessage]:
    """Return what went into a Runnable, or came out of it, as messages."""
    if isinstance(given, Mapping):
        # what a stream is said to be asked when it begins
        if len(given) == 1 and _is_nothing(given.get("input", 0)):
            return []
        found = next((given[key] for key in keys if not _is_nothing(given.get(key))), None)
        given = found if found is not None else json.dumps(given, ensure_ascii=False, default=str)
    if given is None or isinstance(given, Command):  # a graph that goes on
        return []
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, BaseMessage):
        return [given]
    if (
        isinstance(given, Sequence)
        and given
        and all(isinstance(one, BaseMessage | Mapping | tuple) for one in given)
    ):
        try:
            return convert_to_messages(given)
        except (
            ValueError,
            TypeError,
            NotImplementedError,
        ):  # no messages in any form that LangChain takes
            pass
    return [kind(_text(given))]


def _is_nothing(given: Any) -> bool:
    return given is None or (isinstance(given, str | list | tuple) and not given)


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    return str(given.text) if isinstance(given, BaseMessage) else str(given)


def _brief(text: str) -> str:
    text = " ".join(without_block(text).split())
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]} ..."
