"""A student's answer with given experiences, as a deployed agent would give it, and its score."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ted_memory.distill import grading
from ted_memory.distill.kit import StudentKit
from ted_memory.distill.spend import Spend
from ted_memory.experience.rendering import render_block, strip_block
from ted_memory.messages import answer_of, place_block, question, sample_messages, text_of, tool_calls
from ted_memory.models import Experience, ExperienceSet, Sample


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``done`` of ``total`` in a phase ("distil", "validate", "measure"), and what came of it."""

    phase: str
    done: int
    total: int
    learned: int = 0
    set_aside: int = 0


T = TypeVar("T")

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Answer:
    """What a student said, and the ids of the experiences that it was shown."""

    text: str
    shown: tuple[str, ...]
    spend: Spend
    tools: tuple[str, ...] = ()


async def answer(kit: StudentKit, sample: Sample, shown: Sequence[str], block: str) -> Answer:
    """Return the student's answer to a sample with a block in its prompt; our own block is cut out of it."""
    messages = place_block(sample_messages(sample), block, kit.settings.placement)
    output, spend = await kit.calls.raw("student", kit.student, messages)
    tools = tuple(_clean(call) for call in tool_calls(output))
    return Answer(_clean(text_of(answer_of(output))), tuple(shown), spend, tools)


def _clean(text: str) -> str:
    return strip_block(text).encode("utf-8", "replace").decode()


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
    return await answer(kit, sample, [e.id for e in shown], render_block(shown))


async def score_with(
    kit: StudentKit, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience], reference: str
) -> tuple[float, Spend]:
    """Return the student's score with these experiences, and the cost."""
    given = await answer_with(kit, sample, snapshot, experiences)
    score, _ = await grading.grade(kit.grader, sample, given.text, reference)
    return score, given.spend


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Return what each of these gives; when one fails the others are stopped, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


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
