"""The student: its attempts at a sample, each with its own share of the lessons."""

import random
from collections.abc import Sequence

from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill import grading, scoring
from ted_memory.distill.calls import is_final, is_transient, one_line
from ted_memory.distill.kit import Kit
from ted_memory.distill.state import Attempt, DistillState, Json, dump_set, dump_spend, mean_score, read_sample
from ted_memory.experience.rendering import render_block
from ted_memory.experience.selection import applying
from ted_memory.experience.trust import SHADOW_SHARE, is_from
from ted_memory.memory import TedMemory
from ted_memory.messages import question, sample_messages
from ted_memory.models import Experience, ExperienceSet, Sample, Trajectory


async def recall(state: DistillState, *, kit: Kit) -> Json:
    """Load the set once and deal out the attempts; the whole pass speaks of this version."""
    snapshot = await kit.memory.load()
    sample = read_sample(state)
    fresh = {"trajectories": None, "refused": None, "commits": None, "spend": None}  # None: begin anew
    return {
        **fresh,
        "snapshot": dump_set(snapshot),
        "attempts": deal(sample, snapshot, kit.memory, run=state.get("run", ""), shadow=_shadow(state, snapshot))
        if kit.fresh
        else [],
        "round": 0,
        "feedback": [],
        "accepted": [],
        "pending": [],
        "compacting": False,
        "holder": "",
        "status": "nothing",
        "lost": False,
        "note": "",
    }


def _shadow(state: DistillState, snapshot: ExperienceSet) -> list[Experience]:
    """Return the lessons that no user sees yet and this episode may bear witness of: not those that came from it."""
    witness = state.get("witness")
    if not witness:
        return []
    unseen = [e for e in snapshot.trial if e.trial and not e.trial.exposure]
    applies = applying(unseen, question(sample_messages(read_sample(state))))
    return [e for e in unseen if e.id in applies and not is_from(e, **witness)]


def deal(
    sample: Sample, snapshot: ExperienceSet, memory: TedMemory, *, run: str, shadow: Sequence[Experience] = ()
) -> list[Attempt]:
    """Give each attempt a random share of the set, then choose from it as in production.

    Of those in `shadow`, which no user may have seen yet, each attempt gets half. Repeatable: the same run, sample and
    experience fall the same way again.
    """
    asked = question(sample_messages(sample))
    choose, attempts = memory.selector(snapshot.caps), []
    candidates = [(e, memory.settings.inclusion) for e in snapshot.active] + [(e, SHADOW_SHARE) for e in shadow]
    eligible = [e.id for e in choose([e for e, _ in candidates], snapshot.usage, asked)]
    for i in range(memory.settings.rollouts):
        share = [e for e, inclusion in candidates if _included(inclusion, run, sample.id, i, e.id)]
        shown = choose(share, snapshot.usage, asked)
        attempts.append(
            Attempt(
                sample=sample.model_dump(mode="json"),
                block=render_block(shown),
                seen=[e.id for e in shown],
                eligible=eligible,
            )
        )
    return attempts


def _included(inclusion: float, *where: object) -> bool:
    return random.Random("/".join(map(str, where))).random() < inclusion


async def attempt(state: Attempt, *, kit: Kit) -> Json:
    """Let the student try once."""
    given = await scoring.answer(kit, read_sample(state), state["seen"], state["block"])
    trajectory = Trajectory(
        text=given.text, tools=given.tools, seen=tuple(state["seen"]), eligible=tuple(state["eligible"])
    )
    return {"trajectories": [trajectory.model_dump()], "spend": dump_spend(given.spend)}


def attempt_failed(state: Attempt, error: NodeError) -> Command[str]:
    """Record an attempt that got no answer: the others go on."""
    if is_final(error.error):
        raise error.error
    trajectory = Trajectory(
        error=one_line(error.error),
        lost=is_transient(error.error),
        seen=tuple(state["seen"]),
        eligible=tuple(state["eligible"]),
    )
    return Command(update={"trajectories": [trajectory.model_dump()]}, goto="grade")


async def grade_all(state: DistillState, *, kit: Kit) -> Json:
    """Score the attempts against the reference; without one, the teacher's answer is the reference."""
    sample = read_sample(state)
    reference = sample.reference or grading.final_answer(state.get("solution", ""))
    attempts = [Trajectory.model_validate(t) for t in (*state["trajectories"], *state.get("recorded", []))]
    graded = [await _graded(kit, sample, attempt, reference) for attempt in attempts]
    # a field of their own: the reducer of `trajectories` adds up
    update: Json = {"reference": reference, "graded": [t.model_dump() for t in graded]}
    if await _is_wrong(kit, sample, state.get("solution", "")):
        update["solution"] = ""  # a critic that is shown a wrong solution teaches it
    if mean_score(graded) is None:
        problem = next((t.error for t in graded if t.error), "there is nothing to grade against")
        update |= {"status": "set_aside", "note": f"no attempt could be graded: {problem}"}
        update["lost"] = state["lost"] or any(t.lost for t in graded)
    return update


async def _is_wrong(kit: Kit, sample: Sample, solution: str) -> bool:
    """Tell whether the teacher's own solution contradicts the reference; a worked one that came along does not."""
    if not solution or not sample.reference or sample.solution:
        return False
    attempt = await _graded(kit, sample, Trajectory(text=solution), sample.reference)
    return attempt.score == 0


async def _graded(kit: Kit, sample: Sample, trajectory: Trajectory, reference: str) -> Trajectory:
    if trajectory.error or trajectory.score is not None or not reference:
        return trajectory
    try:
        score, comment = await grading.grade(kit.grader, sample, trajectory.text, reference)
    except Exception as error:  # a user's grader may raise anything; it is a recorded failure
        if is_final(error):
            raise
        reason = f"the grader failed: {one_line(error)}"
        return trajectory.model_copy(update={"error": reason, "lost": is_transient(error)})
    return trajectory.model_copy(update={"score": score, "comment": comment})
