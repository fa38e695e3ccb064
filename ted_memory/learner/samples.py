"""From an episode to what the distillation graph works on."""

from collections.abc import Mapping

from ted_memory.episodes import Claim, Episode
from ted_memory.llm.messages import restore_images
from ted_memory.models import Message, Sample, Trajectory

TOOLS = "The tool calls that were made for this, with their results:"


def to_sample(claim: Claim, images: Mapping[str, bytes], *, with_tools: bool) -> Sample:
    """Return the task of an episode; its reference is a correction, or else the answer where that was right.

    ``with_tools``: the student answers again over the recorded tool results, so that nothing is done twice in the
    world; else the agent is run anew, with its tools.

    Raises:
        ValueError: the episode has no task.
    """
    episode = claim.episode
    messages = restore_images(episode.input, images)
    if with_tools and episode.tools:
        messages = (*messages, Message(role="user", content="\n".join([TOOLS, *(f"- {t}" for t in episode.tools)])))
    reference = claim.correction or (episode.answer if claim.score == 1 else "")
    return Sample(id=episode.run_id, input=messages, reference=reference or None)


def to_attempt(claim: Claim) -> Trajectory:
    """Return what the live agent did, with the score that it was given."""
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
