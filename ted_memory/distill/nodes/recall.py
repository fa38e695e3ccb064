"""Recall: load the set once, and deal out the attempts, each with its own share of the lessons."""

import random
from collections.abc import Sequence

from ted_memory.distill.kit import Kit
from ted_memory.distill.state import Attempt, DistillState, Json, dump_set, read_sample
from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.experience.rendering import render_block
from ted_memory.experience.trust import SHADOW_SHARE, is_from
from ted_memory.llm.messages import question, sample_messages
from ted_memory.memory import TedMemory
from ted_memory.models import Experience, ExperienceSet, Sample


async def recall(state: DistillState, *, kit: Kit) -> Json:
    """Load the set once and deal out the attempts; the whole pass speaks of this version."""
    snapshot = await kit.memory.load()
    sample = read_sample(state)
    ranking = await _ranking(state, snapshot, kit.memory)
    shadow = _shadow(state, snapshot, ranking)
    fresh = dict.fromkeys(("trajectories", "refused", "joined", "commits", "spend"))  # None: begin anew
    return {
        **fresh,
        "snapshot": dump_set(snapshot),
        "attempts": deal(sample, snapshot, kit.memory, ranking, run=state.get("run", ""), shadow=shadow)
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


async def _ranking(state: DistillState, snapshot: ExperienceSet, memory: TedMemory) -> Ranking:
    """Rank the set for the sample, where the selection looks at the question or a trial must know where it applies."""
    if memory.presentation(snapshot).selection != "relevant" and not (state.get("witness") and snapshot.trial):
        return NO_QUESTION
    return await memory.rank(snapshot.candidates, question(sample_messages(read_sample(state))))


def _shadow(state: DistillState, snapshot: ExperienceSet, ranking: Ranking) -> list[Experience]:
    """Return the lessons that no user sees yet and this episode may bear witness of: not those that came from it."""
    witness = state.get("witness")
    if not witness:
        return []
    unseen = [e for e in snapshot.trial if e.trial and not e.trial.exposure]
    applies = ranking.applying(unseen)
    return [e for e in unseen if e.id in applies and not is_from(e, **witness)]


def deal(
    sample: Sample,
    snapshot: ExperienceSet,
    memory: TedMemory,
    ranking: Ranking,
    *,
    run: str,
    shadow: Sequence[Experience] = (),
) -> list[Attempt]:
    """Give each attempt a random share of the set, then choose from it as in production.

    Of those in `shadow`, which no user may have seen yet, each attempt gets half. Repeatable: the same run, sample and
    experience fall the same way again.
    """
    choose, attempts = memory.selector(snapshot), []
    candidates = [(e, memory.settings.inclusion) for e in snapshot.active] + [(e, SHADOW_SHARE) for e in shadow]
    eligible = [e.id for e in choose([e for e, _ in candidates], snapshot.usage, ranking)]
    placement = memory.presentation(snapshot).placement
    for i in range(memory.settings.rollouts):
        share = [e for e, inclusion in candidates if _included(inclusion, run, sample.id, i, e.id)]
        shown = choose(share, snapshot.usage, ranking)
        attempts.append(
            Attempt(
                sample=sample.model_dump(mode="json"),
                block=render_block(shown),
                placement=placement,
                seen=[e.id for e in shown],
                eligible=eligible,
            )
        )
    return attempts


def _included(inclusion: float, *where: object) -> bool:
    return random.Random("/".join(map(str, where))).random() < inclusion
