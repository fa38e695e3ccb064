"""With and without: the same student on the same samples, compared in pairs."""

import math
from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.calls import Calls, is_final, one_line
from ted_memory.distill.grading import Grader, find_grader
from ted_memory.distill.kit import StudentKit
from ted_memory.distill.scoring import OnProgress, Progress, score_with, side_by_side
from ted_memory.distill.spend import Spend
from ted_memory.errors import InvalidInput
from ted_memory.memory import TedMemory
from ted_memory.models import ExperienceSet, Frozen, Sample

RESAMPLES = 10_000
SEED = 20260326  # an interval must be the same when it is computed again


class Arm(Frozen):
    """One side of the comparison; ``accuracy`` is the mean score."""

    accuracy: float


class Difference(Frozen):
    """Mean of the paired differences (with minus without) and its 95 % percentile bootstrap interval."""

    mean: float
    low: float
    high: float


class Failure(Frozen):
    """A sample that could not be scored on both sides; it is left out of the figures."""

    sample: str
    reason: str


class Evaluation(Frozen):
    """The outcome of `evaluate`. ``mcnemar_p`` is the exact two-sided p-value of McNemar's test."""

    namespace: str
    version: int
    samples: int
    without: Arm
    with_: Arm
    difference: Difference
    mcnemar_p: float
    spend: Spend
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it with the field names of the command line: ``with`` is a keyword in Python."""
        fields = self.model_dump(mode="json")
        return {("with" if name == "with_" else name): value for name, value in fields.items()}


async def evaluate(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Measure the student on samples with a reference, without and with the memory's active experiences.

    The student is called as it is set (give it temperature 0 for a repeatable figure), once a sample and side.

    Raises:
        InvalidInput: no sample has a reference, or none could be scored.
        ModelError: the student cannot be used at all.
    """
    measured = _Measurement(memory, student, grader, on_progress)
    graded = [sample for sample in samples if sample.reference]
    if not graded:
        raise InvalidInput("no sample has a reference, so there is nothing to measure against")
    snapshot = await memory.load()
    await measured.run(graded, snapshot)
    pairs = [measured.scores[sample.id] for sample in graded if sample.id in measured.scores]
    if not pairs:
        raise InvalidInput(f"no sample could be scored: {measured.failures[0].reason}")
    return Evaluation(
        namespace=memory.namespace,
        version=snapshot.version,
        samples=len(pairs),
        without=Arm(accuracy=sum(a for a, _ in pairs) / len(pairs)),
        with_=Arm(accuracy=sum(b for _, b in pairs) / len(pairs)),
        difference=bootstrap([b - a for a, b in pairs]),
        mcnemar_p=mcnemar(pairs),
        spend=measured.spend,
        failures=tuple(measured.failures),
    )


class _Measurement:
    """Scores of both sides, pair by pair."""

    def __init__(
        self, memory: TedMemory, student: Runnable[Any, Any], grader: str | Grader, on_progress: OnProgress
    ) -> None:
        self.kit = StudentKit(student, memory, find_grader(grader), Calls(memory.settings.concurrency))
        self.on_progress = on_progress
        self.scores: dict[str, tuple[float, float]] = {}
        self.failures: list[Failure] = []
        self.spend = Spend()

    async def run(self, samples: Sequence[Sample], snapshot: ExperienceSet) -> None:
        async def one(sample: Sample) -> None:
            try:
                await self._pair(sample, snapshot)
            except Exception as error:
                if is_final(error):
                    raise
                self.failures.append(Failure(sample=sample.id, reason=one_line(error)))
            done = len(self.scores) + len(self.failures)
            self.on_progress(Progress("measure", done, len(samples)))

        self.on_progress(Progress("measure", 0, len(samples)))
        await side_by_side(one, samples, self.kit.settings.concurrency)

    async def _pair(self, sample: Sample, snapshot: ExperienceSet) -> None:
        scores = []
        for active in ((), snapshot.active):
            score, spend = await score_with(self.kit, sample, snapshot, active, sample.reference or "")
            scores.append(score)
            self.spend = self.spend + spend
        self.scores[sample.id] = (scores[0], scores[1])


def bootstrap(differences: Sequence[float]) -> Difference:
    """Return the mean and its 95 % percentile bootstrap interval (Efron 1979; 10,000 resamples, fixed seed)."""
    import numpy as np

    values = np.asarray(differences, dtype=float)
    random = np.random.default_rng(SEED)
    means = values[random.integers(0, len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(mean=float(values.mean()), low=float(low), high=float(high))


def mcnemar(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the exact two-sided p-value of McNemar's test (binomial on the pairs that differ; 1.0 if none does).

    A score counts as right from 0.5 on.
    """
    better = sum(a < 0.5 <= b for a, b in pairs)
    worse = sum(b < 0.5 <= a for a, b in pairs)
    n = better + worse
    tail: float = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(1.0, 2 * tail)
