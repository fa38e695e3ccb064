"""A tool with which an agent passes on what its user says of an answer."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import ToolRuntime

from ted_memory.errors import TedMemoryError
from ted_memory.integrations import sync_bridge
from ted_memory.integrations.live_run import LiveRun, principal_of
from ted_memory.memory import TedMemory
from ted_memory.recording import storable

NOTHING = "There is no earlier answer of this conversation that feedback could belong to."
TOLD = {
    "credited": "Thank you, it was noted.",
    "corrected": "Thank you, the earlier feedback was replaced.",
    "repeated": "This was noted before.",
    "kept": "Thank you, it was noted.",
    "unknown": "Thank you, it was noted.",
    "limited": "This user has given all the feedback that counts today.",
}


def create_feedback_tool(memory: TedMemory, *, name: str = "rate_answer") -> BaseTool:
    """Return a tool for agents with `TedMemoryMiddleware(memory, learn=True)`: feedback on their latest earlier answer.

    It counts under the principal of the run that calls it, with that one's limits: a model can be talked into praise.
    """

    async def arate(score: float, runtime: ToolRuntime[Any, Any], comment: str = "", correction: str = "") -> str:
        run_id = _rated(runtime.state["messages"])
        if run_id is None:
            return NOTHING
        try:
            verdict = await memory.give_feedback(
                run_id,
                score=min(max(score, 0.0), 1.0),
                comment=storable(comment),
                correction=storable(correction),
                principal=_principal(memory, runtime),
            )
        except TedMemoryError as error:  # no reason for the agent to stop
            return f"It could not be noted: {error}"
        return TOLD[verdict]

    def rate(  # noqa: D417 - the runtime is not the model's to give
        score: float, runtime: ToolRuntime[Any, Any], comment: str = "", correction: str = ""
    ) -> str:
        """Note what the user says about your latest earlier answer.

        Args:
            score: 0 if it was wrong, 1 if it was right, or between.
            comment: what the user said about it.
            correction: the answer that would have been right, if the user gave it.
        """
        return sync_bridge.run(arate(score, runtime, comment, correction))

    made: BaseTool = tool(name)(rate)
    made.coroutine = arate
    return made


def _rated(messages: Sequence[BaseMessage]) -> str | None:
    """Return the run of the latest answer before this turn."""
    turn = next((i for i in reversed(range(len(messages))) if isinstance(messages[i], HumanMessage)), 0)
    earlier = [m.response_metadata.get("ted_memory") for m in messages[:turn] if isinstance(m, AIMessage)]
    return next((str(told["run_id"]) for told in reversed(earlier) if told), None)


def _principal(memory: TedMemory, runtime: ToolRuntime[Any, Any]) -> str:
    runs: dict[str, LiveRun] = runtime.state.get("ted_memory_runs") or {}
    known = (run.principal for run in runs.values() if run.memory is memory)
    return next(known, None) or principal_of(runtime.context, runtime.config, None)
