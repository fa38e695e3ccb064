"""How a set is best shown to this student: measured on the samples, not guessed.

Strong models follow a whole set in the system message; small ones follow what stands first in the
user turn, and may do better with one lesson than with three. A few ways are compared on what others
taught; half of them is dropped after each round, and the rest is asked about twice as many samples.
These answers choose and prove nothing: the gate tests the set in the chosen way on fresh ones.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ted_memory.distill.report import Shown
from ted_memory.distill.run.asking import Judging
from ted_memory.distill.run.material import Material
from ted_memory.distill.scoring import Progress, with_retries
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet, Presentation, Sample

FIRST = 6  # samples that each way is tried on in the first round
MOST_SAMPLES = 4 * FIRST  # that a way is tried on at most, after three rounds
TURNS = 3  # solved tasks in one prompt
WAYS = (
    Presentation(selection="all", placement="system"),
    Presentation(selection="all", placement="user"),
    Presentation(selection="relevant", top_k=3, placement="system"),
    Presentation(selection="relevant", top_k=3, placement="user"),
    Presentation(selection="relevant", top_k=1, placement="user"),
)

Scores = dict[Presentation, dict[str, float]]
"""By way and sample."""


def most_answers(samples: int) -> int:
    """Return how many answers it takes at most to find out."""
    return (len(WAYS) + 2) * min(samples, MOST_SAMPLES)


async def choose_presentation(
    samples: Sequence[Sample], judging: Judging
) -> tuple[Presentation, tuple[Shown, ...]]:
    """Return the best way to show the set, and what was measured.

    Of ways that are as good it is the one that is set already.
    """
    memory, staged = judging.context.memory, judging.material.staged
    asked = in_order(samples, judging.material)
    scores: Scores = defaultdict(dict)
    way, done = await _best_of(_ways(memory, staged), asked, scores, judging)
    without_examples = way.model_copy(update={"examples": False})
    bare = memory.presentation(replace(staged, presentation=without_examples))
    if bare != way and any(e.example for e in staged.active):
        way = await _better(way, bare, asked[: done or MOST_SAMPLES], scores, judging)
    set_now = memory.presentation(staged)
    if not _is_better(way, set_now, scores):
        way = set_now
    measured = [
        Shown(presentation=tried, answers=len(got), score=mean([*got.values()]))
        for tried, got in scores.items()
        if got
    ]
    return way, tuple(measured)


async def _best_of(
    ways: list[Presentation], asked: Sequence[Sample], scores: Scores, judging: Judging
) -> tuple[Presentation, int]:
    """Halve the ways, the worse ones first, until one is left or all samples are asked.

    The second value is how many samples were asked about the last ones.
    """
    done = 0
    while len(ways) > 1 and done < len(asked):
        begun, done = done, min(max(FIRST, 2 * done), len(asked))
        for way in ways:
            scores[way] |= await _scores(asked[begun:done], way, judging)
        ways = _best_first(ways, scores)  # stable: what is set now stands first
        ways = ways[: (len(ways) + 1) // 2]
    return ways[0], done


async def _better(
    first: Presentation,
    second: Presentation,
    samples: Sequence[Sample],
    scores: Scores,
    judging: Judging,
) -> Presentation:
    """Return the better of two ways, after both were asked about all of these samples."""
    for way in (first, second):
        missing = [sample for sample in samples if sample.id not in scores[way]]
        scores[way] |= await _scores(missing, way, judging)
    return _best_first([first, second], scores)[0]


def _best_first(ways: Sequence[Presentation], scores: Scores) -> list[Presentation]:
    """Sort ways by their mean scores, on the samples that each of them got an answer for."""
    same = _asked_of_all(ways, scores)

    def mean_of(way: Presentation) -> float:
        return mean([scores[way][id] for id in same])

    return sorted(ways, key=mean_of, reverse=True)


def _asked_of_all(ways: Sequence[Presentation], scores: Scores) -> list[str]:
    """Return the samples that each way got an answer for, in the order of the first one's."""
    first, *others = (scores[way] for way in ways)
    of_all = {*first}.intersection(*others)
    return [id for id in first if id in of_all]


def _ways(memory: TedMemory, staged: ExperienceSet) -> list[Presentation]:
    """Return the ways to compare, each once, the one that is set now first.

    None has more turns in a prompt than `TURNS`. What was stated for this memory stays as it is in
    all of them.
    """
    all_too = sum(bool(e.task) for e in staged.active) <= TURNS
    tried = (way for way in WAYS if way.selection == "relevant" or all_too)
    set_now = memory.presentation(staged)
    return list(dict.fromkeys([set_now, *(shown_as(memory, staged, way) for way in tried)]))


def in_order(samples: Sequence[Sample], material: Material) -> list[Sample]:
    """Return the samples that can be graded, in a random order that each start repeats."""
    asked = [sample for sample in samples if material.reference_of.get(sample.id)]
    random.Random("showing").shuffle(asked)
    return asked


def shown_as(memory: TedMemory, snapshot: ExperienceSet, way: Presentation) -> Presentation:
    """Return a way to show a set, but for what was stated for this memory: that stays as it is."""
    return memory.presentation(replace(snapshot, presentation=way))


async def _scores(
    samples: Sequence[Sample], way: Presentation, judging: Judging
) -> dict[str, float]:
    name = f"shown:{way.selection}:{way.top_k}:{way.placement}:{way.examples}"
    return await scores_of(samples, way, judging, judging.material, name)


async def scores_of(
    samples: Sequence[Sample], way: Presentation, judging: Judging, material: Material, name: str
) -> dict[str, float]:
    """Return by sample the student's score with the staged set, shown in this way.

    Each answers without what it taught itself. ``name``: what the scores are kept under in the
    run's records.
    """
    snapshot = replace(material.staged, presentation=way)
    found: dict[str, float] = {}

    async def one(sample: Sample) -> str:
        key = f"{name}:{sample.id}"
        if key not in judging.records:
            try:
                score = await judging.score(sample, snapshot, material.without(sample))
            except Exception as error:
                if is_final(error):
                    raise
                return one_line(error) if is_transient(error) else ""
            await judging.records.save(key, {"score": score})
        found[sample.id] = float(judging.records[key]["score"])
        judging.on_progress(Progress("show", len(found), len(samples)))
        return ""

    await with_retries(one, samples, judging.context.settings.concurrency)
    return found


def _is_better(way: Presentation, than: Presentation, scores: Scores) -> bool:
    """Tell whether a way is clearly better, on the same samples.

    That is by more than about one standard error of the difference.
    """
    same = _asked_of_all([way, than], scores)
    lead = mean([scores[way][id] for id in same]) - mean([scores[than][id] for id in same])
    return bool(same) and lead > (0.5 / len(same)) ** 0.5


def mean(scores: Sequence[float]) -> float:
    """Return the mean score, 0 without any."""
    return sum(scores) / len(scores) if scores else 0.0
