"""The validation gate: what of a run goes live.

Every sample judges the lessons that did not come from it: for each one the set is taken without
what it taught, through rewrites and merges (as a purge would), and the student answers with this
set and with the one from before. So no sample has to be held out where there are few, and a lesson
is never praised by the task that it was made for.

First the set as a whole is tested. When it is shown to help, the lessons that were verified go
live. Otherwise, and for lessons that could not be verified, each lesson is tested by itself: what
verification found and what the gate finds multiply (both are wealths of fair bets), and the more
lessons were tested in the run, the more one of them must show. So a few right lessons are not lost
for a set that shows no difference, and useless ones do not get in by their number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ted_memory.distill.comparison import Judge, Pair, means
from ted_memory.distill.judges import fits
from ted_memory.distill.leaks import has_open_answer
from ted_memory.distill.report import Gate, LessonVerdict, SetAside
from ted_memory.distill.run.asking import SET_RULE, Judging
from ted_memory.distill.run.material import Material
from ted_memory.distill.scoring import Progress, chosen
from ted_memory.experience.assignment import principals
from ted_memory.experience.betting import PairedTest, sign
from ted_memory.experience.capacity import over_caps
from ted_memory.experience.rendering import render_line
from ted_memory.models import Add, Edit, Experience, ExperienceSet, Sample

MOST_REJECTED = 200  # lessons that wait for somebody to look at them
LESSON_PAIRS = 24  # of a lesson that is tested by itself, at most

_THE_SET_HELPS = "the set helps, and nothing spoke against the lesson"
_NOT_SHOWN = "not shown to help by itself"
_NEVER_ALONE = (
    "a solved task is shown to few tasks, who cannot tell luck from help: it needs a set that helps"
)


async def validate(
    samples: Sequence[Sample], judging: Judging
) -> tuple[Gate, tuple[Experience, ...]]:
    """Return the gate's verdict, and the active experiences that go live.

    Those are the ones from before, should nothing pass.
    """
    material = judging.material
    judging.on_progress(Progress("validate", 0, SET_RULE.pairs))
    judges = await _of_the_set(samples, judging)
    test = PairedTest(SET_RULE)
    pairs = await judging.test(test, judges, "set", _turns(material))
    hurts, helps = _shown_to_hurt(pairs), test.verdict == "helps"
    new = material.new
    verdicts = [await _judged(lesson, samples, judging, set_helps=helps) for lesson in new]
    going = [lesson for lesson, verdict in zip(new, verdicts, strict=True) if verdict.kept]
    live = _live(material, going, whole=helps and len(going) == len(new))
    if hurts and going:
        live, verdicts = await _once_more(samples, judging, live, verdicts)
    before, after = means(pairs)
    failures = judging.left_out.items()
    gate = Gate(
        samples=len({pair.judge.sample.id for pair in pairs}),
        pairs=len(pairs),
        before=before,
        after=after,
        wealth=round(test.wealth, 3),
        verdict="hurts" if hurts else test.verdict,
        passed=[*live] != [*material.base.active],
        lessons=tuple(verdicts),
        failures=tuple(SetAside(sample=id, reason=reason) for id, reason in failures),
    )
    return gate, tuple(live)


def proposals(rejected: Sequence[tuple[Experience, str]], now: ExperienceSet) -> list[Edit]:
    """Return edits that keep rejected lessons, each with the reason, where a person finds them.

    They are proposed, which no agent is shown; no more than `MOST_REJECTED` wait in one set.
    """
    room, known = max(0, MOST_REJECTED - len(now.proposed)), {e.lesson for e in now}
    edits: list[Edit] = [
        Add(
            text=e.text,
            when=e.when,
            example=e.example,
            task=e.task,
            everywhere=e.everywhere,
            index_terms=e.index_terms,
            state="proposed",
            sources=e.sources,
            metadata={"rejected": reason},
        )
        for e, reason in rejected
        if e.lesson not in known
    ]
    return edits[:room]


async def _of_the_set(samples: Sequence[Sample], judging: Judging) -> list[Judge]:
    """Return who judges the whole set: each sample without what it taught itself."""
    material, judges = judging.material, list[Judge]()
    for sample in samples:
        before, after = material.before(sample), material.without(sample)
        judge = await _judge(sample, judging, before, after)
        if judge is not None:
            judges.append(judge)
    return judges


async def _judge(
    sample: Sample, judging: Judging, before: Sequence[Experience], after: Sequence[Experience]
) -> Judge | None:
    """Return a sample as a judge of a change; None where it cannot be graded, or sees no change."""
    reference = judging.material.reference_of.get(sample.id, "")
    if not reference:
        return None
    context, snapshot = judging.context, judging.material.staged
    seen_before = await chosen(context, sample, snapshot, before)
    judge = Judge(sample, reference, seen_before, await chosen(context, sample, snapshot, after))
    return judge if judge.differs else None


def _turns(material: Material) -> int | None:
    """Return how often each sample may judge a set; None: as often as it takes.

    It may once where the set has new solved tasks. Those are shown to few samples, which had a say
    in where they apply: what these say again and again is no more than they know, so their number
    must show it.
    """
    return 1 if any(e.task for e in material.new) else None


def _shown_to_hurt(pairs: Sequence[Pair]) -> bool:
    test = PairedTest(SET_RULE)
    for pair in pairs:
        test.add(sign(pair.before - pair.after))
    return test.verdict == "helps"


async def _judged(
    lesson: Experience, samples: Sequence[Sample], judging: Judging, *, set_helps: bool
) -> LessonVerdict:
    """Return whether a lesson goes live, and why."""
    said = render_line(lesson.text, lesson.when, lesson.example, lesson.task)
    verified = _verified_wealth(lesson, judging.material)
    spoken_for = verified is not None or not judging.context.verifies
    if set_helps and spoken_for and not principals(lesson):
        return LessonVerdict(lesson=said, kept=True, reason=_THE_SET_HELPS)
    if lesson.task:
        return LessonVerdict(lesson=said, kept=False, reason=_NEVER_ALONE)
    return await _judged_alone(lesson, samples, judging, verified=verified, set_helps=set_helps)


def _verified_wealth(lesson: Experience, material: Material) -> float | None:
    """Return the wealth of a lesson's verification, None where it was not verified.

    Verification asks the sample that a lesson came from: no user is a witness of his own words.
    """
    found = None if principals(lesson) else material.evidence_of(lesson)
    return found["wealth"] if found is not None and found["verified"] else None


async def _judged_alone(
    lesson: Experience,
    samples: Sequence[Sample],
    judging: Judging,
    *,
    verified: float | None,
    set_helps: bool,
) -> LessonVerdict:
    """Test a lesson by itself: what verification had found and what is found here multiply."""
    material = judging.material
    said = render_line(lesson.text, lesson.when, lesson.example, lesson.task)
    judges = await of_a_lesson(lesson, samples, judging, own_too=verified is not None)
    wealth = 1.0 if verified is None else verified
    needed = max(material.tests, len(material.new), 1) / SET_RULE.level
    test = PairedTest(replace(SET_RULE, level=min(wealth / needed, 1.0), pairs=LESSON_PAIRS))
    pairs = await judging.test(test, judges, f"lesson:{said}")
    total = wealth * test.wealth
    kept, why = False, _NOT_SHOWN
    if total >= needed and (test.mean > 0 or not pairs):
        kept, why = True, "helps by itself"
    # a set's help may be that of others' lessons: this one must have helped somebody else, too
    elif principals(lesson) and set_helps and test.mean > 0:
        kept, why = True, "the set helps, and others bear it out"
    return LessonVerdict(
        lesson=said,
        kept=kept,
        pairs=len(pairs),
        lift=round(test.mean, 3),
        reason=f"{why}: wealth {total:.3g} of {needed:.3g}",
    )


async def of_a_lesson(
    lesson: Experience, samples: Sequence[Sample], judging: Judging, *, own_too: bool
) -> list[Judge]:
    """Return the judges of one lesson: those that it is about and that did not teach it.

    ``own_too``: also those that taught it, where its answers are labels: a label that only one
    sample has can show nowhere else what it is worth.
    """
    material, found = judging.material, list[Judge]()
    is_new = lesson.id in {e.id for e in material.new}
    for sample in _meant(lesson, samples, material):
        with_it = _set_with(lesson, sample, material, own_too=own_too)
        if not with_it:
            continue
        without = [e for e in with_it if e.id != lesson.id]
        if is_new:
            without += material.replaced(lesson, sample)
        judge = await _judge(sample, judging, without, with_it)
        if judge is not None:
            found.append(judge)
    return found


def _meant(lesson: Experience, samples: Sequence[Sample], material: Material) -> list[Sample]:
    """Return the samples that a lesson is about.

    A solved task's condition claims nothing: it is shown wherever it is the nearest one.
    """
    if lesson.task:
        return [*samples]
    meant = fits(lesson, [sample.text for sample in samples], material.common)
    return [sample for sample, is_meant in zip(samples, meant, strict=True) if is_meant]


def _set_with(
    lesson: Experience, sample: Sample, material: Material, *, own_too: bool
) -> Sequence[Experience]:
    """Return the set with a lesson that a sample may judge, nothing where it may not judge it."""
    if material.as_known_without(lesson, sample) is not None:
        return material.without(sample)
    reference = material.reference_of.get(sample.id, "")
    if own_too and not has_open_answer(reference, material.labels):
        return material.staged.experiences
    return ()


def _live(material: Material, going: Sequence[Experience], *, whole: bool) -> list[Experience]:
    """Return the active experiences with these lessons, no more than the caps allow.

    What refused lessons had taken the place of comes back, unless a lesson that stays came from it.
    """
    if whole:
        return [*material.staged.active]
    kept = _ids(going)
    refused = [e for e in material.new if e.id not in kept]
    gone = _ids(refused)
    live = [e for e in material.staged.active if e.id not in gone]
    back = _ancestors(refused, material) - _ancestors(live, material)
    live += [e for e in material.base.active if e.id in back]
    staged = replace(material.staged, experiences=tuple(live))
    too_many = _ids(over_caps(staged, staged.caps))
    live = [e for e in live if e.id not in too_many]
    return sorted(live, key=lambda e: (e.order, e.id))


def _ids(experiences: Iterable[Experience]) -> set[str]:
    return {e.id for e in experiences}


def _ancestors(lessons: Sequence[Experience], material: Material) -> set[str]:
    """Return the ids of all that these were made from, and their own."""
    return set[str]().union(*(material.ancestors(lesson) for lesson in lessons))


async def _once_more(
    samples: Sequence[Sample],
    judging: Judging,
    live: list[Experience],
    verdicts: list[LessonVerdict],
) -> tuple[list[Experience], list[LessonVerdict]]:
    """Test what is left of a set that hurt; it must help, or all stays as it was."""
    material, judges = judging.material, list[Judge]()
    for sample in samples:
        left = [material.as_known_without(lesson, sample) for lesson in live]
        known = [lesson for lesson in left if lesson is not None]
        judge = await _judge(sample, judging, material.before(sample), known)
        if judge is not None:
            judges.append(judge)
    test = PairedTest(SET_RULE)
    await judging.test(test, judges, "left", _turns(material))
    if test.verdict == "helps":
        return live, verdicts
    refused = [
        v.model_copy(update={"kept": False, "reason": f"{v.reason}; but together they hurt"})
        for v in verdicts
    ]
    return [*material.base.active], refused
