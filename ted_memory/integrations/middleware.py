"""Inject a memory into an agent of ``langchain.agents.create_agent``, and record what the agent does."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from ted_memory.distill.calls import model_name
from ted_memory.errors import MissingExtra
from ted_memory.experience.selection import warm
from ted_memory.integrations import sync_bridge
from ted_memory.integrations.live_run import LiveRun, is_sampled, principal_of, run_id_of, thread_of
from ted_memory.memory import TedMemory
from ted_memory.messages import append_block, place_block, question

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
    """The agent's state with the blocks and the records of this run, by middleware name.

    Untracked: a checkpoint would bring them back in the next turn, stale.
    """

    ted_memory_blocks: NotRequired[Annotated[dict[str, str], UntrackedValue, PrivateStateAttr]]
    ted_memory_runs: NotRequired[Annotated[dict[str, LiveRun], UntrackedValue, PrivateStateAttr]]


class TedMemoryMiddleware(AgentMiddleware[TedMemoryState, Any, Any]):
    """Adds the memory's block to every model call of an agent; the same block throughout one run.

    ``create_agent(model, tools, middleware=[TedMemoryMiddleware(memory)])``; works under ``invoke`` and ``ainvoke``.
    With ``learn=True`` each run is recorded for a `Learner`, also one that fails; it then sees lessons on trial and at
    times misses an active one, which is how their worth is measured. The answer's
    ``response_metadata["ted_memory"]["run_id"]`` is what `TedMemory.give_feedback` takes: the caller's
    ``config["run_id"]``, else one of ours.

    Args:
        memory: the set to inject.
        learn: record the runs.
        principal: who stands behind them; default: ``principal`` (or ``user_id``) of the runtime context or of
            ``configurable``, else ``anonymous``.
        name: in the agent's graph; give different ones to two of these in one agent. Checkpoints refer to it.
    """

    state_schema = TedMemoryState

    def __init__(
        self,
        memory: TedMemory,
        *,
        learn: bool = False,
        principal: str | None = None,
        name: str = "TedMemoryMiddleware",
    ) -> None:
        super().__init__()
        self.memory = memory
        self.learn = learn
        if learn:
            warm()
        self.principal = principal
        self._name = name

    @property
    def name(self) -> str:
        """The name in the agent's graph."""
        return self._name

    async def abefore_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Choose the block of this run."""
        block, run = await self._begin(state["messages"], runtime)
        begun: dict[str, Any] = {"ted_memory_blocks": {**state.get("ted_memory_blocks", {}), self._name: block}}
        if run is not None:
            run.begun()
            begun["ted_memory_runs"] = {**state.get("ted_memory_runs", {}), self._name: run}
        return begun

    def before_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do the same for synchronous programs."""
        return sync_bridge.run(self.abefore_agent(state, runtime))

    async def _begin(self, messages: Sequence[BaseMessage], runtime: Runtime[Any]) -> tuple[str, LiveRun | None]:
        config, asked = get_config(), question(messages)
        run_id, thread = run_id_of(config), thread_of(config)
        if not self.learn or not is_sampled(self.memory, run_id):
            return await self.memory.render(asked), None
        principal = principal_of(runtime.context, config, self.principal)
        exposure = await self.memory.expose(asked, unit=thread or run_id, principal=principal)
        tags = tuple(str(tag) for tag in config.get("tags") or ())
        run = LiveRun(self.memory, run_id, thread, principal, tuple(messages), exposure, tags=tags)
        return exposure.block, run

    def after_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:  # noqa: ARG002
        """Record the run."""
        run = self._run(state)
        if run is not None:
            known = {message.id for message in run.input}
            run.finish([message for message in state["messages"] if message.id not in known])

    async def aafter_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> None:
        """Do the same within an event loop; nothing is waited for."""
        self.after_agent(state, runtime)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Call the model with the block in its prompt."""
        run = self._run(request.state)
        injected = await self._injected(request)
        try:
            return self._marked(await handler(injected), run, request)
        except BaseException as error:
            self._failed(run, error)
            raise

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Do the same for synchronous programs."""
        run = self._run(request.state)
        injected = sync_bridge.run(self._injected(request))
        try:
            return self._marked(handler(injected), run, request)
        except BaseException as error:
            self._failed(run, error)
            raise

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Record a run that a tool ends."""
        try:
            return await handler(request)
        except BaseException as error:
            self._failed(self._run(request.state), error)
            raise

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Do the same for synchronous programs."""
        try:
            return handler(request)
        except BaseException as error:
            self._failed(self._run(request.state), error)
            raise

    def _run(self, state: Any) -> LiveRun | None:
        runs: Mapping[str, LiveRun] = (state.get("ted_memory_runs") if isinstance(state, Mapping) else None) or {}
        return runs.get(self._name)

    @staticmethod
    def _failed(run: LiveRun | None, error: BaseException) -> None:
        if run is not None and not isinstance(error, GraphBubbleUp):  # an interrupt is no failure
            run.fail(error)

    def _marked(
        self, response: ModelResponse[Any], run: LiveRun | None, request: ModelRequest[Any]
    ) -> ModelResponse[Any]:
        """Say in the answer which run it belongs to."""
        if run is not None:
            run.model = run.model or model_name(request.model)
            told = {"run_id": run.run_id, "namespace": self.memory.namespace, "version": run.exposure.version}
            for message in response.result:
                if isinstance(message, AIMessage):
                    message.response_metadata["ted_memory"] = told
        return response

    async def _injected(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        blocks: dict[str, str] = request.state.get("ted_memory_blocks") or {}  # type: ignore[assignment]
        block = blocks.get(self._name)
        if block is None:  # resumed after an interrupt: before_agent is not run again
            block, _ = await self._begin(request.messages, request.runtime)
        if not block:
            return request
        if self.memory.settings.placement == "user":
            return request.override(messages=place_block(request.messages, block, "user"))  # type: ignore[arg-type]
        return request.override(system_message=append_block(request.system_message, block))
