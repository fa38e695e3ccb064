"""Ways to help a student, side by side: the same task with another block in its prompt, or with none."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from examples.families.family import Family
from ted_memory import Add, Sample, TedMemory
from ted_memory.experience.rendering import count_tokens
from ted_memory.llm.messages import place_block, question, sample_messages
from ted_memory.retrieval.selection import match
from ted_memory.settings import Placement
from ted_memory.testing import in_memory

ROOM: dict[str, Any] = {"max_text": 2000, "token_budget": 8000}
Block = Callable[[Sample], Awaitable[str]]
"""From a task to the block that its prompt gets."""
Turns = Callable[[Sample], Sequence[tuple[str, str]]]
"""From a task to solved ones that come before it in the conversation."""


@dataclass(frozen=True)
class Arm:
    """One way: which block, and where it stands; or, instead of a block, solved tasks as earlier turns."""

    name: str
    placement: Placement = "system"
    block: Block | None = None
    turns: Turns | None = None

    async def prompt(self, sample: Sample) -> tuple[list[BaseMessage], int]:
        """Return the messages that a student is asked with, and the tokens that this way adds to the bare task."""
        asked = sample_messages(sample)
        if self.turns:
            pairs = self.turns(sample)
            earlier = [turn for task, answer in pairs for turn in (HumanMessage(task), AIMessage(answer))]
            return [*earlier, *asked], count_tokens("".join(f"{task}{answer}" for task, answer in pairs))
        block = await self.block(sample) if self.block else ""
        return place_block(asked, block, self.placement), count_tokens(block)


async def arms(family: Family, train: Sequence[Sample], lessons: Sequence[Add]) -> list[Arm]:
    """Return no lessons, these lessons in several doses and places, and retrieved training samples."""
    made = [Arm("none")]
    for placement in ("system", "user"):
        made.append(Arm(f"all, {placement}", placement, shown(await _memory(lessons, selection="all"))))
        for k in (3, 1):
            chosen = await _memory(lessons, selection="relevant", top_k=k)
            made.append(Arm(f"best {k}, {placement}", placement, shown(chosen)))
    if family.student is None:  # what a model would take from an example no program can tell
        made += [arm for k in (1, 3) for arm in examples(family, train, k)]
    return made


def examples(family: Family, train: Sequence[Sample], k: int) -> list[Arm]:
    """Return the k training samples that are nearest to a task, with their answers, as a block and as earlier turns.

    They are found as lessons are, by the words of what sets a task apart; the nearest one stands next to the task.
    """
    gists = [family.gist(sample.text) for sample in train]

    def nearest(sample: Sample) -> list[int]:
        scores = match(gists, family.gist(sample.text))
        return sorted(range(len(gists)), key=lambda i: (-scores[i], i))[:k]

    async def block(sample: Sample) -> str:
        return render_examples([(gists[i], train[i].reference or "") for i in nearest(sample)])

    def turns(sample: Sample) -> list[tuple[str, str]]:
        return [(train[i].text, train[i].reference or "") for i in reversed(nearest(sample))]

    return [Arm(f"{k} retrieved, user", "user", block), Arm(f"{k} retrieved, turns", turns=turns)]


def render_examples(pairs: Sequence[tuple[str, str]]) -> str:
    """Return solved tasks as a block."""
    lines = [f"{task}\nAnswer: {answer}" for task, answer in pairs]
    return "\n\n".join(["Examples of earlier tasks with their right answers:", *lines])


async def _memory(lessons: Sequence[Add], **settings: Any) -> TedMemory:
    memory = in_memory(namespace="arm", **ROOM | settings)
    await memory.commit(lessons, author="hand")
    return memory


def shown(memory: TedMemory) -> Block:
    """Return what an agent of this memory would be shown for a task."""

    async def block(sample: Sample) -> str:
        return await memory.render(question(sample_messages(sample)))

    return block
