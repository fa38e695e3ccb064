"""Recall: load the set once, and deal out the attempts, each with its own share of the lessons."""

import random

from ted_memory.distill.context import DistillContext
from ted_memory.distill.scoring import without_its_own
from ted_memory.distill.state import Attempt, DistillState, Json, dump_set, read_sample
from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.llm.messages import question, sample_messages
from ted_memory.memory.client import TedMemory
from ted_memory.memory.presentation import exposure_of
from ted_memory.models import ExperienceSet, Sample


async def recall(state: DistillState, *, context: DistillContext) -> Json:
    """Load the set once and deal out the attempts; the whole pass speaks of this version."""
    snapshot = await context.memory.load()
    sample = read_sample(state)
    ranking = await _ranking(state, snapshot, context.memory)
    # None: begin anew
    fresh = dict.fromkeys(("trajectories", "refused", "joined", "commits", "spend"))
    return {
        **fresh,
        "snapshot": dump_set(snapshot),
        "attempts": deal(sample, snapshot, context.memory, ranking, run=state.get("run", ""))
        if context.fresh
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


async def _ranking(state: DistillState, snapshot: ExperienceSet, memory: TedMemory) -> Ranking:
    """Rank the set for the sample, where the selection looks at the question."""
    if memory.presentation(snapshot).selection != "relevant":
        return NO_QUESTION
    return await memory.rank(snapshot.candidates, question(sample_messages(read_sample(state))))


def deal(
    sample: Sample,
    snapshot: ExperienceSet,
    memory: TedMemory,
    ranking: Ranking,
    *,
    run: str,
) -> list[Attempt]:
    """Give each attempt a random share of the set, then choose from it as in production.

    Repeatable: the same run, sample and experience fall the same way again.
    """
    choose, attempts = memory.selector(snapshot), []
    active = without_its_own(snapshot.active, sample)
    eligible = [e.id for e in choose(active, snapshot.usage, ranking)]
    placement = memory.presentation(snapshot).placement
    for i in range(memory.settings.rollouts):
        inclusion = memory.settings.inclusion
        share = [e for e in active if _included(inclusion, run, sample.id, i, e.id)]
        shown = choose(share, snapshot.usage, ranking)
        attempts.append(
            Attempt(
                sample=sample.model_dump(mode="json"),
                exposure=exposure_of(shown, placement).model_dump(mode="json"),
                eligible=eligible,
            )
        )
    return attempts


def _included(inclusion: float, *where: object) -> bool:
    return random.Random("/".join(map(str, where))).random() < inclusion
