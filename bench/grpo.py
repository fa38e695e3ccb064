"""Training-Free GRPO (Cai et al. 2025, arXiv 2510.08191), as far as it costs tokens: which calls, with what in them.

A minimal one of our own, to compare costs with. Its prompts are shorter than theirs, every output is as short as ours
would be: both favour it here. It is published with three passes over the samples, ours with one; count both ways.

- Each batch of 32 samples sees the experiences from before it; each sample gets five attempts with all of them.
- A group whose attempts are all right or all wrong is left out: nothing sets its attempts apart.
- Else five summaries (task, attempt, answer), one comparison of the summaries with up to three operations, and one
  revision of these against the experiences; then one call for each batch that puts all operations together.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from ted_memory import Sample
from ted_memory.llm.spend import Spend

ROLLOUTS, BATCH, PASSES = 5, 32, 3
SUMMARY = "Summarize the attempt step by step: what was done, which experience was used, where it went wrong."
ADVANTAGE = (
    "Compare the summaries of attempts at one task. Say what the right ones did and the wrong ones did not, and give "
    "at most three operations on the experiences, as JSON: "
    '[{"option": "add" | "modify" | "merge", "experience": "..."}].'
)
UPDATE = "Revise these operations so that they fit the experiences that are there. Answer with the operations as JSON."
BATCH_UPDATE = "Put all operations together into one consistent list without repetitions. Answer with it as JSON."
STAGES = (SUMMARY, ADVANTAGE, UPDATE, BATCH_UPDATE)


@dataclass
class Grpo:
    """``passes`` over the samples. ``solved(sample, text)`` tells whether an attempt is right."""

    student: BaseChatModel
    teacher: BaseChatModel
    solved: Callable[[Sample, str], bool]
    passes: int = 1
    spend: Spend = field(default_factory=Spend)
    experiences: list[str] = field(default_factory=list)
    left_out: int = 0
    """Groups of attempts that were all right or all wrong."""

    async def run(self, samples: Sequence[Sample]) -> None:
        """Learn from all samples, batch by batch."""
        batches = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
        for batch in batches * self.passes:
            found = await asyncio.gather(*(self._sample(sample) for sample in batch))
            operations = [operation for some in found for operation in some]
            if operations:
                known = f"Experiences:\n{self._listed()}\n\nOperations:\n{json.dumps(operations)}"
                answer = await self._ask("teacher", SystemMessage(BATCH_UPDATE), HumanMessage(known))
                self.experiences += [o["experience"] for o in json.loads(answer)]

    async def _sample(self, sample: Sample) -> list[dict[str, str]]:
        shown = [SystemMessage(f"Experiences:\n{self._listed()}")] if self.experiences else []
        asked = [*shown, HumanMessage(sample.text)]
        attempts = await asyncio.gather(*(self._ask("student", *asked) for _ in range(ROLLOUTS)))
        right = sum(self.solved(sample, text) for text in attempts)
        if right in {0, ROLLOUTS}:
            self.left_out += 1
            return []
        summaries = await asyncio.gather(*(self._summary(sample, text) for text in attempts))
        together = "\n\n".join(f"Attempt {i}: {text}" for i, text in enumerate(summaries, start=1))
        compared = f"Task: {sample.text}\n\n{together}\n\nExperiences:\n{self._listed()}\n\nAnswer: {sample.reference}"
        operations = await self._ask("teacher", SystemMessage(ADVANTAGE), HumanMessage(compared))
        known = f"Experiences:\n{self._listed()}\n\nOperations:\n{operations}"
        revised: list[dict[str, str]] = json.loads(
            await self._ask("teacher", SystemMessage(UPDATE), HumanMessage(known))
        )
        return revised

    async def _summary(self, sample: Sample, text: str) -> str:
        told = f"Task: {sample.text}\n\nAttempt: {text}\n\nAnswer: {sample.reference}"
        return await self._ask("teacher", SystemMessage(SUMMARY), HumanMessage(told))

    async def _ask(self, role: str, *messages: BaseMessage) -> str:
        model = self.student if role == "student" else self.teacher
        answer = await model.ainvoke(list(messages))
        self.spend = self.spend + Spend.of(role, messages, answer)
        return str(answer.text)

    def _listed(self) -> str:
        return "\n".join(f"[{i}] {text}" for i, text in enumerate(self.experiences)) or "(none)"
