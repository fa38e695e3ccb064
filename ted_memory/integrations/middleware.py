"""Show lessons to an agent of ``langchain.agents.create_agent``, and record what it does."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, NotRequired, Self, cast

from ted_memory.episodes import Exposure
from ted_memory.errors import MissingExtra
from ted_memory.integrations.live_run import (
    LiveRun,
    configurable_of,
    given_to_the_run,
    is_sampled,
    principal_of,
    thread_of,
    up_to_the_question,
)
from ted_memory.integrations.prompt_watch import PromptWatches
from ted_memory.integrations.run_ids import STATE, mark, run_id_of, task_of
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
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
    from langchain.tools.tool_node import ToolCallRequest
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langgraph.channels import UntrackedValue
    from langgraph.config import get_config
    from langgraph.errors import GraphBubbleUp
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as _error:
    raise MissingExtra("langchain", "langchain", "TedMemoryMiddleware") from _error

ToolResult = ToolMessage | Command[Any]
Answer = ModelResponse[Any] | ExtendedModelResponse[Any]


class TedMemoryState(AgentState[Any]):
    """The agent's state with the id of this run.

    Untracked: a checkpoint would bring the id back in the next turn, stale. Only an id, since state
    is copied, pickled, streamed and traced: what the run is shown, and its record, stay in this
    process.
    """

    # two memories in one agent both name the run, by the same id
    ted_memory_run: NotRequired[Annotated[str, UntrackedValue(str, guard=False), PrivateStateAttr]]


class _Part(NamedTuple):
    """What one call of a model has to do with: its run, what that is shown, and its record.

    ``is_new``: the agent's state does not name the run yet.
    """

    run_id: str
    shown: Exposure
    run: LiveRun | None
    is_new: bool = False


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

    Lessons are chosen by the last user message at a run's first model call. A run that another
    middleware ends before that is recorded, without lessons.

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

    Examples:
        >>> from langchain.agents import create_agent
        >>> agent = create_agent(model, middleware=[TedMemoryMiddleware(memory, record=True)])
        >>> conversation = {"messages": [("user", "I want my money back")]}
        >>> answer = agent.invoke(conversation, {"configurable": {"principal": "anna"}})
        >>> answer["messages"][-1].text
        'What is the order number?'
    """

    state_schema = TedMemoryState

    def __new__(cls, *_given: Any, record: bool = False, **_more: Any) -> Self:
        """Make one without hooks for records where nothing is recorded.

        LangChain looks at the class: for each hook that it has, an agent gets a node, which costs
        more than all else here, whatever the hook does.
        """
        without_hooks = cls is TedMemoryMiddleware and not record
        return super().__new__(cast("type[Self]", _Showing) if without_hooks else cls)

    # copied or pickled it is made of the same class again
    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.memory,), {"record": self.record}

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
            memory.recorder.counts()  # made now: its patterns take milliseconds to build
        self.principal = principal
        self._name = name
        self._watches = PromptWatches(memory)

    @property
    def name(self) -> str:
        """The name in the agent's graph."""
        return self._name

    async def _begin(self, request: ModelRequest[Any]) -> _Part:
        """Choose lessons, and begin a record where this run is recorded."""
        run_id, task = _run_id(request.state), task_of(request.runtime)
        if not run_id:
            run_id = run_id_of(request.runtime, get_config())
            if (part := self._tried_again(run_id, task)) is not None:
                return part
            if self._has_begun_elsewhere(run_id, task):
                run_id = task  # the caller has given two runs at once the same id
        runs, key = under_way(self.memory), self._key(run_id)
        asked = given_to_the_run(request.state.get("messages") or request.messages)
        with runs.reserved(key, task):
            if self.record and is_sampled(self.memory, run_id):
                run = await self._begin_record(run_id, asked, request)
                exposure = run.exposure
            else:
                run, exposure = None, await self.memory.present(question(asked))
        runs.show(key, exposure, run, task=task)
        return _Part(run_id, exposure, run, is_new=True)

    def _has_begun_elsewhere(self, run_id: str, task: str) -> bool:
        runs, key = under_way(self.memory), self._key(run_id)
        begun = runs.begun(key)
        return runs.is_open(key) and (begun is None or begun.task != task)

    async def _begin_record(
        self, run_id: str, asked: Sequence[BaseMessage], request: ModelRequest[Any]
    ) -> LiveRun:
        context = request.runtime.context
        exposure = await self.memory.expose(
            question(asked),
            unit=thread_of(get_config()) or run_id,
            principal=self._principal(context),
        )
        run = self._new_record(run_id, asked, exposure, context)
        run.begun()
        return run

    def _new_record(
        self, run_id: str, asked: Sequence[BaseMessage], exposure: Exposure, context: Any
    ) -> LiveRun:
        config, principal = get_config(), self._principal(context)
        tags = tuple(str(tag) for tag in config.get("tags") or ())
        return LiveRun(
            self.memory, run_id, thread_of(config), principal, tuple(asked), exposure, tags=tags
        )

    def _principal(self, context: Any) -> str:
        return principal_of(
            context, get_config(), self.principal, from_clients=self.principal_from_clients
        )

    def _tried_again(self, run_id: str, task: str) -> _Part | None:
        """What a run began with whose first call failed and is tried again; None for others."""
        runs, key = under_way(self.memory), self._key(run_id)
        begun = runs.begun(key)
        if begun is None or begun.task != task or begun.exposure is None:
            return None
        run = runs.record(key)
        if run is not None:
            run.goes_on()
        return _Part(run_id, begun.exposure, run, is_new=True)

    def _key(self, run_id: str) -> Key:
        """What this middleware's part of a run is known by, in this process."""
        config = get_config()
        inside = str(configurable_of(config).get("checkpoint_ns") or "")
        return Key(self._name, run_id, thread_of(config), inside.rpartition("|")[0])

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Answer:
        """Call the model with the lessons in its prompt."""
        part = self._known(request) or await self._begin(request)
        try:
            with self._watches.around(part.shown, part.run):
                response = await handler(_injected(request, part.shown))
        except BaseException as error:
            self._failed(part.run, error)
            raise
        return self._marked(response, part, request)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Answer:
        """Call the model with the lessons in its prompt, for synchronous programs."""
        part = self._known(request) or sync_bridge.run(self._begin(request))
        try:
            with self._watches.around(part.shown, part.run):
                response = handler(_injected(request, part.shown))
        except BaseException as error:
            self._failed(part.run, error)
            raise
        return self._marked(response, part, request)

    def after_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:
        """Record the run."""
        run = self._run(state)
        # after an interrupt the id is no longer in the state
        run_id = run.run_id if run is not None else _run_id(state)
        if not run_id and self.record:  # another middleware has ended it before any model call
            run = self._without_a_model(state, runtime)
            run_id = run.run_id if run is not None else ""
        under_way(self.memory).close(self._key(run_id))
        if run is not None:
            run.finish(state["messages"])

    def _without_a_model(self, state: TedMemoryState, runtime: Runtime[Any]) -> LiveRun | None:
        """The record of a run in which no model was asked: it was shown no lessons."""
        run_id = run_id_of(runtime, get_config())
        if not is_sampled(self.memory, run_id):
            return None
        asked = up_to_the_question(state["messages"])
        return self._new_record(run_id, asked, Exposure(), runtime.context)

    async def aafter_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:
        """Record the run; nothing is waited for."""
        self.after_agent(state, runtime)

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

    def _before_tool(self, request: ToolCallRequest) -> LiveRun | None:
        run = self._run(request.state)
        if run is not None:
            run.output = request.state["messages"]
            run.goes_on(str(request.tool_call["id"]))
        return run

    def _known(self, request: ModelRequest[Any]) -> _Part | None:
        """What this run is shown, and its record; None where it did not begin in this process."""
        run = self._run(request.state)
        if run is not None:
            run.output = request.state["messages"]
            run.goes_on()
            return _Part(run.run_id, run.exposure, run, is_new=not _run_id(request.state))
        run_id = _run_id(request.state)
        shown = under_way(self.memory).shown(self._key(run_id)) if run_id else None
        return None if shown is None else _Part(run_id, shown, None)

    def _run(self, state: Any) -> LiveRun | None:
        """The record of this run; of a resumed one, if it began in this process."""
        if not self.record or not isinstance(state, Mapping):
            return None
        run_id = _run_id(state)
        run = under_way(self.memory).record(self._key(run_id))
        if run is None or run_id:
            return run
        # an interrupt has lost the id; a run that begins is no such one, whatever its question
        return run if run.has_been_resumed_at(state["messages"]) else None

    @staticmethod
    def _failed(run: LiveRun | None, error: BaseException, at: str = "model") -> None:
        if run is None:
            return
        if isinstance(error, GraphBubbleUp):  # an interrupt is no failure
            run.is_suspended = True
        else:
            run.fail(error, at=at)

    def _marked(
        self, response: ModelResponse[Any], part: _Part, request: ModelRequest[Any]
    ) -> Answer:
        """Say in the answer which run it belongs to, and in the state after the first one."""
        run = part.run
        if run is not None:
            run.model = run.model or model_name(request.model)
            marked = [mark(m, run) if isinstance(m, AIMessage) else m for m in response.result]
            response = dataclasses.replace(response, result=marked)
        elif not self.record and _ends_the_run(response):
            under_way(self.memory).close(self._key(part.run_id))
        if not part.is_new:
            return response
        return ExtendedModelResponse(response, Command(update={STATE: part.run_id}))


