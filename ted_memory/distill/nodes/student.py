"""The student: one attempt at a sample."""

from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill import scoring
from ted_memory.distill.context import DistillContext
from ted_memory.distill.state import Attempt, Json, dump_spend, read_sample
from ted_memory.episodes import Exposure
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Trajectory


async def attempt(state: Attempt, *, context: DistillContext) -> Json:
    """Let the student try once."""
    given = await scoring.answer(
        context, read_sample(state), Exposure.model_validate(state["exposure"])
    )
    trajectory = Trajectory(
        text=given.text, tools=given.tools, seen=given.shown, eligible=tuple(state["eligible"])
    )
    return {"trajectories": [trajectory.model_dump()], "spend": dump_spend(given.spend)}


def attempt_failed(state: Attempt, error: NodeError) -> Command[str]:
    """Record an attempt that got no answer: the others go on."""
    if is_final(error.error):
        raise error.error
    trajectory = Trajectory(
        error=one_line(error.error),
        lost=is_transient(error.error),
        seen=tuple(state["exposure"]["seen"]),
        eligible=tuple(state["eligible"]),
    )
    return Command(update={"trajectories": [trajectory.model_dump()]}, goto="grade")
