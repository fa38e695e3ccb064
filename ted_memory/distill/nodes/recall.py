"""Recall: load the set once, and deal out the attempts, each with its own share of the lessons."""

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from ted_memory.distill.context import DistillContext
from ted_memory.distill.scoring import without_its_own
from ted_memory.distill.state import Attempt, DistillState, Json, left_out, read_sample
from ted_memory.experience.assignment import draw
from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.llm.messages import question, sample_messages
from ted_memory.memory.client import TedMemory
from ted_memory.memory.presentation import exposure_of
from ted_memory.models import ExperienceSet, Sample


async def recall(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Load the set once and deal out the attempts; the whole pass speaks of this version.

    Raises:
        InvalidInput: there is no sample, or a peer that the context does not have.
    """
    context = runtime.context
    sample, _ = read_sample(state), context.peers_of(state)
    snapshot = await context.memory.load()
    attempts: list[Attempt] = []
    if context.fresh:
        ranking = await _ranking(sample, snapshot, context.memory)
        attempts = deal(sample, snapshot, context.memory, ranking, run=state.get("run", ""))
    # all anew: a thread may have held another sample before
    return {
        **left_out(state),
        "set_version": context.sets.keep(snapshot),
        "attempts": attempts,
        "trajectories": [],
        "reference": "",
        "solution": "",
        "graded": [],
        "refused": Overwrite([]),
        "joined": Overwrite([]),
        "commits": Overwrite([]),
        "spend": Overwrite({}),
        "round": 0,
        "proposal": [],
        "reason": "",
        "helped": [],
        "hurt": [],
        "feedback": [],
        "accepted": [],
        "pending": [],
        "compacting": False,
        "holder": "",
        "status": "nothing",
        "lost": False,
        "note": "",
    }


async def _ranking(sample: Sample, snapshot: ExperienceSet, memory: TedMemory) -> Ranking:
    """Rank the set for the sample, where the selection looks at the question."""
    if memory.presentation(snapshot).selection != "relevant":
        return NO_QUESTION
    return await memory.rank(snapshot.candidates, question(sample_messages(sample)))


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
        shown_share = memory.settings.shown_share
        share = [e for e in active if _included(shown_share, run, sample.id, i, e.id)]
        shown = choose(share, snapshot.usage, ranking)
        attempts.append(
            Attempt(
                exposure=exposure_of(shown, placement).model_dump(mode="json"),
                eligible=eligible,
            )
        )
    return attempts


def _included(shown_share: float, *where: object) -> bool:
    return draw(*map(str, where)) < shown_share
