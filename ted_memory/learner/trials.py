"""What is due in a set: lessons that go on trial, trials that end, active lessons that have come to hurt."""

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ted_memory.errors import StoreError
from ted_memory.experience.assignment import principals
from ted_memory.experience.evidence import Evidence
from ted_memory.experience.identity import wording
from ted_memory.experience.trials import Step, next_steps, room_for, without_room
from ted_memory.memory.client import TedMemory
from ted_memory.models import Edit, Experience, ExperienceSet, SetState
from ted_memory.protocols import KnownEvidence
from ted_memory.settings import Settings

# one learner at a time looks, as long as it does; correctness does not depend on it
LEASE, SECONDS = "trials", 1.5
AUTHOR = "trials"
COUNTED = {
    ("proposed", "trial"): "trials_begun",
    ("trial", "active"): "activated",
    ("active", "proposed"): "demoted",
}
"""Among the day's counters: what a lesson was and has become. What is retired counts whatever it was."""

_LOG = logging.getLogger("ted_memory")


async def look(
    memory: TedMemory,
    holder: str,
    known: KnownEvidence | None = None,
    done: list[str] | None = None,
) -> tuple[list[str], KnownEvidence]:
    """Take every step that is due in one set; return what was done, in words, and what is known of its lessons.

    Nothing is done while another learner looks. ``known`` is what the last look returned: only
    changes are read. ``done`` is told of each step as it is taken: who is interrupted keeps what
    was done until then.
    """
    known, done = known or {}, [] if done is None else done
    is_off = memory.settings.trust == "operator"
    if is_off or not await memory.store.hold(memory.namespace, LEASE, holder, SECONDS):
        return done, known
    snapshot = await _without_repetitions(memory)
    if not len(snapshot):
        return done, known
    known = await memory.store.episodes.evidence(memory.namespace, [e.id for e in snapshot], known)
    evidence = {id: shown.evidence for id, shown in known.items()}
    now = datetime.now(UTC)
    for due in next_steps(snapshot, evidence, memory.settings, now):
        step, going = _with_room(due, snapshot, evidence, memory.settings, now)
        if step and (taken := await _take(step, going, snapshot, memory)):
            done.append(f"{step.edit.id}: {step.edit.state}: {step.why}")
            _LOG.info(
                "lesson %s of %r: %s: %s", step.edit.id, memory.namespace, step.edit.state, step.why
            )
            await _count(taken, snapshot, memory)
    return done, known


async def _without_repetitions(memory: TedMemory) -> ExperienceSet:
    """Return the set, after what was proposed twice has become one."""
    snapshot = await memory.load()
    if not (repeated := _repeated(snapshot.proposed)):
        return snapshot
    await memory.commit(
        repeated, author=AUTHOR, why="said twice", base=snapshot, token=secrets.token_hex(16)
    )
    return await memory.load()


def _repeated(proposed: Sequence[Experience]) -> list[Edit]:
    """Return what takes out proposals that say what an earlier one says: two learners at once may have been told so.

    They are not merged: what is known of the first one would be lost, and with it that it waits for
    a person.
    """
    known: set[tuple[str, str]] = set()
    edits: list[Edit] = []
    for e in sorted(proposed, key=lambda e: e.order):
        said = wording(e.when, e.text)
        if said in known and principals(e):
            edits.append(SetState(id=e.id, state="retired", rev=e.rev))
        known.add(said)
    return edits


async def release_lease(memory: TedMemory, holder: str) -> None:
    """Let another learner look."""
    if memory.settings.trust != "operator":
        await memory.store.hold(memory.namespace, LEASE, holder, 0)


def _with_room(
    due: Step,
    snapshot: ExperienceSet,
    evidence: Mapping[str, Evidence],
    settings: Settings,
    now: datetime,
) -> tuple[Step | None, list[SetState]]:
    """Return a step that the set has room for, and what goes for it; None where it has to wait for room."""
    if due.edit.state != "active":
        return due, []
    lesson = snapshot.by_id[due.edit.id]
    going = room_for(lesson, snapshot, evidence, settings)
    if going is None:
        return without_room(lesson, now), []
    if not going:
        return due, []
    ids = ", ".join(edit.id for edit in going)
    return replace(due, why=f"{due.why}; {ids} made room, of which replays had shown less"), going


async def _take(
    step: Step, going: Sequence[SetState], snapshot: ExperienceSet, memory: TedMemory
) -> list[SetState]:
    """Commit one step with what goes for it; return the edits that took effect."""
    edits = [*going, step.edit]
    commit = await memory.commit(
        edits, author=AUTHOR, why=step.why, base=snapshot, atomic=True, token=secrets.token_hex(16)
    )
    return edits if commit.applied else []  # a conflict: the next look sees how it stands then


async def _count(taken: Sequence[SetState], snapshot: ExperienceSet, memory: TedMemory) -> None:
    """Count what has moved, for the funnel. Nothing is decided by it: where the store is away it stays uncounted."""
    moved = Counter[str]()
    for edit in taken:
        if (
            name := "retired"
            if edit.state == "retired"
            else COUNTED.get((snapshot.by_id[edit.id].state, edit.state))
        ):
            moved[name] += 1
    if moved:
        with contextlib.suppress(StoreError):
            await memory.store.episodes.count(memory.namespace, moved)
