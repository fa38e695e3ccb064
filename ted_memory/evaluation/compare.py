"""The same student on the same samples, with lessons, without, and with solved examples."""

import math
import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from langchain_core.runnables import Runnable

from ted_memory.distill.context import AnswerContext
from ted_memory.distill.scoring import OnProgress
from ted_memory.errors import HistoryTrimmed, InvalidInput, ModelError
from ted_memory.evaluation.examples import SolvedSamples
from ted_memory.evaluation.measurement import EXAMPLES, WITH, WITHOUT, Measurement, Side
from ted_memory.evaluation.results import Arm, CategoryResult, Difference, Evaluation, ExamplesArm
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import bind_grader
from ted_memory.llm.calls import Calls
from ted_memory.llm.spend import Prices
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet, Sample

RESAMPLES = 10_000
SEED = 20260326  # an interval must be the same when it is computed again


async def evaluate(
    samples: Sequence[Sample],
    *,
    student: Runnable[Any, Any],
    memory: TedMemory,
    examples: Sequence[Sample] | None = None,
    grader: str | Grader = "auto",
    repeats: int = 1,
    checkpoints: int = 0,
    prices: Prices | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Measure a student without and with the memory's active experiences, in pairs.

    All answers to one sample are asked for one after the other, and which side comes first
    alternates: what drifts at the provider meanwhile is not taken for an effect. The lessons are
    shown as agents are shown them (`TedMemory.presentation`).

    Args:
        samples: those without a reference are passed over.
        student: called as it is set (give it temperature 0 for a repeatable figure).
        memory: whose active experiences are measured; nothing is written to it.
        examples: solved samples, such as those that the lessons were learned from, for a third arm:
            in place of the lessons' block, and in the same place, the student is shown those of
            them that are nearest to its task, as input and reference. There are whole ones, at
            least one, and as many as come nearest to the mean tokens of the lessons' block. A
            sample is never its own example (by id); those without a reference are passed over.
        grader: see `ted_memory.grading.graders`. What a `Judge` spends counts as the teacher's.
        repeats: answers to each sample on each side. A sample counts once, with the mean score of
            its repeats.
        checkpoints: up to so many older versions of the set are measured on the same samples,
            evenly spaced from the oldest that the history holds. Each costs ``repeats`` calls a
            sample, except where its active experiences are those of another side: no experiences at
            all, today's, or those of another checkpoint.
        prices: what tokens cost, for ``cost``.
        on_progress: called after each sample.

    Raises:
        InvalidInput: no sample has a reference, or none could be scored; no example has one;
            repeats or checkpoints are out of range.
        ModelError: the student, or a judge, cannot be used at all.
        StoreError: the memory cannot be read.
    """
    graded = _graded(samples, repeats, checkpoints)
    solved = None if examples is None else SolvedSamples.of(examples)
    calls = Calls(memory.settings.concurrency)
    context = AnswerContext(student, memory, bind_grader(grader, calls), calls)
    snapshot = await memory.load()
    older = await _checkpoints(memory, snapshot, checkpoints)
    measured = Measurement(
        context, snapshot, older, solved, repeats=repeats, on_progress=on_progress
    )
    try:
        await measured.run(graded)
    except ModelError as error:
        raise type(error)(f"{error} Nothing was written; call again to measure") from error
    if not measured.answers:
        raise InvalidInput(f"no sample could be scored: {measured.failures[0].reason}")
    return _evaluation(graded, measured, prices)


def _graded(samples: Sequence[Sample], repeats: int, checkpoints: int) -> list[Sample]:
    """Take the samples that have a reference; what cannot be measured is refused."""
    if repeats < 1 or checkpoints < 0:
        raise InvalidInput(
            f"repeats is {repeats}, checkpoints {checkpoints}; they begin at 1 and 0"
        )
    graded = [sample for sample in samples if sample.reference]
    if not graded:
        raise InvalidInput("no sample has a reference, so there is nothing to measure against")
    return graded


def _evaluation(
    graded: Sequence[Sample], measured: Measurement, prices: Prices | None
) -> Evaluation:
    spend = measured.context.calls.spent  # what answered in vain was paid for, too
    snapshot, pairs = measured.snapshot, measured.pairs(WITHOUT, WITH)
    without, with_ = _arm(measured, WITHOUT), _arm(measured, WITH)
    difference, active = bootstrap([b - a for a, b in pairs]), len(snapshot.active)
    return Evaluation(
        namespace=snapshot.namespace,
        version=snapshot.version,
        presentation=measured.context.memory.presentation(snapshot),
        samples=len(pairs),
        without=without,
        with_=with_,
        difference=difference,
        mcnemar_p=mcnemar(pairs),
        spend=spend,
        active=active,
        gain_per_lesson=difference.mean / active if active else None,
        gain_per_100_tokens=100 * difference.mean / with_.tokens if with_.tokens else None,
        examples=_examples_arm(measured),
        failures=tuple(measured.failures),
        repeats=measured.repeats,
        categories=by_category([graded[i].category for i in sorted(measured.answers)], pairs),
        curve=measured.curve(),
        cost=prices.cost(spend) if prices else None,
        currency=prices.currency if prices else None,
    )


def _arm(measured: Measurement, side: int) -> Arm:
    answers = [sides[side] for sides in measured.answers.values()]
    return Arm(
        accuracy=fmean(answer.score for answer in answers),
        tokens=fmean(answer.tokens for answer in answers),
        prompt_tokens=fmean(answer.prompt_tokens for answer in answers),
    )


def _examples_arm(measured: Measurement) -> ExamplesArm | None:
    if measured.solved is None:
        return None
    pairs = measured.pairs(EXAMPLES, WITH)
    return ExamplesArm(
        **_arm(measured, EXAMPLES).model_dump(),
        k=fmean(sides[EXAMPLES].shown for sides in measured.answers.values()),
        difference=bootstrap([lessons - examples for examples, lessons in pairs]),
        mcnemar_p=mcnemar(pairs),
    )


async def _checkpoints(
    memory: TedMemory, now: ExperienceSet, wanted: int
) -> list[tuple[int, Side]]:
    """Choose older versions, evenly spaced, with what was active in them, oldest first."""
    # undoing the oldest entry of the log leads to the version before it
    first = max(now.oldest - 1, 0)
    span = now.version - first
    versions = {first + i * span // wanted for i in range(wanted)} - {now.version}
    found = []
    for version in sorted(versions):
        try:
            active = (await memory.at(version)).active
        except HistoryTrimmed:
            continue  # others committed meanwhile, and the history moved on
        found.append((version, tuple(active)))
    return found


def by_category(
    categories: Sequence[str | None], pairs: Sequence[tuple[float, float]]
) -> tuple[CategoryResult, ...]:
    """Compare the two sides within each category, sorted by name, None last.

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
    """Estimate the mean difference and its 95 % interval, by a percentile bootstrap.

    Efron 1979, with 10,000 resamples and a fixed seed. Samples are resampled, not answers: each
    difference is that of one sample's means over its repeats, so more repeats do not count as more
    samples.
    """
    draw, count = random.Random(SEED), len(differences)
    means = sorted(fmean(draw.choices(differences, k=count)) for _ in range(RESAMPLES))
    return Difference(
        mean=fmean(differences), low=_quantile(means, 0.025), high=_quantile(means, 0.975)
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Find the quantile of sorted numbers; between two of them it is interpolated."""
    place = share * (len(ordered) - 1)
    below = ordered[math.floor(place)]
    return below + (ordered[math.ceil(place)] - below) * (place % 1)


def mcnemar(pairs: Sequence[tuple[float, float]]) -> float:
    """Test whether one side is right more often: the exact two-sided p-value of McNemar's test.

    A sample counts as right on a side when its score there, the mean of its repeats, is 0.5 or
    more. The test is binomial on the pairs that differ, and gives 1.0 if none does. (McNemar 1947;
    the exact form is the sign test on discordant pairs.)
    """
    better = sum(a < 0.5 <= b for a, b in pairs)
    worse = sum(b < 0.5 <= a for a, b in pairs)
    n = better + worse
    tail: float = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(1.0, 2 * tail)
