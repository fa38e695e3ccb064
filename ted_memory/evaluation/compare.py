"""With and without: the same student on the same samples, compared in pairs."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.kit import StudentKit
from ted_memory.distill.scoring import OnProgress, Progress, score_with, side_by_side
from ted_memory.errors import HistoryTrimmed, InvalidInput, ModelError
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import bind_grader
from ted_memory.llm.calls import Calls, is_final, one_line
from ted_memory.llm.spend import Prices, Spend
from ted_memory.memory import TedMemory
from ted_memory.models import Experience, ExperienceSet, Frozen, Sample

RESAMPLES = 10_000
SEED = 20260326  # an interval must be the same when it is computed again
AT_ONCE = 4_000_000  # numbers drawn for one block of resamples: 32 MB, however many samples there are

Side = tuple[Experience, ...]
"""The active experiences that a student answers with."""


class Arm(Frozen):
    """One side of the comparison; ``accuracy`` is the mean score."""

    accuracy: float


class Difference(Frozen):
    """Mean of the paired differences (with minus without) and its 95 % percentile bootstrap interval."""

    mean: float
    low: float
    high: float


class CategoryResult(Frozen):
    """The comparison within one category; None: samples that name none. All in units of score, in [0, 1]."""

    category: str | None
    samples: int
    without: float
    with_: float
    difference: float


class CurvePoint(Frozen):
    """One version of the set: how many active experiences it had, and the student's mean score with them."""

    version: int
    active: int
    accuracy: float


class Failure(Frozen):
    """A sample that could not be scored on all sides; it is left out of the figures."""

    sample: str
    reason: str


