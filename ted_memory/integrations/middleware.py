"""Show lessons to an agent of ``langchain.agents.create_agent``, and record what it does."""

import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from ted_memory.episodes import Exposure
from ted_memory.errors import MissingExtra
from ted_memory.integrations.live_run import (
    LiveRun,
    configurable_of,
    is_sampled,
    principal_of,
    thread_of,
    up_to_the_question,
)
from ted_memory.integrations.prompt_watch import PromptWatches
from ted_memory.integrations.run_ids import STATE, mark, run_id_of
from ted_memory.integrations.under_way import Key, under_way
from ted_memory.llm.calls import model_name
from ted_memory.llm.messages import add_turns, append_block, question, show_lessons
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory
from ted_memory.retrieval.selection import warm

__all__ = [
    "TedMemoryMiddleware",
    "TedMemoryState",
]

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import PrivateStateAttr
    from langchain.tools.tool_node import ToolCallRequest
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langgraph.channels import UntrackedValue
    from langgraph.config import get_config
    from langgraph.errors import GraphBubbleUp
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as error:
    raise MissingExtra("langchain", "langchain", "TedMemoryMiddleware") from error

ToolResult = ToolMessage | Command[Any]


class TedMemoryState(AgentState[Any]):
    """The agent's state with the id of this run.

    Untracked: a checkpoint would bring the id back in the next turn, stale. Only an id, since state
    is copied, pickled, streamed and traced: what the run is shown, and its record, stay in this
    process.
    """

    ted_memory_run: NotRequired[Annotated[str, UntrackedValue, PrivateStateAttr]]


