"""What is due in a set: lessons that go on trial, trials that end, active lessons that have come to hurt."""

import logging
import secrets

from ted_memory.distill.merging import said_twice
from ted_memory.episodes import Standing
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.experience.trust import Step, next_steps, waits_for
from ted_memory.experience.utility import rank
from ted_memory.memory import TedMemory
from ted_memory.models import Edit, ExperienceSet, SetState, Usage

LEASE, SECONDS = "trials", 1.5  # one learner at a time looks, as long as it does; correctness does not depend on it
AUTHOR = "trials"

_LOG = logging.getLogger("ted_memory")


async def look(memory: TedMemory, holder: str, *, shadow: bool) -> list[str]:
    """Take every step that is due in one set; return what was done, in words. Nothing while another learner looks."""
    if memory.settings.trust == "operator":
        return []
    if not await memory.store.hold(memory.namespace, LEASE, holder, SECONDS):
        return []
    snapshot = await memory.load()
    if not len(snapshot):
        return []
    done = []
    if twice := said_twice(snapshot.proposed):  # two learners at once may have been told the same
        await memory.commit(twice, author=AUTHOR, why="said twice", base=snapshot, token=secrets.token_hex(16))
        snapshot = await memory.load()
    for step in next_steps(snapshot, await memory.usage(), memory.settings, shadow=shadow):
        if await _take(step, snapshot, memory):
            done.append(f"{step.edit.id}: {step.edit.state}: {step.why}")
            _LOG.info("lesson %s of %r: %s: %s", step.edit.id, memory.namespace, step.edit.state, step.why)
    return done


async def let_go(memory: TedMemory, holder: str) -> None:
    """Let another learner look."""
    if memory.settings.trust != "operator":
        await memory.store.hold(memory.namespace, LEASE, holder, 0)


async def _take(step: Step, snapshot: ExperienceSet, memory: TedMemory) -> bool:
    """Commit one step by itself: its usage changes with it, or not at all."""
    edits: list[Edit] = [step.edit]
    if step.edit.state == "active":
        edits = [*_room_for(step, snapshot), step.edit]
    usage = {step.edit.id: step.usage} if step.usage != Usage() else {}
    commit = await memory.commit(
        edits, author=AUTHOR, why=step.why, base=snapshot, atomic=True, usage=usage, token=secrets.token_hex(16)
    )
    return bool(commit.applied)  # a conflict: the next look sees how it stands then


def _room_for(step: Step, snapshot: ExperienceSet) -> list[Edit]:
    """Return what makes room for a lesson that has earned its place: the active ones of lowest utility go."""
    lesson = snapshot.by_id[step.edit.id]
    caps, ranked = snapshot.caps, rank(snapshot.active, snapshot.usage)
    going: list[Edit] = []
    tokens = sum(e.tokens for e in ranked)
    while ranked and (
        len(ranked) + 1 > caps.max_experiences or FRAME_TOKENS + tokens + lesson.tokens > caps.token_budget
    ):
        worst = ranked.pop()
        tokens -= worst.tokens
        going.append(SetState(id=worst.id, state="retired", rev=worst.rev))
    return going


async def standings(memory: TedMemory, limit: int = 20) -> list[Standing]:
    """Return the lessons that are not active yet, on trial first, and what each one waits for."""
    snapshot, usage = await memory.load(), await memory.usage()
    waiting = [*snapshot.trial, *snapshot.proposed][:limit]
    return [Standing(experience=e, waits_for=waits_for(e, usage.get(e.id, Usage()), memory.settings)) for e in waiting]
