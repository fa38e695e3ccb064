"""The answers of all sides of an evaluation, sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ted_memory.distill.context import AnswerContext
from ted_memory.distill.scoring import OnProgress, Progress, answer, chosen, map_bounded
from ted_memory.episodes import Exposure
from ted_memory.evaluation.examples import SolvedSamples, render_examples
from ted_memory.evaluation.results import CurvePoint, Failure
from ted_memory.grading import graders
from ted_memory.llm.calls import is_final, one_line
from ted_memory.llm.messages import task_of
from ted_memory.memory.presentation import exposure_of, tokens_of
from ted_memory.models import Experience, ExperienceSet, Sample

Side = tuple[Experience, ...]
"""The active experiences that a student answers with."""

WITHOUT, WITH = 0, 1
"""Where the two sides stand that are always measured. Those of older versions follow."""
EXAMPLES = -1
"""Where the side with solved samples stands, if there is one: last."""


@dataclass(frozen=True)
class Answered:
    """What one side made of one sample, as means over its repeats.

    ``shown``: lessons or examples in the block. ``tokens``: of the block. ``prompt_tokens``: that
    went into an answer.
    """

    score: float
    shown: int
    tokens: int
    prompt_tokens: float


class Measurement:
    """The answers of all sides to all samples.

    The sides are: without lessons, with them, with those of each older version that differs, and
    with solved samples.
    """

    def __init__(
        self,
        context: AnswerContext,
        snapshot: ExperienceSet,
        older: Sequence[tuple[int, Side]],
        solved: SolvedSamples | None,
        *,
        repeats: int,
        on_progress: OnProgress,
    ) -> None:
        self.context = context
        self.snapshot = snapshot
        self.sides: list[Side] = [(), snapshot.active]
        self.older: list[tuple[int, int]] = [
            (version, self._side(active)) for version, active in older
        ]
        """Checkpoints, and the index of the side that each one is."""
        self.solved = solved
        self.repeats = repeats
        self.on_progress = on_progress
        self.answers: dict[int, list[Answered]] = {}
        """From a sample's index to what each side made of it."""
        self.failures: list[Failure] = []
        self._lesson_tokens = 0.0
        way = context.memory.presentation(snapshot)
        self._placement = way.placement
        self._as_turns = way.examples and any(e.task for e in snapshot.active)
        """Whether solved samples are shown as the lessons' solved tasks are, as earlier turns.

        Else the form in which they are shown could make the difference.
        """

    def _side(self, active: Side) -> int:
        """Find the side that shows a student these, by index; a new one if none does yet."""
        shown = [_said(side) for side in self.sides]
        if _said(active) in shown:
            return shown.index(_said(active))
        self.sides.append(active)
        return len(self.sides) - 1

    def pairs(self, first: int, second: int) -> list[tuple[float, float]]:
        """Pair the scores of two sides, by sample, in the samples' order."""
        return [
            (self.answers[i][first].score, self.answers[i][second].score)
            for i in sorted(self.answers)
        ]

    def curve(self) -> tuple[CurvePoint, ...]:
        """Average the score at each checkpoint and now; nothing when there is no checkpoint."""
        if not self.older:
            return ()
        points = []
        for version, side in [*self.older, (self.snapshot.version, WITH)]:
            accuracy = fmean(answers[side].score for answers in self.answers.values())
            active = len(self.sides[side])
            points.append(CurvePoint(version=version, active=active, accuracy=accuracy))
        return tuple(points)

    async def run(self, samples: Sequence[Sample]) -> None:
        """Ask for all answers. What fails on one side leaves the sample out of all."""
        if self.solved is not None:
            blocks = [await self._lessons(sample, self.snapshot.active) for sample in samples]
            self._lesson_tokens = fmean(tokens_of(shown) for shown in blocks)

        async def one(task: tuple[int, Sample]) -> None:
            index, sample = task
            try:
                self.answers[index] = await self._sides_of(index, sample)
            except Exception as error:
                if is_final(error):
                    raise
                self.failures.append(Failure(sample=sample.id, reason=one_line(error)))
            done = len(self.answers) + len(self.failures)
            self.on_progress(Progress("measure", done, len(samples)))

        self.on_progress(Progress("measure", 0, len(samples)))
        await map_bounded(one, list(enumerate(samples)), self.context.settings.concurrency)

    async def _sides_of(self, index: int, sample: Sample) -> list[Answered]:
        blocks = [await self._lessons(sample, side) for side in self.sides]
        if self.solved is not None:
            blocks.append(self._examples(sample, self.solved))
        scores: list[list[float]] = [[] for _ in blocks]
        prompts: list[list[int]] = [[] for _ in blocks]
        for repeat in range(self.repeats):
            order = list(range(len(blocks)))
            if (index + repeat) % 2:
                order.reverse()
            for side in order:
                score, prompt_tokens = await self._ask(sample, blocks[side])
                scores[side].append(score)
                prompts[side].append(prompt_tokens)
        return [
            Answered(fmean(scores[i]), len(shown.seen), tokens_of(shown), fmean(prompts[i]))
            for i, shown in enumerate(blocks)
        ]

    async def _lessons(self, sample: Sample, side: Side) -> Exposure:
        return exposure_of(await chosen(self.context, sample, self.snapshot, side), self._placement)

    def _examples(self, sample: Sample, solved: SolvedSamples) -> Exposure:
        chosen_ones = solved.examples_for(sample, self._lesson_tokens)
        seen = tuple(other.id for other in chosen_ones)
        if self._as_turns:
            turns = tuple(
                (task_of(other), other.reference or "") for other in reversed(chosen_ones)
            )
            return Exposure(turns=turns, seen=seen)
        return Exposure(block=render_examples(chosen_ones), placement=self._placement, seen=seen)

    async def _ask(self, sample: Sample, shown: Exposure) -> tuple[float, int]:
        """Score one answer, and count the tokens that went into it."""
        answered = await answer(self.context, sample, shown)
        # a student that repeats what it was shown is graded on the rest, as with our own block
        own_words = answered.text.replace(shown.block, "").strip() if shown.block else answered.text
        score, _ = await graders.grade(
            self.context.grader, sample, own_words, sample.reference or ""
        )
        return score, answered.spend.student.tokens_in


def _said(side: Side) -> list[tuple[str, tuple[str, ...]]]:
    return [(e.id, e.lesson) for e in side]
