"""Training-Free GRPO (Cai et al. 2025, arXiv 2510.08191): its calls, and what is in them.

A minimal one of our own, to compare costs with, and to learn with: `examples.results` gives it the
real models and the three passes over the samples that it is published with. Its prompts are shorter
than theirs, every output is as short as ours would be: both favour it in cost.

- Each batch of 32 samples sees the experiences from before it; each sample gets five attempts with
  all of them.
- A group whose attempts all have the same score is left out: nothing sets its attempts apart.
- Else five summaries (task, attempt, answer), one comparison of the summaries with up to three
  operations, and one revision of these against the experiences; then one call for each batch that
  puts all operations together.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from examples.rivals.replies import read_json
from ted_memory import Sample
from ted_memory.llm.messages import sample_messages
from ted_memory.llm.spend import Spend

ROLLOUTS, BATCH, PASSES = 5, 32, 3
SUMMARY = (
    "Summarize the attempt step by step: "
    "what was done, which experience was used, where it went wrong."
)
ADVANTAGE = (
    "Compare the summaries of attempts at one task. "
    "Say what the right ones did and the wrong ones did not, and give "
    "at most three operations on the experiences, as JSON: "
    '[{"option": "add" | "modify" | "merge", "ids": [numbers of those modified or merged], '
    '"experience": "..."}]. '
    "An experience is general: "
    "it holds for other tasks of this kind, and names none of this one's data."
)
UPDATE = (
    "Revise these operations so that they fit the experiences that are there. "
    "Answer with the operations as JSON."
)
BATCH_UPDATE = (
    "Put all operations together into one consistent list without repetitions. "
    "Answer with it as JSON."
)
Operation = dict[str, Any]


@dataclass
class Grpo:
    """Some passes over the samples.

    ``score(sample, text)`` is in [0, 1]; ``at_once`` calls are in flight at most.
    """

    student: Runnable[Any, Any]
    teacher: Runnable[Any, Any]
    score: Callable[[Sample, str], float]
    passes: int = 1
    at_once: int = 1000
    spend: Spend = field(default_factory=Spend)
    experiences: list[str] = field(default_factory=list)
    left_out: int = 0
    """Groups of attempts that all had the same score."""
    lost: int = 0
    """Answers that held no usable operations."""
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.at_once)

    async def run(self, samples: Sequence[Sample]) -> None:
        """Learn from all samples, batch by batch."""
        batches = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
        for batch in batches * self.passes:
            found = await asyncio.gather(*(self._sample(sample) for sample in batch))
            operations = [operation for some in found for operation in some]
            if operations:
                known = f"Experiences:\n{self._listed()}\n\nOperations:\n{json.dumps(operations)}"
                answer = await self._ask(
                    "teacher", SystemMessage(BATCH_UPDATE), HumanMessage(known)
                )
                self._apply(self._operations(answer) or operations)

    async def _sample(self, sample: Sample) -> list[Operation]:
        shown = [SystemMessage(render_experiences(self.experiences))] if self.experiences else []
        asked = [*shown, *sample_messages(sample)]
        attempts = await asyncio.gather(*(self._ask("student", *asked) for _ in range(ROLLOUTS)))
        if len({self.score(sample, text) for text in attempts}) == 1:
            self.left_out += 1
            return []
        summaries = await asyncio.gather(*(self._summary(sample, text) for text in attempts))
        together = "\n\n".join(f"Attempt {i}: {text}" for i, text in enumerate(summaries, start=1))
        compared = (
            f"Task: {sample.text}\n\n{together}\n\nExperiences:\n{self._listed()}\n\n"
            f"Answer: {sample.reference}"
        )
        operations = await self._ask("teacher", SystemMessage(ADVANTAGE), HumanMessage(compared))
        known = f"Experiences:\n{self._listed()}\n\nOperations:\n{operations}"
        return self._operations(
            await self._ask("teacher", SystemMessage(UPDATE), HumanMessage(known))
        )

    async def _summary(self, sample: Sample, text: str) -> str:
        told = f"Task: {sample.text}\n\nAttempt: {text}\n\nAnswer: {sample.reference}"
        return await self._ask("teacher", SystemMessage(SUMMARY), HumanMessage(told))

    def _operations(self, text: str) -> list[Operation]:
        """The operations in an answer; small models write JSON as well as they can."""
        given = read_json(text)
        rows = given if isinstance(given, list) else [given]
        usable = [
            row for row in rows if isinstance(row, dict) and isinstance(row.get("experience"), str)
        ]
        self.lost += given is None
        return usable

    def _apply(self, operations: Sequence[Operation]) -> None:
        """Change the experiences as the operations say; ids that do not exist touch nothing."""
        kept = dict(enumerate(self.experiences))
        added: list[str] = []
        for operation in operations:
            for id in _replaced(operation):
                kept.pop(id, None)
            text = " ".join(operation["experience"].split())
            if text and text not in (*kept.values(), *added):
                added.append(text)
        self.experiences = [*kept.values(), *added]

    async def _ask(self, role: str, *messages: BaseMessage) -> str:
        model = self.student if role == "student" else self.teacher
        async with self._places:
            answer = await model.ainvoke(list(messages))
        self.spend = self.spend + Spend.of(role, messages, answer)
        return str(answer.text)

    def _listed(self) -> str:
        return "\n".join(f"[{i}] {text}" for i, text in enumerate(self.experiences)) or "(none)"


def _replaced(operation: Operation) -> list[int]:
    """The numbers of the experiences that an operation puts another one in the place of."""
    ids = operation.get("ids")
    if operation.get("option") not in {"modify", "merge"} or not isinstance(ids, list):
        return []
    return [id for id in ids if isinstance(id, int)]


def render_experiences(experiences: Sequence[str]) -> str:
    """The experiences as a student's prompt shows them; nothing where there are none."""
    lines = [f"[{i}] {text}" for i, text in enumerate(experiences)]
    return "\n".join(["Experiences:", *lines]) if lines else ""
