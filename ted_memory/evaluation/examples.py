"""Solved samples in place of lessons: the strongest simple rival of a memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ted_memory.errors import InvalidInput
from ted_memory.experience.rendering import count_tokens
from ted_memory.llm.messages import task_of
from ted_memory.models import Sample
from ted_memory.retrieval.selection import match

OPENING = "<examples>\nTasks that were solved before, with their right answers."
CLOSING = "</examples>"


@dataclass(frozen=True)
class SolvedSamples:
    """Samples that have a reference, and the text of the task of each."""

    samples: tuple[Sample, ...]
    tasks: tuple[str, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        """Take the samples that can stand as examples: they have a reference and a task in words.

        Raises:
            InvalidInput: there is none.
        """
        tasks = [(sample, task_of(sample)) for sample in samples if sample.reference]
        solved = [(sample, task) for sample, task in tasks if task]
        if not solved:
            raise InvalidInput(
                "no example has a task in words and a reference; nothing was measured"
            )
        return cls(tuple(sample for sample, _ in solved), tuple(task for _, task in solved))

    def nearest(self, sample: Sample) -> list[Sample]:
        """Order the others, the most alike first; a sample is never its own example."""
        scores = match(self.tasks, task_of(sample))
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        return [self.samples[i] for i in order if self.samples[i].id != sample.id]

    def examples_for(self, sample: Sample, tokens: float) -> list[Sample]:
        """Choose the nearest ones, as many as come closest to these tokens of a block.

        At least one is chosen, if there is any.
        """
        examples: list[Sample] = []
        off = float("inf")
        for other in self.nearest(sample):
            more = [*examples, other]
            now_off = abs(count_tokens(render_examples(more)) - tokens)
            if now_off >= off:
                break
            examples, off = more, now_off
        return examples


def render_examples(samples: Sequence[Sample]) -> str:
    """Write the block of these worked examples, or the empty string when there is none."""
    solved = [f"Task: {task_of(sample)}\nAnswer: {sample.reference}" for sample in samples]
    return "\n\n".join([OPENING, *solved, CLOSING]) if solved else ""
