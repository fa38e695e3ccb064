"""A student's answer with given experiences, as a deployed agent would give it, and its score."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ted_memory.distill.context import AnswerContext
from ted_memory.episodes import Exposure
from ted_memory.errors import ModelError
from ted_memory.experience.rendering import strip_block
from ted_memory.llm.messages import (
    answer_of,
    question,
    sample_messages,
    show_lessons,
    task_of,
    text_of,
    tool_calls,
)
from ted_memory.llm.spend import Spend
from ted_memory.memory.presentation import exposure_of
from ted_memory.models import Experience, ExperienceSet, Sample


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``done`` of ``total`` in a phase, and what came of it.

    Phases are ``distil``, ``validate``, ``show`` and ``measure``.
    """

    phase: str
    done: int
    total: int
    learned: int = 0
    set_aside: int = 0


# share of the samples that may be lost for a reason of their own, such as a text that is refused
OWN_TROUBLE = 0.05
T = TypeVar("T")

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Answer:
    """What a student said, and the ids of the experiences that it was shown."""

    text: str
    shown: tuple[str, ...]
    spend: Spend
    tools: tuple[str, ...] = ()


async def answer(context: AnswerContext, sample: Sample, exposure: Exposure) -> Answer:
    """Have the student answer a sample with what it is shown; our own block is cut out of it."""
    messages = show_lessons(sample_messages(sample), exposure)
    output, spend = await context.calls.raw("student", context.student, messages)
    tools = tuple(_clean(call) for call in tool_calls(output))
    return Answer(_clean(text_of(answer_of(output))), exposure.seen, spend, tools)


def _clean(text: str) -> str:
    return strip_block(text).encode("utf-8", "replace").decode()


async def chosen(
    context: AnswerContext,
    sample: Sample,
    snapshot: ExperienceSet,
    experiences: Sequence[Experience],
) -> tuple[Experience, ...]:
    """Return which of these experiences a student would see.

    They are chosen as in production, but for the sample itself as a solved task.
    """
    active = without_its_own([e for e in experiences if e.state == "active"], sample)
    return await context.memory.show(
        snapshot, question(sample_messages(sample)), experiences=active
    )


def without_its_own(experiences: Sequence[Experience], sample: Sample) -> list[Experience]:
    """Leave out the sample itself as a solved task.

    Who is shown the answer says nothing of any lesson.
    """
    task = plain_task(task_of(sample))
    return [e for e in experiences if not e.task or plain_task(e.task) != task]


def plain_task(task: str) -> str:
    """Return what is the same for tasks that differ in blanks and capitals alone."""
    return " ".join(task.split()).casefold()


async def answer_with(
    context: AnswerContext,
    sample: Sample,
    snapshot: ExperienceSet,
    experiences: Sequence[Experience],
) -> Answer:
    """Let the student answer with these experiences."""
    shown = await chosen(context, sample, snapshot, experiences)
    placement = context.memory.presentation(snapshot).placement
    return await answer(context, sample, exposure_of(shown, placement))


async def gather_all(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Return what each of these gives.

    When one fails the others are stopped, and its error is raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def with_retries(
    work: Callable[[Any], Awaitable[str]], tasks: Sequence[Any], workers: int
) -> None:
    """Work through the tasks, and again through those that were lost to the provider.

    That goes on as long as it helps. `work` returns why a task was lost, "" when it was not. A few
    that go on being lost are left as they are: each may have a trouble of its own.

    Raises:
        ModelError: so many went on being lost that it is the provider's trouble.
        Exception: the first error of `work`; it stops all.
    """
    todo, lost = list(tasks), dict[int, str]()

    async def one(numbered: tuple[int, Any]) -> None:
        number, task = numbered
        if reason := await work(task):
            lost[number] = reason

    while todo:
        lost.clear()
        await map_bounded(one, list(enumerate(todo)), workers)
        if len(lost) == len(todo):
            break
        todo = [todo[number] for number in sorted(lost)]
    if len(todo) > max(1, OWN_TROUBLE * len(tasks)):
        reason = next(iter(lost.values()))
        raise ModelError(
            f"the provider did not answer for {len(todo)} samples, "
            f"also when asked again ({reason})."
        )


async def map_bounded(
    work: Callable[[Any], Awaitable[None]], tasks: Sequence[Any], workers: int
) -> None:
    """Work through the tasks in order, so many at a time.

    The first error stops all and is raised.
    """
    waiting = iter(tasks)

    async def worker() -> None:
        me = asyncio.current_task()
        for task in waiting:
            await work(task)
            # lost on the way: asyncio.wait_for of Python 3.11 does that now and then
            if me and me.cancelling():
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(tasks))):
                group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
