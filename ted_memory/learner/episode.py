"""What a learner does with one claimed episode: the graph learns from it, and settles it.

For `learner.learner`, which claims episodes and deals with those that fail.
"""

from collections.abc import Sequence

from ted_memory import telemetry
from ted_memory.distill.nodes.commit import LOST
from ted_memory.distill.state import read_graded
from ted_memory.episodes import Claim
from ted_memory.learner.samples import sources_of, to_sample, to_state
from ted_memory.learner.spaces import Space
from ted_memory.llm.work import WORK, Work
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample, Trajectory
from ted_memory.protocols import Settle


class NoAnswer(Exception):  # noqa: N818 - says what became of an episode
    """The models' provider did not answer for an episode; the argument says why."""


async def learn_from(
    claim: Claim, space: Space, *, with_tools: bool, judged: bool, grade_live: bool
) -> str:
    """Send an episode through the graph, which settles it.

    Args:
        claim: the learner's hold on the episode.
        space: what the learner keeps of its namespace.
        with_tools: the student answers again over the recorded tool results.
        judged: the grader is a model, so every episode can be graded.
        grade_live: the grade of the live answer counts as its outcome until there is feedback.

    Returns:
        What became of it: ``learned``, ``nothing`` or ``set_aside``.

    Raises:
        NoAnswer: the provider did not answer; the episode is not settled.
        ClaimLost: another learner holds it by now.
        StoreError: it could not be read or settled.
    """
    memory = space.memory
    if await space.forget_purged(sources_of(claim)):  # no model reads what was purged
        settled = Settle(seq=claim.seq, fence=claim.fence, outcome="nothing")
        await memory.commit([], author="learner", settle=settled)
        return "nothing"
    # a recorder that ended after it had sent the run has not counted what was said before that
    await memory.recorder.credit_told(claim.episode.run_id, claim.feedback)
    sample = await _sample_of(claim, memory, with_tools=with_tools)
    language = memory.settings.language
    state = to_state(claim, sample, space.recent, judged=judged, language=language)
    peers = {one.id: one for one, _ in space.recent}
    context = space.replayer.context.for_one_pass(peers)
    work = Work("learn", memory.namespace, claim.episode.run_id, context.profile.name)
    WORK.set(work)  # of this episode's task alone
    out = await space.graph.ainvoke(state, work.config(), context=context)
    if out["status"] == LOST:
        raise NoAnswer(out["note"])
    graded = read_graded(out)
    _tell_grade(claim, graded, memory)
    if grade_live:
        await _credit_live_answer(claim, graded, memory)
    if out["reference"]:
        known = {"reference": out["reference"], "sources": sources_of(claim)}
        space.recent.append((sample.model_copy(update=known), _mean_score(graded[:-1])))
    return str(out["status"])


async def _sample_of(claim: Claim, memory: TedMemory, *, with_tools: bool) -> Sample:
    hashes = claim.episode.images
    images = await memory.store.episodes.images(memory.namespace, hashes) if hashes else {}
    return to_sample(claim, images, with_tools=with_tools)


async def _credit_live_answer(
    claim: Claim, graded: Sequence[Trajectory], memory: TedMemory
) -> None:
    """Count the grade of the live run as its outcome, where nobody has given feedback yet.

    The live run is the last of the graded attempts. Feedback that comes later takes its place.
    """
    if claim.score is None and graded and graded[-1].score is not None:
        await memory.recorder.credit(claim.episode.run_id, graded[-1].score, first=True)


def _tell_grade(claim: Claim, graded: Sequence[Trajectory], memory: TedMemory) -> None:
    """Tell traces the grade of the live run, where it is the learner's and not somebody's word."""
    live = graded[-1] if graded else None
    if claim.score is None and live is not None and live.score is not None:
        telemetry.graded(memory.namespace, claim.episode.run_id, live.score, live.comment)


def _mean_score(attempts: Sequence[Trajectory]) -> float | None:
    scores = [attempt.score for attempt in attempts if attempt.score is not None]
    return sum(scores) / len(scores) if scores else None
