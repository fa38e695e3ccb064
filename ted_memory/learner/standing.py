"""Where lessons from traffic stand, and why: `ted-memory status` and `ted-memory explain`."""

from ted_memory.episodes import Standing
from ted_memory.errors import InvalidInput
from ted_memory.experience.evidence import Evidence
from ted_memory.experience.forecast import pairs_left
from ted_memory.experience.trials import loudest, wants_pairs
from ted_memory.experience.waiting import outcomes_left, waits_for, wealths_needed
from ted_memory.learner.reach import Reach
from ted_memory.memory.client import TedMemory
from ted_memory.models import Experience
from ted_memory.protocols import KnownEvidence, Shown
from ted_memory.settings import TrialSettings


async def standings(memory: TedMemory, limit: int = 20) -> list[Standing]:
    """Return where each lesson stands that is not active yet, and what it waits for.

    Those on trial come first; ``limit`` at most are returned.

    Raises:
        StoreError: the store cannot be reached.
    """
    snapshot = await memory.load()
    waiting = [*snapshot.trial, *snapshot.proposed][:limit]
    known = await memory.repository.evidence([e.id for e in waiting])
    return [_standing(e, known, memory.settings) for e in waiting]


async def explain(memory: TedMemory, id: str) -> Standing:
    """Return where one lesson stands, and why.

    Raises:
        InvalidInput: there is no such lesson.
        StoreError: the store cannot be reached.
    """
    lesson = (await memory.load()).by_id.get(id)
    if lesson is None:
        raise InvalidInput(
            f"there is no experience {id!r} in {memory.namespace!r}; `ted-memory show` lists them"
        )
    known = await memory.repository.evidence([id])
    standing = _standing(lesson, known, memory.settings)
    replays = await _replays_left(memory, lesson, known)
    if not replays:
        return standing
    return standing.model_copy(update={"waits_for": f"{standing.waits_for}; {replays}"})


async def _replays_left(memory: TedMemory, lesson: Experience, known: KnownEvidence) -> str:
    """Return in words what there is to replay a lesson on; "" where it does not wait for replays.

    Reads the whole archive.
    """
    evidence = known.get(lesson.id, Shown()).evidence
    if not _waits_for_replays(lesson, evidence, memory.settings):
        return ""
    traffic = await memory.store.episodes.traffic(memory.namespace)
    if not traffic.archived:
        return (
            "nothing is archived to replay it on: episodes are when they are graded "
            "and have a reference, which is a correction, an answer that was scored 1, "
            "or with a judge the teacher's"
        )
    if not await _has_episode_left(memory, lesson, known):
        if evidence.total.pairs or evidence.total.silent:
            return (
                "it was replayed on all archived episodes that it applies to; "
                "new graded ones go on with it"
            )
        return f"it applies to none of the {traffic.archived} archived episodes of others"
    if traffic.today.get("replay_calls"):
        return (
            "archived episodes are left for it; "
            "those lessons come first of which replays have shown more"
        )
    return (
        "archived episodes are left for it, and nothing was replayed today: "
        "a learner does (`ted-memory learn`) whose student is a model"
    )


def _waits_for_replays(lesson: Experience, evidence: Evidence, settings: TrialSettings) -> bool:
    is_off = settings.trust == "always" or not settings.replay_calls
    return lesson.state == "proposed" and not is_off and wants_pairs(lesson, evidence, settings)


async def _has_episode_left(memory: TedMemory, lesson: Experience, known: KnownEvidence) -> bool:
    """Tell whether an archived episode is left that a lesson may be replayed on."""
    reach = Reach()
    await reach.refresh(memory)
    reach.follow([lesson], known)
    while await reach.look(memory):
        pass
    return reach.next_for(lesson, ()) is not None


def _standing(e: Experience, known: KnownEvidence, settings: TrialSettings) -> Standing:
    evidence, k = known.get(e.id, Shown()).evidence, loudest(settings)
    needed, left = wealths_needed(e, evidence, settings), None
    if e.state == "proposed":
        left = pairs_left(evidence.total, evidence.helps(k), needed["helps"])
    if e.state == "trial":
        left = outcomes_left(evidence, settings)
    return Standing(
        experience=e,
        waits_for=waits_for(e, evidence, settings),
        pairs=int(evidence.total.pairs),
        outcomes=int(evidence.total.outcomes),
        principals=len(evidence.voices),
        lift=round(evidence.lift, 4),
        helps=evidence.helps(k),
        useless=evidence.useless(k),
        live=evidence.live(k),
        harms=evidence.harms(k),
        turned=evidence.turned(k),
        needed=needed,
        left=left,
    )
