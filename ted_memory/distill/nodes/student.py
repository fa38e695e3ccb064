"""The student: several attempts at a sample, side by side.

All of them are one node, which reads the sample from the state. Sent out as tasks of their own
(``Send``) each would carry its own copy of the sample, pictures included, into every checkpoint.
"""

from langgraph.runtime import Runtime

from ted_memory.distill import scoring
from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.failures import ends_the_run
from ted_memory.distill.state import Attempt, DistillState, Json, dump_spend, read_sample
from ted_memory.episodes import Exposure
from ted_memory.llm.calls import is_transient, one_line
from ted_memory.llm.spend import Spend
from ted_memory.models import Sample, Trajectory


async def answer_all(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Let the student try, each time with its own share of the lessons."""
    sample = read_sample(state)
    tried = await scoring.gather_all(
        *(attempt(one, sample, runtime.context) for one in state["attempts"])
    )
    spend = sum((cost for _, cost in tried), Spend())
    return {
        "trajectories": [trajectory.model_dump() for trajectory, _ in tried],
        "spend": dump_spend(spend),
    }


async def attempt(
    shown: Attempt, sample: Sample, context: DistillContext
) -> tuple[Trajectory, Spend]:
    """Let the student try once; an attempt that got no answer is a result, too."""
    exposure, eligible = Exposure.model_validate(shown["exposure"]), tuple(shown["eligible"])
    try:
        given = await scoring.answer(context, sample, exposure)
    except Exception as error:
        if ends_the_run(error):
            raise
        failed = Trajectory(
            error=one_line(error),
            lost=is_transient(error),
            seen=exposure.seen,
            eligible=eligible,
        )
        return failed, Spend()
    answered = Trajectory(text=given.text, tools=given.tools, seen=given.shown, eligible=eligible)
    return answered, given.spend
