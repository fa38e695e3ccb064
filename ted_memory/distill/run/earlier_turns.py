"""The end of the gate: whether training samples as solved tasks do better than what has passed.

One earlier turn may show nothing where three show all
(docs/decisions/008-solved-tasks-in-threes.md), so they are tested together here, not one by one as
in verification. They cost many tokens, so they must be shown to do better than the set that agents
would get without them, in its own way to be shown.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from ted_memory.distill.nodes.compactor import ROOM
from ted_memory.distill.placing import telling_words
from ted_memory.distill.report import SolvedTasks
from ted_memory.distill.run.asking import SET_RULE, Judging
from ted_memory.distill.run.job import Job
from ted_memory.distill.run.material import Material
from ted_memory.distill.run.names import digest
from ted_memory.distill.run.showing import MOST_SAMPLES, TURNS, in_order, mean, scores_of, shown_as
from ted_memory.distill.scoring import plain_task
from ted_memory.distill.solved_tasks import solved_task
from ted_memory.errors import BudgetExceeded
from ted_memory.experience.betting import PairedTest, sign
from ted_memory.experience.edits import preview
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Add, Experience, ExperienceSet, Presentation, Sample
from ted_memory.retrieval.selection import spoken_in, stems

WAYS = (
    Presentation(selection="relevant", top_k=TURNS, placement="system"),
    Presentation(selection="relevant", top_k=TURNS, placement="user"),
)
RULE = replace(SET_RULE, level=0.025)
"""Half of the set's level: it is a second chance of a run in which there is nothing to learn."""

GOOD_ENOUGH = 0.95  # mean score of what passed from which on nothing better is sought


def candidates(
    job: Job, train: Sequence[Sample], now: ExperienceSet, kept: ExperienceSet
) -> list[Experience]:
    """Return training samples as solved tasks, as many as the set has room for.

    Together with those that it has they make at least `TURNS`, else there are none. Those that the
    run had to set aside come first.

    Args:
        job: the run.
        train: its samples.
        now: what the memory holds at this moment; none of its tasks is returned, in whatever state
            it is there.
        kept: what of the run has passed the gate.
    """
    settings = job.context.settings
    if job.context.examples != "own" or not settings.measure_presentation:
        return []
    had = {plain_task(e.task) for e in (*now, *kept)}
    offered = [edit for edit in _once(_as_tasks(job, train)) if plain_task(edit.task) not in had]
    made = preview(offered, kept, max_text=settings.max_text)
    fitting = _fitting([e for e in made if e.id not in kept.by_id], kept)
    count = len(fitting) + sum(bool(e.task) for e in kept.active)
    return fitting if count >= TURNS else []


def _as_tasks(job: Job, train: Sequence[Sample]) -> list[Add]:
    """Return the samples that may be solved tasks, in random order, but those set aside first.

    Each is found by words of its own. Kindred words are none of them: these tasks are chosen with
    the answers of all judges in view.
    """

    def was_set_aside(sample: Sample) -> bool:
        record = job.records.samples.get(sample.id)
        return record is not None and record["status"] == "set_aside"

    shuffled = random.Random("solved").sample(list(train), len(train))
    language, edits = job.context.settings.language, list[Add]()
    for sample in sorted(shuffled, key=lambda sample: not was_set_aside(sample)):
        if sample.sources:
            continue
        reference = sample.reference or ""
        told = stems(reference, language=spoken_in(reference, sample.text, language))
        when = ", ".join(telling_words(sample, told | {*job.common}, language=language))
        edit = solved_task(sample, reference, when, job.context, job.sources(sample))
        if edit is not None:
            edits.append(edit)
    return edits


def _once(edits: Sequence[Add]) -> list[Add]:
    """Return each task once; none that samples answer in different ways."""
    same: dict[str, list[Add]] = {}
    for edit in edits:
        same.setdefault(plain_task(edit.task), []).append(edit)
    return [group[0] for group in same.values() if _agree(group)]


def _agree(edits: Sequence[Add]) -> bool:
    return len({edit.example for edit in edits}) == 1


