"""From a claimed episode to what the graph works on, and to what the archive keeps of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from ted_memory.distill.leaks import recurring_answers
from ted_memory.distill.state import DistillInput, Peer
from ted_memory.episodes import ANONYMOUS, Archived, Claim, Episode, word_of
from ted_memory.llm.messages import TOOL_RESULTS, restore_images
from ted_memory.models import Message, Sample, Trajectory
from ted_memory.retrieval.selection import common_words

PEERS = 6  # recent samples that a lesson is tried on


def to_sample(claim: Claim, images: Mapping[str, bytes], *, with_tools: bool) -> Sample:
    """Return the task of an episode as a sample, with its reference if it has one.

    The reference is what somebody gave as a correction, or the answer that was scored 1.

    Args:
        claim: of the episode, with what was said of it.
        images: those that it names, by their hashes.
        with_tools: the student answers again over the recorded tool results, so that nothing is
            done twice in the world; else the agent is run anew, with its tools.

    Raises:
        ValueError: the episode has no task.
    """
    episode = claim.episode
    messages = restore_images(episode.input, images)
    if with_tools and episode.tools:
        told = "\n".join([TOOL_RESULTS, *(f"- {tool}" for tool in episode.tools)])
        messages = (*messages, Message(role="user", content=told))
    reference = claim.correction or (episode.answer if claim.score == 1 else "")
    return Sample(id=episode.run_id, input=messages, reference=reference or None)


def speakers(claim: Claim) -> tuple[str, ...]:
    """Return whose words a lesson from an episode rests on.

    That is its principal, and whoever has commented on it or corrected it.
    """
    said = (
        f.principal
        for f in claim.feedback
        if f.principal != ANONYMOUS and (f.comment or f.correction)
    )
    return tuple(dict.fromkeys((claim.episode.principal, *said)))


def sources_of(claim: Claim) -> tuple[str, ...]:
    """Return the sources of a lesson from an episode: ``run:``, and ``principal:`` of speakers."""
    return f"run:{claim.episode.run_id}", *(f"principal:{who}" for who in speakers(claim))


def to_archive(claim: Claim, *, judged: bool) -> dict[str, Any] | None:
    """Return what the archive keeps of an episode for replays; None where it cannot be replayed.

    That is, where nobody has graded it, or it has images. Where a model grades (``judged``) every
    episode is graded; of those that nobody said anything of, the graph adds the teacher's answer as
    the reference.

    Replays answer over the recorded tool results, whatever the learner does that settles the
    episode.
    """
    episode = claim.episode
    if (claim.score is None and not claim.correction and not judged) or episode.images:
        return None
    archived = Archived(
        seq=claim.seq,
        run_id=episode.run_id,
        principal=episode.principal,
        speaker=_speaker(claim),
        unit=episode.unit,
        version=episode.version,
        sample=to_sample(claim, {}, with_tools=True),
        word=word_of(claim.feedback),
    )
    return archived.model_dump(mode="json", exclude_defaults=True)


def _speaker(claim: Claim) -> str:
    """Return whose word an episode's reference rests on.

    That is the latest who corrected the run, else, where its score is 1, the latest who scored it.
    A word without a name counts as the principal's own, as where outcomes are counted. So does the
    teacher's.
    """
    said = [f.principal for f in claim.feedback if f.correction]
    if not said and claim.score == 1:
        said = [f.principal for f in claim.feedback if f.score is not None]
    return said[-1] if said and said[-1] != ANONYMOUS else claim.episode.principal


def to_attempt(claim: Claim) -> Trajectory:
    """Return what the live agent did as an attempt, with the score and the comments on it."""
    episode = claim.episode
    comments = "; ".join(f.comment for f in claim.feedback if f.comment)
    return Trajectory(
        text=episode.answer,
        tools=episode.tools,
        score=claim.score,
        comment=comments,
        error=_error(episode) if claim.score is None else "",
    )


def _error(episode: Episode) -> str:
    return episode.error or ("" if episode.answer else "it gave no answer")


def to_state(
    claim: Claim,
    sample: Sample,
    recent: Iterable[tuple[Sample, float | None]],
    *,
    judged: bool,
    language: str,
) -> DistillInput:
    """Return the state that the graph begins with.

    Args:
        claim: of the episode: its live run is the first attempt, and the graph settles it.
        sample: the task.
        recent: other samples of the namespace, each with its mean score; the last `PEERS` of them
            are what a lesson is tried on.
        judged: the grader is a model.
        language: of the set.
    """
    latest = list(recent)
    samples = [one for one, _ in latest]
    return {
        "sample": sample.model_dump(mode="json"),
        "run": f"episode:{claim.seq}",
        "sources": [*sources_of(claim)],
        "recorded": [to_attempt(claim).model_dump()],
        "settle": {
            "seq": claim.seq,
            "fence": claim.fence,
            "archive": to_archive(claim, judged=judged),
        },
        "peers": [Peer(id=one.id, score=score) for one, score in latest[-PEERS:]],
        "common": sorted(common_words([one.text for one in samples], language=language)),
        "labels": recurring_answers(samples, of_users=True),
    }
