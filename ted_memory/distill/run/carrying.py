"""Another student: what lessons that an earlier one had shown to help are worth to this one.

Published results go both ways: the same lessons gain a student nine points and cost another one
thirteen. So when a run meets a set that was learned with a student of another name, each of its
lessons is tested on this run's samples before the gate: with it and without it, among all others.
What is shown to hurt is taken back to a proposal.
"""

from collections.abc import Sequence
from dataclasses import replace

from ted_memory.distill.comparison import Judge
from ted_memory.distill.report import Carried
from ted_memory.distill.run.asking import SET_RULE, Judging
from ted_memory.distill.run.gate import LESSON_PAIRS, of_a_lesson
from ted_memory.experience.betting import PairedTest
from ted_memory.experience.rendering import render_line
from ted_memory.models import Experience, Sample

RULE = replace(SET_RULE, worth=0.25, pairs=LESSON_PAIRS, bets=(0.3, 0.6, 0.9))


async def verify_again(samples: Sequence[Sample], judging: Judging) -> tuple[Carried, ...]:
    """Return what became of the lessons from before the run with this student."""
    known = {e.lesson for e in judging.material.base.active}
    carried = [e for e in judging.material.staged.active if e.lesson in known]
    return tuple([await _verified_again(lesson, samples, judging) for lesson in carried])


async def _verified_again(
    lesson: Experience, samples: Sequence[Sample], judging: Judging
) -> Carried:
    judges = await of_a_lesson(lesson, samples, judging, own_too=True)
    test = PairedTest(RULE)
    pairs = await judging.test(test, judges, f"carried:{lesson.id}")
    verdict = {"helps": "held", "useless": "useless", "open": "not shown"}[test.verdict]
    # on fresh answers: does it help to take the lesson away?
    if test.verdict != "helps" and test.mean < 0:
        harm = PairedTest(RULE)
        turned = [Judge(j.sample, j.reference, before=j.after, after=j.before) for j in judges]
        await judging.test(harm, turned, f"harm:{lesson.id}")
        verdict = "hurt" if harm.verdict == "helps" else verdict
    said = render_line(lesson.text, lesson.when, lesson.example, lesson.task)
    return Carried(
        id=lesson.id, lesson=said, verdict=verdict, pairs=len(pairs), lift=round(test.mean, 3)
    )
