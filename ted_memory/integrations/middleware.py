"""Inject a memory into an agent of ``langchain.agents.create_agent``."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NotRequired

from ted_memory.errors import MissingExtra
from ted_memory.integrations import sync_bridge
from ted_memory.memory import TedMemory
from ted_memory.messages import append_block, place_block, question

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import PrivateStateAttr
    from langgraph.channels import UntrackedValue
    from langgraph.runtime import Runtime
except ImportError as error:
    raise MissingExtra("langchain", "langchain", "TedMemoryMiddleware") from error


class TedMemoryState(AgentState[Any]):
    """The agent's state with the blocks of this run, by middleware name.

    Untracked: a checkpoint would bring them back in the next turn, stale.
    """

    ted_memory_blocks: NotRequired[Annotated[dict[str, str], UntrackedValue, PrivateStateAttr]]


class TedMemoryMiddleware(AgentMiddleware[TedMemoryState, Any, Any]):
    """Adds the memory's block to every model call of an agent; the same block throughout one run.

    ``create_agent(model, tools, middleware=[TedMemoryMiddleware(memory)])``; works under ``invoke`` and ``ainvoke``.

    Args:
        memory: the set to inject.
        name: in the agent's graph; give different ones to two of these in one agent. Checkpoints refer to it.
    """

    state_schema = TedMemoryState

    def __init__(self, memory: TedMemory, *, name: str = "TedMemoryMiddleware") -> None:
        super().__init__()
        self.memory = memory
        self._name = name

    @property
    def name(self) -> str:
        """The name in the agent's graph."""
        return self._name

    async def abefore_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:  # noqa: ARG002
        """Choose the block of this run."""
        block = await self.memory.render(question(state["messages"]))
        return {"ted_memory_blocks": {**state.get("ted_memory_blocks", {}), self._name: block}}

    def before_agent(self, state: TedMemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do the same for synchronous programs."""
        return sync_bridge.run(self.abefore_agent(state, runtime))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Call the model with the block in its prompt."""
        return await handler(await self._injected(request))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Do the same for synchronous programs."""
        return handler(sync_bridge.run(self._injected(request)))

    async def _injected(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        blocks: dict[str, str] = request.state.get("ted_memory_blocks") or {}  # type: ignore[assignment]
        block = blocks.get(self._name)
        if block is None:  # resumed after an interrupt: before_agent is not run again
            block = await self.memory.render(question(request.messages))
        if not block:
            return request
        if self.memory.settings.placement == "user":
            return request.override(messages=place_block(request.messages, block, "user"))  # type: ignore[arg-type]
        return request.override(system_message=append_block(request.system_message, block))
