"""A learner takes the steps that are due in a set: `experience.trials` says which these are.

Lessons go on trial, trials end, and active lessons that have come to hurt are taken back. Each step
is a commit of its own.
"""

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ted_memory import telemetry
from ted_memory.errors import StoreError
from ted_memory.experience.assignment import principals
from ted_memory.experience.evidence import Evidence
from ted_memory.experience.identity import wording
from ted_memory.experience.trials import Step, next_steps, room_for, without_room
from ted_memory.memory.client import TedMemory
from ted_memory.models import Edit, Experience, ExperienceSet, SetState
from ted_memory.protocols import KnownEvidence
from ted_memory.settings import TrialSettings

# One learner at a time looks, to spare the others the work; correctness does not depend on it.
LEASE, SECONDS = "trials", 1.5
AUTHOR = "trials"
COUNTED = {
    ("proposed", "trial"): "trials_begun",
    ("trial", "active"): "activated",
    ("active", "proposed"): "demoted",
}
"""The day's counter of a change of state. What is retired has one, whatever it was before."""

_LOG = logging.getLogger("ted_memory")


async def look(
    memory: TedMemory,
    holder: str,
    known: KnownEvidence | None = None,
    done: list[str] | None = None,
) -> tuple[list[str], KnownEvidence]:
    """Take every step that is due in one set. Nothing is done while another learner looks.

    Args:
        memory: the set.
        holder: the learner's name.
        known: what the last look returned, so that only changes are read.
        done: is extended by each step when it is taken: whoever is interrupted keeps what was done
            until then.

    Returns:
        What was done, in words, and what is known of the set's lessons.

    Raises:
        StoreError: the store cannot be reached, or refuses.
    """
    known, done = known or {}, [] if done is None else done
    is_off = memory.settings.trust == "always"
    if is_off or not await memory.repository.hold(LEASE, holder, SECONDS):
        return done, known
    snapshot = await _without_repetitions(memory)
    if not len(snapshot):
        return done, known
    known = await memory.repository.evidence([e.id for e in snapshot], known)
    evidence = {id: shown.evidence for id, shown in known.items()}
    now = datetime.now(UTC)
    due = next_steps(snapshot, evidence, memory.settings, now)
    for step, going in _with_room(due, snapshot, evidence, memory.settings, now):
        taken = await _take(step, going, snapshot, memory)
        if taken:
            edit = step.edit
            done.append(f"{edit.id}: {edit.state}: {step.why}")
            _LOG.info("lesson %s of %r: %s: %s", edit.id, memory.namespace, edit.state, step.why)
            await _count(taken, snapshot, memory)
    return done, known


async def _without_repetitions(memory: TedMemory) -> ExperienceSet:
    """Return the set, after taking out what was proposed twice."""
    snapshot = await memory.load()
    repeated = _repeated(snapshot.proposed)
    if not repeated:
        return snapshot
    await memory.commit(
        repeated, author=AUTHOR, why="said twice", base=snapshot, token=secrets.token_hex(16)
    )
    return await memory.load()


def _repeated(proposed: Sequence[Experience]) -> list[Edit]:
    """Return what takes out proposals that say what an earlier one says.

    Two learners may have been told the same at the same time. The proposals are not merged, since a
    merge would be a new lesson: the evidence on the first one would be lost, and with it that it
    waits for a person.
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
    """Let another learner look at once, without waiting for the lease to end."""
    if memory.settings.trust != "always":
        await memory.repository.hold(LEASE, holder, 0)


def _with_room(
    due: Iterable[Step],
    snapshot: ExperienceSet,
    evidence: Mapping[str, Evidence],
    settings: TrialSettings,
    now: datetime,
) -> Iterator[tuple[Step, Sequence[SetState]]]:
    """Yield the steps that the set has room for, each with those that make room for it.

    A lesson that would become active and has no room waits; when it has waited for too long, the
    step is to end its trial.
    """
    for step in due:
        if step.edit.state != "active":
            yield step, ()
            continue
        lesson = snapshot.by_id[step.edit.id]
        going = room_for(lesson, snapshot, evidence, settings)
        if going is None:
            end = without_room(lesson, now)
            if end is not None:
                yield end, ()
        elif going:
            ids = ", ".join(edit.id for edit in going)
            why = f"{step.why}; {ids} made room, of which replays had shown less"
            yield replace(step, why=why), going
        else:
            yield step, ()


async def _take(
    step: Step, going: Sequence[SetState], snapshot: ExperienceSet, memory: TedMemory
) -> list[SetState]:
    """Commit one step with what makes room for it; return the edits that took effect.

    None did where the set has changed since: the next look decides on what it is then.
    """
    edits = [*going, step.edit]
    commit = await memory.commit(
        edits, author=AUTHOR, why=step.why, base=snapshot, atomic=True, token=secrets.token_hex(16)
    )
    return edits if commit.applied else []


async def _count(taken: Sequence[SetState], snapshot: ExperienceSet, memory: TedMemory) -> None:
    """Count what has moved, for `learner.overview`.

    Nothing is decided by these counts, so where the store is away they are not made up for.
    """
    moved = Counter[str]()
    for edit in taken:
        name = COUNTED.get((snapshot.by_id[edit.id].state, edit.state))
        if edit.state == "retired":
            name = "retired"
        if name:
            moved[name] += 1
    if moved:
        telemetry.lessons_moved(moved)
        with contextlib.suppress(StoreError):
            await memory.repository.count(moved)
