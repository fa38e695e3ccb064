"""Grade: score the attempts against the reference."""

from ted_memory.distill.context import DistillContext
from ted_memory.distill.state import DistillState, Json, mean_score, read_sample
from ted_memory.grading import answers, graders
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Sample, Trajectory


async def grade_all(state: DistillState, *, context: DistillContext) -> Json:
    """Score the attempts against the reference; without one, the teacher's answer is the reference."""
    sample = read_sample(state)
    reference = sample.reference or answers.final_answer(state.get("solution", ""))
    attempts = [
        Trajectory.model_validate(t) for t in (*state["trajectories"], *state.get("recorded", []))
    ]
    graded = [await _graded(context, sample, attempt, reference) for attempt in attempts]
    # a field of their own: the reducer of `trajectories` adds up
    update: Json = {"reference": reference, "graded": [t.model_dump() for t in graded]}
    if await _is_wrong(context, sample, state.get("solution", "")):
        update["solution"] = ""  # a critic that is shown a wrong solution teaches it
    if mean_score(graded) is None:
        problem = next((t.error for t in graded if t.error), "there is nothing to grade against")
        update |= {"status": "set_aside", "note": f"no attempt could be graded: {problem}"}
        update["lost"] = state["lost"] or any(t.lost for t in graded)
    return update


async def _is_wrong(context: DistillContext, sample: Sample, solution: str) -> bool:
    """Tell whether the teacher's own solution contradicts the reference; a worked one that came along does not."""
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
