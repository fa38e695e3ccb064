"""Ways to help a student, side by side: the same task with another block in its prompt, or with none."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from examples.families.family import Family
from ted_memory import Add, Sample, TedMemory
from ted_memory.experience.rendering import render_block
from ted_memory.llm.messages import question, sample_messages
from ted_memory.retrieval.selection import match, relevant
from ted_memory.settings import Placement
from ted_memory.testing import in_memory

ROOM: dict[str, Any] = {"max_text": 2000, "token_budget": 8000}
Block = Callable[[Sample], Awaitable[str]]
"""From a task to the block that its prompt gets."""


@dataclass(frozen=True)
class Arm:
    """One way: which block, and where it stands."""

    name: str
    placement: Placement
    block: Block


async def arms(family: Family, train: Sequence[Sample], lessons: Sequence[Add]) -> list[Arm]:
    """Return no lessons, these lessons in several doses and places, and retrieved training samples."""
    made = [Arm("none", "system", nothing)]
    for placement in ("system", "user"):
        made.append(Arm(f"all, {placement}", placement, shown(await _memory(lessons, selection="all"))))
        for k in (3, 1):
            chosen = await _memory(lessons, selection="relevant", top_k=k)
            made.append(Arm(f"best {k}, {placement}", placement, shown(chosen)))
    everywhere = [lesson for lesson in lessons if lesson.everywhere]
    if everywhere and len(everywhere) < len(lessons):
        made += [Arm(f"general + best 1, {p}", p, _general(await _memory(lessons))) for p in ("system", "user")]
    if family.student is None:  # what a model would take from an example no program can tell
        made += [Arm(f"{k} retrieved, user", "user", examples(family, train, k)) for k in (1, 3)]
    return made


def examples(family: Family, train: Sequence[Sample], k: int) -> Block:
    """Return the k training samples that are nearest to a task, with their answers, nearest first.

    They are found as lessons are, by the words of what sets a task apart.
    """
    gists = [family.gist(sample.text) for sample in train]

    async def block(sample: Sample) -> str:
        scores = match(gists, family.gist(sample.text))
        nearest = sorted(range(len(gists)), key=lambda i: (-scores[i], i))[:k]
        return render_examples([(gists[i], train[i].reference or "") for i in nearest])

    return block


def render_examples(pairs: Sequence[tuple[str, str]]) -> str:
    """Return solved tasks as a block."""
    lines = [f"{task}\nAnswer: {answer}" for task, answer in pairs]
    return "\n\n".join(["Examples of earlier tasks with their right answers:", *lines])


async def nothing(_: Sample) -> str:
    """Return no block."""
    return ""


async def _memory(lessons: Sequence[Add], **settings: Any) -> TedMemory:
    memory = in_memory(namespace="arm", **ROOM | settings)
    await memory.commit(lessons, author="hand")
    return memory


def shown(memory: TedMemory) -> Block:
    """Return what an agent of this memory would be shown for a task."""

    async def block(sample: Sample) -> str:
        return await memory.render(question(sample_messages(sample)))

    return block


def _general(memory: TedMemory) -> Block:
    """Return the lessons that hold for all tasks, and the best one of the others."""

    async def block(sample: Sample) -> str:
        known = (await memory.load()).active
        special = [e for e in known if not e.applies_always]
        best = relevant(special, question(sample_messages(sample)))[:1]
        return render_block([*(e for e in known if e.applies_always), *best])

    return block
