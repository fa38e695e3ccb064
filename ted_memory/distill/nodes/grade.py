"""Grade: score the attempts against the reference."""

from collections.abc import Sequence

from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.state import DistillState, Json, mean_score, read_sample
from ted_memory.grading import answers, graders
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Sample, Trajectory


async def grade_all(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Score the attempts against the reference.

    Without one the teacher's answer is the reference.
    """
    sample, context = read_sample(state), runtime.context
    solution = state["solution"]
    reference = sample.reference or answers.final_answer(solution)
    attempts = [*state["trajectories"], *state["recorded"]]
    graded = [
        await _graded(context, sample, Trajectory.model_validate(attempt), reference)
        for attempt in attempts
    ]
    update: Json = {"reference": reference, "graded": [t.model_dump() for t in graded]}
    if await _is_wrong(context, sample, solution):
        update["solution"] = ""  # a critic that is shown a wrong solution teaches it
    if mean_score(graded) is None:
        update |= _not_graded(graded)
        update["lost"] = state["lost"] or any(t.lost for t in graded)
    return update


def _not_graded(attempts: Sequence[Trajectory]) -> Json:
    problems = [attempt.error for attempt in attempts if attempt.error]
    problem = problems[0] if problems else "there is nothing to grade against"
    return {"status": "set_aside", "note": f"no attempt could be graded: {problem}"}


async def _is_wrong(context: DistillContext, sample: Sample, solution: str) -> bool:
    """Tell whether the teacher's own solution contradicts the reference.

    A worked one that came with the sample does not.
    """
    if not solution or not sample.reference or sample.solution:
        return False
    attempt = await _graded(context, sample, Trajectory(text=solution), sample.reference)
    return attempt.score == 0


async def _graded(
    context: DistillContext, sample: Sample, trajectory: Trajectory, reference: str
) -> Trajectory:
    if trajectory.error or trajectory.score is not None or not reference:
        return trajectory
    try:
        score, comment = await graders.grade(context.grader, sample, trajectory.text, reference)
    except Exception as error:  # a user's grader may raise anything; it is a recorded failure
        if is_final(error):
            raise
        reason = f"the grader failed: {one_line(error)}"
        return trajectory.model_copy(update={"error": reason, "lost": is_transient(error)})
    return trajectory.model_copy(update={"score": score, "comment": comment})
