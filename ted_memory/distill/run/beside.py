"""Solved tasks beside the lessons: what the training samples themselves do for a student that follows no rule.

One earlier turn may show nothing where three show all (docs/decisions/008-solved-tasks-in-threes.md), so they are
tested together here, not one by one as in verification. They cost many tokens, so they must be shown to do better than
the lessons in the best way to show these; after that the gate tests both together on fresh answers.
"""

from collections.abc import Sequence
from dataclasses import replace

from ted_memory.distill.leaks import has_open_answer
from ted_memory.distill.placing import telling_words
from ted_memory.distill.report import Shown
from ted_memory.distill.run.gate import Judging
from ted_memory.distill.run.job import Job
from ted_memory.distill.run.material import Material
from ted_memory.distill.run.showing import MOST_SAMPLES, in_order, mean, scores_of, shown_as
from ted_memory.distill.solved_tasks import solved_task
from ted_memory.experience.betting import PairedTest, Rule, sign
from ted_memory.experience.edits import preview
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Add, Experience, ExperienceSet, Presentation, Sample
from ted_memory.retrieval.selection import stems

TURNS = 3  # solved tasks that are shown with a question
WAYS = (
    Presentation(selection="relevant", top_k=TURNS, placement="system"),
    Presentation(selection="relevant", top_k=TURNS, placement="user"),
)
RULE = Rule(level=0.05, worth=0.1, missed=0.05, pairs=MOST_SAMPLES, bets=(0.2, 0.5, 0.9))
GOOD_ENOUGH = 0.95  # mean score of the lessons from which on nothing is sought


def most_answers(samples: int) -> int:
    """Return how many answers it takes at most to find out."""
    return (1 + len(WAYS)) * min(samples, MOST_SAMPLES)


def solved_tasks(job: Job, train: Sequence[Sample], staged: ExperienceSet) -> list[Experience]:
    """Return the training samples as solved tasks, as many as the set has room for; [] where none are wanted.

    Of samples whose answers are their own: for a label, the lesson that names it says as much in fewer words. Those
    that the run had to set aside come first.
    """
    if job.kit.examples != "own" or not job.kit.settings.measure_presentation:
        return []
    known = {e.task for e in staged.active if e.task}
    edits: list[Add] = []
    for sample in sorted(train, key=lambda s: job.records.samples.get(s.id, {}).get("status") != "set_aside"):
        reference = sample.reference or ""
        if sample.sources or not has_open_answer(reference, job.labels):
            continue
        # no kindred words: these are chosen with the answers of all judges in view
        when = ", ".join(telling_words(sample, stems(reference) | {*job.common}))
        edit = solved_task(sample, reference, when, job.kit, job.sources(sample))
        edits += [edit] if edit is not None and edit.task not in known else []
    had = staged.by_id
    made = [e for e in preview(edits, staged, max_text=job.kit.settings.max_text) if e.id not in had]
    fitting = _fitting(made, staged)
    return fitting if len(fitting) >= TURNS else []


def _fitting(tasks: Sequence[Experience], staged: ExperienceSet) -> list[Experience]:
    """Return the first of these that the caps of the set leave room for."""
    room = staged.caps.max_experiences - len(staged.active)
    tokens = staged.caps.token_budget - FRAME_TOKENS - sum(e.tokens for e in staged.active)
    fitting: list[Experience] = []
    for task in tasks:
        if len(fitting) < room and task.tokens <= tokens:
            fitting.append(task)
            tokens -= task.tokens
    return fitting


async def with_solved_tasks(
    samples: Sequence[Sample], judging: Judging, tasks: Sequence[Experience]
) -> tuple[Material, tuple[Shown, ...]]:
    """Return the material with solved tasks beside the lessons if they are shown to do better, else as it is.

    Also what was measured of the ways to show both.
    """
    material, memory = judging.material, judging.kit.memory
    asked = in_order(samples, material)[:MOST_SAMPLES]
    lessons = await scores_of(asked, memory.presentation(material.staged), judging, material)
    best, most = material, mean([*lessons.values()])
    if most >= GOOD_ENOUGH:
        return material, ()
    both = replace(material.staged, experiences=(*material.staged.experiences, *tasks))
    extended = replace(material, staged=both, beside=frozenset(e.id for e in tasks))
    measured = []
    for way in dict.fromkeys(shown_as(memory, both, way) for way in WAYS):
        scores = await scores_of(asked, way, judging, extended)
        test = PairedTest(RULE)
        for id in scores.keys() & lessons.keys():
            test.add(sign(scores[id] - lessons[id]))
        score = mean([*scores.values()])
        measured.append(Shown(presentation=way, answers=len(scores), score=score, solved_tasks=len(tasks)))
        if test.verdict == "helps" and score > most:
            best, most = extended.shown_as(way), score
    return best, tuple(measured)
