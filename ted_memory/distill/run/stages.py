"""Which stage of a run goes through the gate: the one at which the student was best."""

from collections.abc import Sequence

from ted_memory.distill.report import Point
from ted_memory.distill.run.asking import SET_RULE, Judging
from ted_memory.distill.run.material import Material
from ted_memory.distill.scoring import Progress, with_retries
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Experience, ExperienceSet, Sample


async def choose_stage(
    samples: Sequence[Sample], stages: Sequence[Material], judging: Judging
) -> tuple[Material, tuple[Point, ...]]:
    """Return the best stage of a run, the latest of several, and the learning curve.

    Each sample is answered once at each stage, without what it taught; these answers choose, and
    prove nothing: the gate tests the chosen stage on fresh ones.
    """
    judging.on_progress(Progress("validate", 0, SET_RULE.pairs))
    scores = await _scores(samples, stages, judging)
    if not scores:
        return stages[-1], ()
    before, *after = (_mean(of_stage) for of_stage in zip(*scores, strict=True))
    best = max(reversed(range(len(stages))), key=lambda i: after[i])
    curve = [Point(version=0, experiences=len(stages[0].base.active), score=before)]
    for stage, score in zip(stages, after, strict=True):
        staged = stage.staged
        curve.append(Point(version=staged.version, experiences=len(staged.active), score=score))
    return stages[best], tuple(curve)


async def _scores(
    samples: Sequence[Sample], stages: Sequence[Material], judging: Judging
) -> list[list[float]]:
    """Return for each sample its score before the run and at each stage.

    Samples that cannot be graded, or that have a trouble of their own, are left out.
    """
    found = list[list[float]]()

    async def one(sample: Sample) -> str:
        try:
            found.append(await _scores_of(sample, stages, judging))
        except Exception as error:
            if is_final(error):
                raise
            return one_line(error) if is_transient(error) else ""
        return ""

    graded = [s for s in samples if judging.material.reference_of.get(s.id)]
    await with_retries(one, graded, judging.context.settings.concurrency)
    return found


async def _scores_of(sample: Sample, stages: Sequence[Material], judging: Judging) -> list[float]:
    first = stages[0]
    scores = [await _score(sample, first.base, first.before(sample), judging, "before")]
    for stage in stages:
        name, left = f"v{stage.staged.version}", stage.without(sample)
        scores.append(await _score(sample, stage.staged, left, judging, name))
    return scores


async def _score(
    sample: Sample,
    snapshot: ExperienceSet,
    experiences: Sequence[Experience],
    judging: Judging,
    stage: str,
) -> float:
    key = f"stage:{stage}:{sample.id}"
    if key not in judging.records:
        score = await judging.score(sample, snapshot, experiences)
        await judging.records.save(key, {"score": score})
    return float(judging.records[key]["score"])


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
