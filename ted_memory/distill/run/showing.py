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
from ted_memory.distill.run.gate import Judging
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
    """Return the best way to show the set, and what was measured; of ways as good, the one that is set already."""
    memory, staged = judging.context.memory, judging.material.staged
    set_now = memory.presentation(staged)
    ways = _ways(memory, staged)
    asked = in_order(samples, judging.material)
    scores: Scores = defaultdict(dict)
    done = 0
    while len(ways) > 1 and done < len(asked):
        begun, done = done, min(max(FIRST, 2 * done), len(asked))
        for way in ways:
            scores[way] |= await _scores(asked[begun:done], way, judging)
        ways = _best_first(ways, scores)  # stable: what is set now stands first
        ways = ways[: (len(ways) + 1) // 2]
    bare = memory.presentation(
        replace(staged, presentation=ways[0].model_copy(update={"examples": False}))
    )
    if bare != ways[0] and any(e.example for e in staged.active):
        ways = await _two(ways[0], bare, asked[: done or MOST_SAMPLES], scores, judging)
    if not _is_better(ways[0], set_now, scores):
        ways = [set_now]
    measured = (
        Shown(presentation=w, answers=len(got), score=mean([*got.values()]))
        for w, got in scores.items()
        if got
    )
    return ways[0], tuple(measured)


async def _two(
    first: Presentation,
    second: Presentation,
    samples: Sequence[Sample],
    scores: Scores,
    judging: Judging,
) -> list[Presentation]:
    """Return two ways, the better one first, after both were asked about all of these samples."""
    for way in (first, second):
        missing = [sample for sample in samples if sample.id not in scores[way]]
        scores[way] |= await _scores(missing, way, judging)
    return _best_first([first, second], scores)


def _best_first(ways: Sequence[Presentation], scores: Scores) -> list[Presentation]:
    """Return ways sorted by their mean scores on the samples that each of them got an answer for."""
    same = _asked_of_all(ways, scores)
    return sorted(ways, key=lambda way: -mean([scores[way][id] for id in same]))


def _asked_of_all(ways: Sequence[Presentation], scores: Scores) -> list[str]:
    first, *others = (scores[way] for way in ways)
    return [id for id in first if all(id in other for other in others)]


def _ways(memory: TedMemory, staged: ExperienceSet) -> list[Presentation]:
    """Return the ways to compare, each once, the one that is set now first; never more turns in a prompt than `TURNS`.

    What was stated for this memory stays as it is in all of them.
    """
    all_too = sum(bool(e.task) for e in staged.active) <= TURNS
    tried = (way for way in WAYS if way.selection == "relevant" or all_too)
    set_now = memory.presentation(staged)
    return list(dict.fromkeys([set_now, *(shown_as(memory, staged, way) for way in tried)]))


def in_order(samples: Sequence[Sample], material: Material) -> list[Sample]:
    """Return the samples that can be graded, in the order in which they are asked: each start repeats it."""
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
    """Return by sample the student's score with the staged set, shown in this way, without what the sample taught.

    ``name``: what the scores are kept under in the run's records.
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
    """Tell whether a way is better by more than about one standard error of the difference, on the same samples."""
    same = _asked_of_all([way, than], scores)
    lead = mean([scores[way][id] for id in same]) - mean([scores[than][id] for id in same])
    return bool(same) and lead > (0.5 / len(same)) ** 0.5


def mean(scores: Sequence[float]) -> float:
    """Return the mean score, 0 without any."""
    return sum(scores) / len(scores) if scores else 0.0
