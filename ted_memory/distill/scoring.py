"""A student's answer with given experiences, as a deployed agent would give it, and its score."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ted_memory.distill import grading
from ted_memory.distill.kit import StudentKit
from ted_memory.distill.spend import Spend
from ted_memory.experience.rendering import render_block, strip_block
from ted_memory.messages import place_block, question, sample_messages, text_of
from ted_memory.models import Experience, ExperienceSet, Sample


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``done`` of ``total`` in a phase ("distil", "validate", "measure"), and what came of it."""

    phase: str
    done: int
    total: int
    learned: int = 0
    set_aside: int = 0


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Answer:
    """What a student said, and the ids of the experiences that it was shown."""

    text: str
    shown: tuple[str, ...]
    spend: Spend


async def answer(kit: StudentKit, sample: Sample, block: str) -> tuple[str, Spend]:
    """Return the student's text for a sample with a block in its prompt, and the cost."""
    messages = place_block(sample_messages(sample), block, kit.settings.placement)
    message, spend = await kit.calls.invoke("student", kit.student, messages)
    return strip_block(text_of(message)).encode("utf-8", "replace").decode(), spend


def chosen(
    kit: StudentKit, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience]
) -> tuple[Experience, ...]:
    """Return which of these experiences a student would see, chosen as in production."""
    active = [e for e in experiences if e.state == "active"]
    return kit.memory.selector(snapshot.caps)(active, snapshot.usage, question(sample_messages(sample)))


async def answer_with(
    kit: StudentKit, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience]
) -> Answer:
    """Let the student answer with these experiences."""
    shown = chosen(kit, sample, snapshot, experiences)
    text, spend = await answer(kit, sample, render_block(shown))
    return Answer(text, tuple(e.id for e in shown), spend)


async def score_with(
    kit: StudentKit, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience], reference: str
) -> tuple[float, Spend]:
    """Return the student's score with these experiences, and the cost."""
    given = await answer_with(kit, sample, snapshot, experiences)
    score, _ = await grading.grade(kit.grader, sample, given.text, reference)
    return score, given.spend


async def side_by_side(work: Callable[[Any], Awaitable[None]], tasks: Sequence[Any], workers: int) -> None:
    """Work through the tasks in order, so many at a time; the first error stops all and is raised."""
    waiting = iter(tasks)

    async def worker() -> None:
        me = asyncio.current_task()
        for task in waiting:
            await work(task)
            if me and me.cancelling():  # lost on the way: asyncio.wait_for of Python 3.11 does that now and then
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(tasks))):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