def _run_id(state: Mapping[str, Any]) -> str:
    """The id of the run under way; "" where it has not begun, or an interrupt has lost it."""
    return str(state.get(STATE) or "")


def _ends_the_run(response: ModelResponse[Any]) -> bool:
    """Tell whether an answer is the last one, unless another middleware asks once more."""
    asks_for_tools = any(isinstance(m, AIMessage) and m.tool_calls for m in response.result)
    return response.structured_response is not None or not asks_for_tools


def _injected(request: ModelRequest[Any], shown: Exposure) -> ModelRequest[Any]:
    if not shown.block:
        return request
    if shown.placement == "user":
        return request.override(messages=show_lessons(request.messages, shown))  # type: ignore[arg-type]
    system = append_block(request.system_message, shown.block)
    messages = add_turns(request.messages, shown.turns)
    return request.override(system_message=system, messages=messages)  # type: ignore[arg-type]


class _Showing(TedMemoryMiddleware):
    """One that records nothing: without the hooks that only a record needs."""

    after_agent: Any = AgentMiddleware.after_agent
    aafter_agent: Any = AgentMiddleware.aafter_agent
    wrap_tool_call = AgentMiddleware.wrap_tool_call
    awrap_tool_call = AgentMiddleware.awrap_tool_call

    @property
    def record(self) -> bool:
        """Nothing is recorded; set it before the agent is made."""
        return False

    @record.setter
    def record(self, value: bool) -> None:
        if value:
            self.__class__ = TedMemoryMiddleware  # type: ignore[assignment]
            self.record = value