def _fitting(tasks: Sequence[Experience], kept: ExperienceSet) -> list[Experience]:
    """Return the first of these that the set has room for, with some left for lessons to come."""
    room = int(kept.caps.max_experiences * ROOM) - len(kept.active)
    tokens = int(kept.caps.token_budget * ROOM) - FRAME_TOKENS - sum(e.tokens for e in kept.active)
    fitting: list[Experience] = []
    for task in tasks:
        if len(fitting) < room and task.tokens <= tokens:
            fitting.append(task)
            tokens -= task.tokens
    return fitting


async def with_turns(
    samples: Sequence[Sample], judging: Judging, tasks: Sequence[Experience]
) -> tuple[ExperienceSet, SolvedTasks]:
    """Return the set that goes live, and what was measured.

    It is the one that has passed, with these solved tasks if it does better so.
    The way to show them is chosen by some answers; fresh ones decide. Each sample answers once on
    either side, without what it taught.
    """
    passed = judging.material
    both = replace(passed.staged, experiences=(*passed.staged.experiences, *tasks))
    beside, found = replace(passed, staged=both), SolvedTasks(offered=len(tasks))
    try:
        way, reason = await _best_way(in_order(samples, passed), judging, passed, beside)
        if way is None:
            return passed.staged, found.model_copy(update={"reason": reason})
        judges = in_order(samples, passed)[: RULE.pairs]
        way_now = judging.context.memory.presentation(passed.staged)
        without = await _scores(judges, way_now, judging, passed, "judge")
        with_them = await _scores(judges, way, judging, beside, "judge")
    except BudgetExceeded:
        return passed.staged, found.model_copy(
            update={"reason": "the budget had no room to find out"}
        )
    pairs = [
        (without[s.id], with_them[s.id]) for s in judges if s.id in without and s.id in with_them
    ]
    found = _tested(pairs, len(tasks))
    return (replace(both, presentation=way) if found.kept else passed.staged), found


async def _best_way(
    asked: Sequence[Sample], judging: Judging, passed: Material, beside: Material
) -> tuple[Presentation | None, str]:
    """Return the way to show solved tasks that looks best, and why there is none.

    None where none looks better than what passed.
    """
    if not (ways := _ways(judging, beside.staged)):
        return None, "what was stated for this memory leaves no way to show them"
    few, best = asked[:MOST_SAMPLES], None
    way_now = judging.context.memory.presentation(passed.staged)
    most = mean([*(await _scores(few, way_now, judging, passed, "choose")).values()])
    if most >= GOOD_ENOUGH:
        return None, "what passed is right on nearly all tasks"
    for way in ways:
        score = mean([*(await _scores(few, way, judging, beside, "choose")).values()])
        best, most = (way, score) if score > most else (best, most)
    return best, "they looked no better in any way to show them"


def _tested(pairs: Sequence[tuple[float, float]], offered: int) -> SolvedTasks:
    test = PairedTest(RULE)
    for without, with_them in pairs:
        test.add(sign(with_them - without))
    kept = test.verdict == "helps"
    return SolvedTasks(
        offered=offered,
        pairs=len(pairs),
        before=mean([without for without, _ in pairs]),
        after=mean([with_them for _, with_them in pairs]),
        wealth=round(test.wealth, 3),
        kept=kept,
        reason="the set does better with them" if kept else "not shown to do better with them",
    )


def _ways(judging: Judging, both: ExperienceSet) -> list[Presentation]:
    """Return the ways to show solved tasks that what was stated for this memory allows."""
    ways = dict.fromkeys(shown_as(judging.context.memory, both, way) for way in WAYS)
    return [
        way for way in ways if way.selection == "relevant" and way.top_k >= TURNS and way.examples
    ]


async def _scores(
    samples: Sequence[Sample], way: Presentation, judging: Judging, side: Material, phase: str
) -> dict[str, float]:
    # not their ids, which each start draws anew
    lessons = sorted(repr(e.lesson) for e in side.staged.active)
    name = digest(*lessons, repr(way))[:16]
    return await scores_of(samples, way, judging, side, f"turns:{phase}:{name}")
