"""How a set is best shown to this student: measured on the samples, not guessed.

Strong models follow a whole set in the system message; small ones follow what stands first in the user turn, and may
do better with one lesson than with three. A few ways are compared on what others taught; half of them is dropped after
each round, and the rest is asked about twice as many samples. These answers choose and prove nothing: the gate tests
the set in the chosen way on fresh ones.
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


def most_answers(samples: int) -> int:
    """Return how many answers it takes at most to find out."""
    return (len(WAYS) + 2) * min(samples, MOST_SAMPLES)


async def choose_presentation(samples: Sequence[Sample], judging: Judging) -> tuple[Presentation, tuple[Shown, ...]]:
    """Return the best way to show the set, and what was measured; of ways as good, the one that is set already."""
    memory, staged = judging.context.memory, judging.material.staged
    set_now = memory.presentation(staged)
    ways = _ways(memory, staged)
    asked = in_order(samples, judging.material)
    scores: dict[Presentation, list[float]] = defaultdict(list)
    done, count = 0, min(FIRST, len(asked))
    while len(ways) > 1 and count:
        for way in ways:
            scores[way] += await _scores(asked[done:count], way, judging)
        ways.sort(key=lambda way: -mean(scores[way]))  # stable: what is set now stands first
        if count == len(asked):
            break
        ways = ways[: (len(ways) + 1) // 2]
        done, count = count, min(2 * count, len(asked))
    bare = memory.presentation(replace(staged, presentation=ways[0].model_copy(update={"examples": False})))
    if bare != ways[0] and any(e.example for e in staged.active):
        scores[bare] += await _scores(asked[:count], bare, judging)
        ways = [bare] if mean(scores[bare]) > mean(scores[ways[0]]) else ways
    if not _is_better(scores[ways[0]], scores[set_now]):
        ways = [set_now]
    measured = (Shown(presentation=way, answers=len(got), score=mean(got)) for way, got in scores.items() if got)
    return ways[0], tuple(measured)


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


async def _scores(samples: Sequence[Sample], way: Presentation, judging: Judging) -> list[float]:
    name = f"shown:{way.selection}:{way.top_k}:{way.placement}:{way.examples}"
    found = await scores_of(samples, way, judging, judging.material, name)
    return [found[sample.id] for sample in samples if sample.id in found]


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


def _is_better(scores: Sequence[float], than: Sequence[float]) -> bool:
    """Tell whether scores are better by more than about one standard error of the difference, on the same samples."""
    count = min(len(scores), len(than))
    return bool(count) and mean(scores[:count]) - mean(than[:count]) > (0.5 / count) ** 0.5


def mean(scores: Sequence[float]) -> float:
    """Return the mean score, 0 without any."""
    return sum(scores) / len(scores) if scores else 0.0
