"""A tool with which an agent passes on what its user says of an answer."""

from typing import Annotated, Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import InjectedState

from ted_memory.integrations import sync_bridge
from ted_memory.integrations.live_run import principal_of
from ted_memory.memory import TedMemory

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

    async def arate(
        score: float,
        state: Annotated[dict[str, Any], InjectedState],
        config: RunnableConfig,
        comment: str = "",
        correction: str = "",
    ) -> str:
        run_id = _rated(state)
        if run_id is None:
            return NOTHING
        principal = principal_of(None, config, None)
        verdict = await memory.give_feedback(
            run_id, score=min(max(score, 0.0), 1.0), comment=comment, correction=correction, principal=principal
        )
        return TOLD[verdict]

    def rate(  # noqa: D417 - the others are not the model's to give
        score: float,
        state: Annotated[dict[str, Any], InjectedState],
        config: RunnableConfig,
        comment: str = "",
        correction: str = "",
    ) -> str:
        """Note what the user says about your latest earlier answer.

        Args:
            score: 0 if it was wrong, 1 if it was right, or between.
            comment: what the user said about it.
            correction: the answer that would have been right, if the user gave it.
        """
        return sync_bridge.run(arate(score, state, config, comment, correction))

    made: BaseTool = tool(name)(rate)
    made.coroutine = arate
    return made


def _rated(state: dict[str, Any]) -> str | None:
    """Return the run of the latest answer that is not this run's own."""
    told = [m.response_metadata.get("ted_memory") for m in state["messages"] if isinstance(m, AIMessage)]
    runs = [str(one["run_id"]) for one in told if one]
    return next((run for run in reversed(runs) if run != runs[-1]), None)