class TedMemoryMiddleware(AgentMiddleware[TedMemoryState, Any, Any]):
    """Adds the memory's lessons to every model call of an agent, the same ones throughout a run.

    Works under ``invoke``, ``ainvoke`` and their streams. Never raises for want of a store: a call
    waits for the setting ``read_timeout`` (seconds) at most, and goes on with the lessons that were
    last seen, or none.

    With ``record=True`` each run is recorded for a `Learner`, also one that fails. It then sees
    lessons on trial, and at times misses an active one: that is how their worth is measured.
    `TedMemory.give_feedback` takes the run's id, which
    `ted_memory.integrations.run_ids.find_run_id` finds in answers and in chunks of streams. It is
    the caller's ``config["run_id"]``, else the id under which the run is traced, else one of ours.
    A run that is resumed after an interrupt in the same process, within five minutes, goes on under
    its first id; otherwise what follows is recorded as a run of its own.

    A middleware that sets the system message belongs before this one: after it, it would remove the
    lessons. That is noticed at the model call and warned of, and such a run counts neither for the
    lessons nor against them.

    Args:
        memory: the memory whose lessons are shown.
        record: hand each run to a `Learner` (of them the share ``sample_rate``).
        principal: who stands behind the runs. By default whom LangGraph's server has authenticated,
            else ``principal`` (or ``user_id``) of the runtime context or of ``configurable``, else
            ``anonymous``.
        principal_from_clients: behind a LangGraph server that has authenticated nobody, believe the
            client's context and ``configurable``. Clients may name anybody there; without this they
            are ``anonymous``.
        name: the name in the agent's graph, to which checkpoints refer. Two of these in one agent
            need different ones.

    Raises:
        MissingExtra: at import, where ``langchain`` is not installed (``ted-memory[langchain]``).

    Example:
        >>> from langchain.agents import create_agent
        >>> agent = create_agent(model, middleware=[TedMemoryMiddleware(memory, record=True)])
        >>> conversation = {"messages": [("user", "I want my money back")]}
        >>> answer = agent.invoke(conversation, {"configurable": {"principal": "anna"}})
        >>> answer["messages"][-1].text
        'What is the order number?'
    """

    state_schema = TedMemoryState

    def __init__(
        self,
        memory: TedMemory,
        *,
        record: bool = False,
        principal: str | None = None,
        principal_from_clients: bool = False,
        name: str = "TedMemoryMiddleware",
    ) -> None:
        super().__init__()
        self.memory = memory
        self.record = record
        self.principal_from_clients = principal_from_clients
        if record:
            warm()
        self.principal = principal
        self._name = name
        self._watches = PromptWatches(memory)

    @property
    def name(self) -> str:
        """The name in the agent's graph."""
        return self._name

    async def abefore_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Choose the lessons of this run."""
        run_id = _run_id(state)  # another memory's middleware may have begun it
        if not run_id:
            run_id = run_id_of(runtime, get_config())
            if under_way(self.memory).is_open(self._key(run_id)):
                # the caller has given two runs at once the same id
                run_id = str(uuid.uuid4())
        await self._begin(run_id, state["messages"], runtime)
        return {"ted_memory_run": run_id}

    def before_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Choose the lessons of this run, for synchronous programs."""
        return sync_bridge.run(self.abefore_agent(state, runtime))

    async def _begin(
        self, run_id: str, messages: Sequence[BaseMessage], runtime: Runtime[Any]
    ) -> tuple[Exposure, LiveRun | None]:
        """Choose lessons, and begin a record where this run is recorded."""
        config, asked = get_config(), question(messages)
        runs, key = under_way(self.memory), self._key(run_id)
        runs.close(key)
        if not self.record or not is_sampled(self.memory, run_id):
            exposure = await self.memory.present(asked)
            runs.show(key, exposure)
            return exposure, None
        thread = thread_of(config)
        principal = principal_of(
            runtime.context, config, self.principal, from_clients=self.principal_from_clients
        )
        exposure = await self.memory.expose(asked, unit=thread or run_id, principal=principal)
        tags = tuple(str(tag) for tag in config.get("tags") or ())
        run = LiveRun(self.memory, run_id, thread, principal, tuple(messages), exposure, tags=tags)
        run.begun()
        runs.show(key, exposure, run)
        return exposure, run

    def _key(self, run_id: str) -> Key:
        """What this middleware's part of a run is known by, in this process."""
        config = get_config()
        inside = str(configurable_of(config).get("checkpoint_ns") or "")
        return Key(self._name, run_id, thread_of(config), inside.rpartition("|")[0])

    def after_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:  # noqa: ARG002
        """Record the run."""
        run = self._run(state)
        # after an interrupt the id is no longer in the state
        run_id = run.run_id if run is not None else _run_id(state)
        under_way(self.memory).close(self._key(run_id))
        if run is not None:
            run.finish(state["messages"])

    async def aafter_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:
        """Record the run; nothing is waited for."""
        self.after_agent(state, runtime)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Call the model with the lessons in its prompt."""
        shown, run = self._known(request) or await self._resumed(request)
        try:
            with self._watches.around(shown, run):
                response = await handler(_injected(request, shown))
        except BaseException as error:
            self._failed(run, error)
            raise
        return self._marked(response, run, request)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the lessons in its prompt, for synchronous programs."""
        shown, run = self._known(request) or sync_bridge.run(self._resumed(request))
        try:
            with self._watches.around(shown, run):
                response = handler(_injected(request, shown))
        except BaseException as error:
            self._failed(run, error)
            raise
        return self._marked(response, run, request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Call the tool; record the run as failed where it raises."""
        run = self._before_tool(request)
        try:
            return await handler(request)
        except BaseException as error:
            self._failed(run, error, str(request.tool_call["id"]))
            raise

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Call the tool, for synchronous programs; record the run as failed where it raises."""
        run = self._before_tool(request)
        try:
            return handler(request)
        except BaseException as error:
            self._failed(run, error, str(request.tool_call["id"]))
            raise

    def _known(self, request: ModelRequest[Any]) -> tuple[Exposure, LiveRun | None] | None:
        """What this run is shown, and its record; None where it did not begin in this process."""
        run = self._run(request.state)
        if run is not None:
            run.output = request.state["messages"]
            run.goes_on()
            return run.exposure, run
        run_id = _run_id(request.state)
        shown = under_way(self.memory).shown(self._key(run_id)) if run_id else None
        return None if shown is None else (shown, None)

    async def _resumed(self, request: ModelRequest[Any]) -> tuple[Exposure, LiveRun | None]:
        """Begin anew after an interrupt: before_agent is not run again."""
        run_id = _run_id(request.state) or run_id_of(request.runtime, get_config())
        return await self._begin(run_id, up_to_the_question(request.messages), request.runtime)

    def _before_tool(self, request: ToolCallRequest) -> LiveRun | None:
        run = self._run(request.state)
        if run is not None:
            run.output = request.state["messages"]
            run.goes_on(str(request.tool_call["id"]))
        return run

    def _run(self, state: Any) -> LiveRun | None:
        """The record of this run; of a resumed one, if it began in this process."""
        if not self.record or not isinstance(state, Mapping):
            return None
        return under_way(self.memory).record(self._key(_run_id(state)))

    @staticmethod
    def _failed(run: LiveRun | None, error: BaseException, at: str = "model") -> None:
        if run is not None and not isinstance(error, GraphBubbleUp):  # an interrupt is no failure
            run.fail(error, at=at)

    def _marked(
        self, response: ModelResponse[Any], run: LiveRun | None, request: ModelRequest[Any]
    ) -> ModelResponse[Any]:
        """Say in the answer which run it belongs to."""
        if run is None:
            return response
        run.model = run.model or model_name(request.model)
        marked = [mark(m, run) if isinstance(m, AIMessage) else m for m in response.result]
        return dataclasses.replace(response, result=marked)


def _run_id(state: Mapping[str, Any]) -> str:
    """The id of the run under way; "" where it has not begun, or an interrupt has lost it."""
    return str(state.get(STATE) or "")


def _injected(request: ModelRequest[Any], shown: Exposure) -> ModelRequest[Any]:
    if not shown.block:
        return request
    if shown.placement == "user":
        return request.override(messages=show_lessons(request.messages, shown))  # type: ignore[arg-type]
    system = append_block(request.system_message, shown.block)
    messages = add_turns(request.messages, shown.turns)
    return request.override(system_message=system, messages=messages)  # type: ignore[arg-type]