class Evaluation(Frozen):
    """The outcome of `evaluate`.

    ``mcnemar_p`` is the exact two-sided p-value of McNemar's test. ``categories`` are sorted by name, samples without
    one last. ``curve`` goes from the oldest version to ``version``, and is empty when no checkpoints were asked for.
    ``cost`` is what the measurement cost, in ``currency``; None when no prices were given.
    """

    namespace: str
    version: int
    samples: int
    without: Arm
    with_: Arm
    difference: Difference
    mcnemar_p: float
    spend: Spend
    failures: tuple[Failure, ...] = ()
    repeats: int = 1
    categories: tuple[CategoryResult, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    cost: float | None = None
    currency: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it with the field names of the command line: ``with`` is a keyword in Python."""
        fields = _renamed(self.model_dump(mode="json"))
        return fields | {"categories": [_renamed(category) for category in fields["categories"]]}


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {("with" if name == "with_" else name): value for name, value in fields.items()}


class TrainingComparison(Frozen):
    """What learning cost beside what it costs to train a model's weights, in one currency.

    ``times_cheaper`` is the training's cost over the learning's: below 1 learning was dearer. None: learning cost
    nothing.
    """

    learning_cost: float
    gpu_hours: float
    gpu_hour_price: float
    training_cost: float
    times_cheaper: float | None


def beside_training(learning_cost: float, gpu_hours: float, gpu_hour_price: float) -> TrainingComparison:
    """Compare the cost of learning with that of parameter distillation: GPU hours times their price.

    Raises:
        InvalidInput: hours or price are not positive, the cost is negative, or one of them is not finite.
    """
    for name, value in (("gpu_hours", gpu_hours), ("gpu_hour_price", gpu_hour_price)):
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(f"{name} is {value}; give a number above 0, or leave the comparison out")
    if not (math.isfinite(learning_cost) and learning_cost >= 0):
        raise InvalidInput(f"learning_cost is {learning_cost}; give 0 or a number above it")
    training = gpu_hours * gpu_hour_price
    if not math.isfinite(training):
        raise InvalidInput(f"{gpu_hours} hours at {gpu_hour_price} each are more than a number can hold")
    ratio = training / learning_cost if learning_cost else math.inf
    return TrainingComparison(
        learning_cost=learning_cost,
        gpu_hours=gpu_hours,
        gpu_hour_price=gpu_hour_price,
        training_cost=training,
        times_cheaper=ratio if math.isfinite(ratio) else None,
    )


async def evaluate(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    repeats: int = 1,
    checkpoints: int = 0,
    prices: Prices | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Measure the student on samples with a reference, without and with the memory's active experiences.

    All answers to one sample are asked for one after the other, and which side comes first alternates: what drifts at
    the provider meanwhile is not taken for an effect.

    Args:
        samples: those without a reference are passed over.
        student: called as it is set (give it temperature 0 for a repeatable figure).
        memory: whose active experiences are measured; nothing is written to it.
        grader: see `ted_memory.grading.graders`. What a `Judge` spends counts as the teacher's.
        repeats: answers to each sample on each side. A sample counts once, with the mean score of its repeats.
        checkpoints: up to so many older versions of the set are measured on the same samples, evenly spaced from the
            oldest that the history holds. Each costs ``repeats`` calls a sample, except where its active experiences
            are those of another side: no experiences at all, today's, or those of another checkpoint.
        prices: what tokens cost, for ``cost``.
        on_progress: called after each sample.

    Raises:
        InvalidInput: no sample has a reference, or none could be scored; repeats or checkpoints are out of range.
        ModelError: the student, or a judge, cannot be used at all.
        StoreError: the memory cannot be read.
    """
    if repeats < 1 or checkpoints < 0:
        raise InvalidInput(f"repeats is {repeats}, checkpoints {checkpoints}; they begin at 1 and 0")
    graded = [sample for sample in samples if sample.reference]
    if not graded:
        raise InvalidInput("no sample has a reference, so there is nothing to measure against")
    calls = Calls(memory.settings.concurrency)
    kit = StudentKit(student, memory, bind_grader(grader, calls), calls)
    snapshot = await memory.load()
    older = await _checkpoints(memory, snapshot, checkpoints)
    measured = _Measurement(kit, snapshot, older, repeats, on_progress)
    try:
        await measured.run(graded)
    except ModelError as error:
        raise type(error)(f"{error} Nothing was written; call again to measure") from error
    if not measured.scores:
        raise InvalidInput(f"no sample could be scored: {measured.failures[0].reason}")
    return _evaluation(graded, measured, prices)


def _evaluation(graded: Sequence[Sample], measured: "_Measurement", prices: Prices | None) -> Evaluation:
    done, spend = sorted(measured.scores), measured.kit.calls.spent  # what answered in vain was paid for, too
    pairs = [(measured.scores[i][0], measured.scores[i][1]) for i in done]
    snapshot = measured.snapshot
    return Evaluation(
        namespace=snapshot.namespace,
        version=snapshot.version,
        samples=len(pairs),
        without=Arm(accuracy=fmean(a for a, _ in pairs)),
        with_=Arm(accuracy=fmean(b for _, b in pairs)),
        difference=bootstrap([b - a for a, b in pairs]),
        mcnemar_p=mcnemar(pairs),
        spend=spend,
        failures=tuple(measured.failures),
        repeats=measured.repeats,
        categories=by_category([graded[i].category for i in done], pairs),
        curve=measured.curve(),
        cost=prices.cost(spend) if prices else None,
        currency=prices.currency if prices else None,
    )


async def _checkpoints(memory: TedMemory, now: ExperienceSet, wanted: int) -> list[tuple[int, Side]]:
    """Return older versions and what was active in them, oldest first."""
    first = max(now.oldest - 1, 0)  # undoing the oldest entry of the log leads to the version before it
    span = now.version - first
    found = []
    for version in sorted({first + i * span // wanted for i in range(wanted)} - {now.version}):
        try:
            active = (await memory.at(version)).active
        except HistoryTrimmed:
            continue  # others committed meanwhile, and the history moved on
        found.append((version, tuple(active)))
    return found


class _Measurement:
    """Scores of all sides, sample by sample: without, with, and each other set of active experiences."""

    def __init__(
        self,
        kit: StudentKit,
        snapshot: ExperienceSet,
        older: Sequence[tuple[int, Side]],
        repeats: int,
        on_progress: OnProgress,
    ) -> None:
        self.kit = kit
        self.snapshot = snapshot
        self.sides: list[Side] = [(), snapshot.active]
        self.older = [(version, self._side(active)) for version, active in older]
        """Checkpoints, and the index of the side that each one is."""
        self.repeats = repeats
        self.on_progress = on_progress
        self.scores: dict[int, list[float]] = {}
        """From a sample's index to its mean score on each side."""
        self.failures: list[Failure] = []

    def _side(self, active: Side) -> int:
        """Return the index of the side that shows a student these; a new one if none does yet."""
        known = [_said(side) for side in self.sides]
        if _said(active) in known:
            return known.index(_said(active))
        self.sides.append(active)
        return len(self.sides) - 1

    def curve(self) -> tuple[CurvePoint, ...]:
        """Return the mean score at each checkpoint and now; nothing when there is no checkpoint."""
        points = [*self.older, (self.snapshot.version, 1)] if self.older else []
        return tuple(
            CurvePoint(
                version=version,
                active=len(self.sides[side]),
                accuracy=fmean(scores[side] for scores in self.scores.values()),
            )
            for version, side in points
        )

    async def run(self, samples: Sequence[Sample]) -> None:
        async def one(task: tuple[int, Sample]) -> None:
            index, sample = task
            try:
                self.scores[index] = await self._sides_of(index, sample)
            except Exception as error:
                if is_final(error):
                    raise
                self.failures.append(Failure(sample=sample.id, reason=one_line(error)))
            done = len(self.scores) + len(self.failures)
            self.on_progress(Progress("measure", done, len(samples)))

        self.on_progress(Progress("measure", 0, len(samples)))
        await side_by_side(one, list(enumerate(samples)), self.kit.settings.concurrency)

    async def _sides_of(self, index: int, sample: Sample) -> list[float]:
        scores: list[list[float]] = [[] for _ in self.sides]
        for repeat in range(self.repeats):
            order = list(range(len(self.sides)))
            for side in reversed(order) if (index + repeat) % 2 else order:
                score = await score_with(self.kit, sample, self.snapshot, self.sides[side], sample.reference or "")
                scores[side].append(score)
        return [fmean(repeated) for repeated in scores]


def _said(side: Side) -> list[tuple[str, str, str]]:
    return [(e.id, e.when, e.text) for e in side]


def by_category(categories: Sequence[str | None], pairs: Sequence[tuple[float, float]]) -> tuple[CategoryResult, ...]:
    """Return the comparison within each category, sorted by name, None last.

    Args:
        categories: one for each sample.
        pairs: scores without and with, in the same order.
    """
    groups: dict[str | None, list[tuple[float, float]]] = {}
    for category, pair in zip(categories, pairs, strict=True):
        groups.setdefault(category, []).append(pair)
    results = []
    for category in sorted(groups, key=lambda name: (name is None, name or "")):
        without, with_ = (fmean(scores) for scores in zip(*groups[category], strict=True))
        results.append(
            CategoryResult(
                category=category,
                samples=len(groups[category]),
                without=without,
                with_=with_,
                difference=with_ - without,
            )
        )
    return tuple(results)


def bootstrap(differences: Sequence[float]) -> Difference:
    """Return the mean and its 95 % percentile bootstrap interval (Efron 1979; 10,000 resamples, fixed seed).

    Samples are resampled, not answers: each difference is that of one sample's means over its repeats, so more
    repeats do not count as more samples.
    """
    import numpy as np

    values = np.asarray(differences, dtype=float)
    random = np.random.default_rng(SEED)
    rows = max(1, AT_ONCE // len(values))
    blocks = [min(rows, RESAMPLES - begun) for begun in range(0, RESAMPLES, rows)]
    means = [values[random.integers(0, len(values), size=(block, len(values)))].mean(axis=1) for block in blocks]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Difference(mean=float(values.mean()), low=float(low), high=float(high))


def mcnemar(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the exact two-sided p-value of McNemar's test (binomial on the pairs that differ; 1.0 if none does).

    A sample counts as right on a side when its score there, the mean of its repeats, is 0.5 or more. (McNemar 1947;
    the exact form is the sign test on discordant pairs.)
    """
    better = sum(a < 0.5 <= b for a, b in pairs)
    worse = sum(b < 0.5 <= a for a, b in pairs)
    n = better + worse
    tail: float = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(1.0, 2 * tail)
