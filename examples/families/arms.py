"""Ways to help a student: the same task with something else in its prompt, or with nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from examples.families.family import Family
from ted_memory import Add, Sample, TedMemory
from ted_memory.episodes import Exposure
from ted_memory.llm.messages import question, sample_messages, show_lessons
from ted_memory.memory.presentation import tokens_of
from ted_memory.retrieval.selection import match
from ted_memory.testing import in_memory

ROOM: dict[str, Any] = {"max_text": 2000, "token_budget": 8000}
Shows = Callable[[Sample], Awaitable[Exposure]]
"""From a task to what is shown with it: a block, or solved tasks as earlier turns."""


@dataclass(frozen=True)
class Arm:
    """One way: what a student is shown with a task; nothing where that is None."""

    name: str
    shows: Shows | None = None

    async def prompt(self, sample: Sample) -> tuple[list[BaseMessage], int]:
        """The messages that a student is asked with, and the tokens that they add to the task."""
        shown = await self.shows(sample) if self.shows else Exposure()
        return show_lessons(sample_messages(sample), shown), tokens_of(shown)


async def arms(family: Family, train: Sequence[Sample], lessons: Sequence[Add]) -> list[Arm]:
    """All ways: no lessons, these lessons in several doses and places, retrieved examples."""
    made = [Arm("none")]
    for placement in ("system", "user"):
        made.append(
            Arm(
                f"all, {placement}",
                shown(await _memory(lessons, selection="all", placement=placement)),
            )
        )
        for k in (3, 1):
            chosen = await _memory(lessons, selection="relevant", top_k=k, placement=placement)
            made.append(Arm(f"best {k}, {placement}", shown(chosen)))
    if family.student is None:  # what a model would take from an example no program can tell
        made += [arm for k in (1, 3) for arm in examples(family, train, k)]
    return made


def examples(family: Family, train: Sequence[Sample], k: int) -> list[Arm]:
    """The k training samples nearest to a task, with answers: as a block, and as earlier turns.

    They are found as lessons are, by the words of what sets a task apart; the nearest one stands
    next to the task.
    """
    gists = [family.gist(sample.text) for sample in train]

    async def block(sample: Sample) -> Exposure:
        text = render_examples(
            [(gists[i], train[i].reference or "") for i in nearest(gists, family, sample, k)]
        )
        return Exposure(block=text, placement="user")

    async def turns(sample: Sample) -> Exposure:
        return Exposure(
            turns=tuple(
                (train[i].text, train[i].reference or "")
                for i in reversed(nearest(gists, family, sample, k))
            )
        )

    return [Arm(f"{k} retrieved, user", block), Arm(f"{k} retrieved, turns", turns)]


def nearest(texts: Sequence[str], family: Family, sample: Sample, k: int) -> list[int]:
    """Which k of these texts are nearest to a task by its words, the nearest first."""
    scores = match(texts, family.gist(sample.text))
    return sorted(range(len(texts)), key=lambda i: (-scores[i], i))[:k]


def render_examples(pairs: Sequence[tuple[str, str]]) -> str:
    """Solved tasks as a block."""
    lines = [f"{task}\nAnswer: {answer}" for task, answer in pairs]
    return "\n\n".join(["Examples of earlier tasks with their right answers:", *lines])


async def _memory(lessons: Sequence[Add], **settings: Any) -> TedMemory:
    memory = in_memory(namespace="arm", **ROOM | settings)
    await memory.commit(lessons, author="hand")
    return memory


def shown(memory: TedMemory) -> Shows:
    """What an agent of this memory would be shown with a task."""

    async def shows(sample: Sample) -> Exposure:
        return await memory.present(question(sample_messages(sample)))

    return shows
