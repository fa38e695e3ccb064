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

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ted_memory.distill.comparison import AHEAD, MOST_LOST, STEADY, Comparison, Judge, Pair, means
from ted_memory.distill.context import DistillContext
from ted_memory.distill.judges import fits
from ted_memory.distill.leaks import has_open_answer
from ted_memory.distill.progress import Records
from ted_memory.distill.report import Gate, LessonVerdict, Point, SetAside
from ted_memory.distill.run.material import Material
from ted_memory.distill.scoring import (
    OnProgress,
    Progress,
    answer_with,
    chosen,
    gather_all,
    with_retries,
)
from ted_memory.errors import BudgetExceeded, ModelError
from ted_memory.experience.assignment import principals
from ted_memory.experience.betting import PairedTest, Rule, sign
from ted_memory.experience.capacity import over_caps
from ted_memory.experience.rendering import render_line
from ted_memory.grading import graders
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.models import Add, Edit, Experience, ExperienceSet, Sample

MOST_REJECTED = 200  # lessons that wait for somebody to look at them
SET_RULE = Rule(level=0.05, worth=0.1, missed=0.05, pairs=100, bets=(0.2, 0.5, 0.9))
LESSON_PAIRS = 24  # of a lesson that is tested by itself, at most


@dataclass
class Judging:
    """One gate under way. `pairs_left` bounds what it may still ask for; None is no bound."""

    material: Material
    context: DistillContext
    records: Records
    on_progress: OnProgress
    pairs_left: int | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    _asked: int = 0
    _lost: int = 0

    async def test(
        self, test: PairedTest, judges: Sequence[Judge], name: str, turns: int | None = None
    ) -> list[Pair]:
        """Add pairs to a test until it is over; judges take turns in a random order that every start repeats.

        ``turns``: pairs of one judge at most; None: as many as the test may have.
        """
        comparison = Comparison(
            self.context, self.context.memory.presentation(self.material.staged).placement
        )
        order = [*judges]
        random.Random(name).shuffle(order)
        in_turn = ((judge, number) for number in range(turns or test.rule.pairs) for judge in order)
        pairs = list[Pair]()
        while not test.is_over and self.pairs_left != 0:
            most = min(AHEAD, test.rule.pairs - len(pairs), self.pairs_left or AHEAD)
            asked = list(
                islice((turn for turn in in_turn if turn[0].sample.id not in self.left_out), most)
            )
            if not asked:
                break
            got = await gather_all(
                *(self._pair(comparison, judge, number, name) for judge, number in asked)
            )
            for pair in got:
                if pair is not None:
                    test.add(sign(pair.after - pair.before))
                    pairs.append(pair)
        return pairs

    async def score(
        self, sample: Sample, snapshot: ExperienceSet, experiences: Sequence[Experience]
    ) -> float:
        """Return the student's score on a sample with these experiences, shown as the snapshot says."""
        given = await answer_with(self.context, sample, snapshot, experiences)
        score, _ = await graders.grade(
            self.context.grader, sample, given.text, self.material.reference_of[sample.id]
        )
        return score

    async def _pair(
        self, comparison: Comparison, judge: Judge, number: int, name: str
    ) -> Pair | None:
        key = f"gate:{name}:{judge.sample.id}:{number}"
        if key in self.records:
            known = self.records[key]
            return Pair(judge, known["before"], known["after"], "")
        try:
            pair = await comparison.pair(judge, number)
        except BudgetExceeded:
            self.pairs_left = 0
            return None
        except Exception as error:
            if is_final(error):
                raise
            self._leave_out(judge, error)
            return None
        await self.records.save(key, {"before": pair.before, "after": pair.after})
        if self.pairs_left:
            self.pairs_left -= 1
        self._asked += 1
        self.on_progress(Progress("validate", self._asked, max(self._asked, SET_RULE.pairs)))
        return pair

    def _leave_out(self, judge: Judge, error: Exception) -> None:
        """Leave out a sample that cannot be asked; one that the provider did not answer for has its turn again."""
        if not is_transient(error):
            self.left_out[judge.sample.id] = one_line(error)
            return
        self._lost += 1
        if self._lost > MOST_LOST + STEADY * self._asked:
            raise ModelError(
                f"the provider did not answer for {self._lost} pairs of the gate ({one_line(error)})."
            )


async def validate(
    samples: Sequence[Sample], judging: Judging
) -> tuple[Gate, tuple[Experience, ...]]:
    """Return the gate's verdict, and the active experiences that go live: those from before, should nothing pass."""
    material = judging.material
    judging.on_progress(Progress("validate", 0, SET_RULE.pairs))
    found = [await _of_the_set(sample, judging) for sample in samples]
    judges = [judge for judge in found if judge is not None and judge.differs]
    test = PairedTest(SET_RULE)
    pairs = await judging.test(test, judges, "set", _turns(material))
    before, after = means(pairs)
    hurts = _shown_to_hurt(pairs)
    new = material.new
    verdicts, going = list[LessonVerdict](), list[Experience]()
    for lesson in new:
        verdict = await _judged(lesson, samples, judging, set_helps=test.verdict == "helps")
        verdicts.append(verdict)
        if verdict.kept:
            going.append(lesson)
    live = _live(material, going, whole=test.verdict == "helps" and len(going) == len(new))
    if hurts and going:
        live, verdicts = await _once_more(samples, judging, live, verdicts)
    passed = [*live] != [*material.base.active]
    return (
        Gate(
            samples=len({pair.judge.sample.id for pair in pairs}),
            pairs=len(pairs),
            before=before,
            after=after,
            wealth=round(test.wealth, 3),
            verdict="hurts" if hurts else test.verdict,
            passed=passed,
            lessons=tuple(verdicts),
            failures=tuple(
                SetAside(sample=id, reason=reason) for id, reason in judging.left_out.items()
            ),
        ),
        tuple(live),
    )


def proposals(rejected: Sequence[tuple[Experience, str]], now: ExperienceSet) -> list[Edit]:
    """Return edits that keep rejected lessons where a person finds them: proposed, which no agent is shown."""
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


async def _of_the_set(sample: Sample, judging: Judging) -> Judge | None:
    material = judging.material
    return await _judge(sample, judging, material.before(sample), material.without(sample))


async def _judge(
    sample: Sample, judging: Judging, before: Sequence[Experience], after: Sequence[Experience]
) -> Judge | None:
    reference = judging.material.reference_of.get(sample.id, "")
    if not reference:
        return None
    context, snapshot = judging.context, judging.material.staged
    seen_before = await chosen(context, sample, snapshot, before)
    return Judge(sample, reference, seen_before, await chosen(context, sample, snapshot, after))


def _turns(material: Material) -> int | None:
    """Return how often each sample may judge a set: once where it has new solved tasks, else as often as it takes.

    A solved task is shown to few samples, which had a say in where it applies. What they say again
    and again is no more than they know, so their number must show it.
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
    material = judging.material
    said = render_line(lesson.text, lesson.when, lesson.example, lesson.task)
    of_users = bool(principals(lesson))
    # verification asks the sample that a lesson came from: no user is a witness of his own words
    found = None if of_users else material.evidence_of(lesson)
    verified = bool(found and found["verified"])
    if set_helps and not of_users and (verified or not judging.context.verifies):
        return LessonVerdict(
            lesson=said, kept=True, reason="the set helps, and nothing spoke against the lesson"
        )
    if lesson.task:
        return LessonVerdict(lesson=said, kept=False, reason=_NEVER_ALONE)
    judges = await of_a_lesson(lesson, samples, judging, own_too=verified)
    wealth = found["wealth"] if found and verified else 1.0
    needed = max(material.tests, len(material.new), 1) / SET_RULE.level
    test = PairedTest(replace(SET_RULE, level=min(wealth / needed, 1.0), pairs=LESSON_PAIRS))
    pairs = await judging.test(test, judges, f"lesson:{said}")
    total = wealth * test.wealth
    alone = total >= needed and (test.mean > 0 or not pairs)
    # a set's help may be that of others' lessons: this one must have helped somebody else, too
    borne_out = of_users and set_helps and test.mean > 0
    why = (
        "helps by itself"
        if alone
        else "the set helps, and others bear it out"
        if borne_out
        else _NOT_SHOWN
    )
    reason = f"{why}: wealth {total:.3g} of {needed:.3g}"
    return LessonVerdict(
        lesson=said,
        kept=alone or borne_out,
        pairs=len(pairs),
        lift=round(test.mean, 3),
        reason=reason,
    )


_NOT_SHOWN = "not shown to help by itself"
_NEVER_ALONE = (
    "a solved task is shown to few tasks, who cannot tell luck from help: it needs a set that helps"
)


async def of_a_lesson(
    lesson: Experience, samples: Sequence[Sample], judging: Judging, *, own_too: bool
) -> list[Judge]:
    """Return the judges of one lesson: those that it is about and that did not teach it.

    ``own_too``: also those that taught it, where its answers are labels: a label that only one
    sample has can show nowhere else what it is worth.
    """
    material = judging.material
    found, new = list[Judge](), {e.id for e in material.new}
    # a solved task's condition claims nothing: it is shown wherever it is the nearest one
    meant = (
        [True] * len(samples)
        if lesson.task
        else fits(lesson, [s.text for s in samples], material.common)
    )
    for sample, is_meant in zip(samples, meant, strict=True):
        if not is_meant:
            continue
        if material.as_known_without(lesson, sample) is None:
            is_open = has_open_answer(material.reference_of.get(sample.id, ""), material.labels)
            with_it = material.staged.experiences if own_too and not is_open else ()
        else:
            with_it = material.without(sample)
        instead = material.replaced(lesson, sample) if lesson.id in new else []
        without = [*(e for e in with_it if e.id != lesson.id), *instead]
        judge = await _judge(sample, judging, without, with_it) if with_it else None
        if judge is not None and judge.differs:
            found.append(judge)
    return found


def _live(material: Material, going: Sequence[Experience], *, whole: bool) -> list[Experience]:
    """Return the active experiences with these lessons, and with what refused ones had taken the place of."""
    if whole:
        return [*material.staged.active]
    kept = {e.id for e in going}
    refused = [e for e in material.new if e.id not in kept]
    live = [e for e in material.staged.active if e.id not in {e.id for e in refused}]
    there = {id for e in live for id in material.ancestors(e)}
    back = {id for e in refused for id in material.ancestors(e)} - there
    live += [e for e in material.base.active if e.id in back]
    candidate = replace(material.staged, experiences=tuple(live))
    gone = {e.id for e in over_caps(candidate, material.staged.caps)}
    return sorted((e for e in live if e.id not in gone), key=lambda e: (e.order, e.id))


async def _once_more(
    samples: Sequence[Sample],
    judging: Judging,
    live: list[Experience],
    verdicts: list[LessonVerdict],
) -> tuple[list[Experience], list[LessonVerdict]]:
    """Test what is left of a set that hurt; it must help, or all stays as it was."""
    material = judging.material
    judges = [
        await _judge(
            sample,
            judging,
            material.before(sample),
            [e for e in (material.as_known_without(e, sample) for e in live) if e is not None],
        )
        for sample in samples
    ]
    test = PairedTest(SET_RULE)
    await judging.test(
        test,
        [judge for judge in judges if judge is not None and judge.differs],
        "left",
        _turns(material),
    )
    if test.verdict == "helps":
        return live, verdicts
    refused = [
        v.model_copy(update={"kept": False, "reason": f"{v.reason}; but together they hurt"})
        for v in verdicts
    ]
    return [*material.base.active], refused


async def choose_stage(
    samples: Sequence[Sample], stages: Sequence[Material], judging: Judging
) -> tuple[Material, tuple[Point, ...]]:
    """Return the stage of a run at which the student was best, the latest of several, and the learning curve.

    Each sample is answered once at each stage, without what it taught; these answers choose, and
    prove nothing: the gate tests the chosen stage on fresh ones.
    """
    judging.on_progress(Progress("validate", 0, SET_RULE.pairs))
    base = stages[0].base
    scores: dict[int, list[float]] = {stage.staged.version: [] for stage in stages}
    before: list[float] = []

    async def one(sample: Sample) -> str:
        try:
            first = await _stage_score(sample, base, stages[0].before(sample), judging, "before")
            later = [
                await _stage_score(
                    sample, s.staged, s.without(sample), judging, f"v{s.staged.version}"
                )
                for s in stages
            ]
        except Exception as error:
            if is_final(error):
                raise
            return one_line(error) if is_transient(error) else ""
        before.append(first)
        for stage, score in zip(stages, later, strict=True):
            scores[stage.staged.version].append(score)
        return ""

    await with_retries(
        one,
        [s for s in samples if judging.material.reference_of.get(s.id)],
        judging.context.settings.concurrency,
    )
    if not before:
        return stages[-1], ()
    means_of = {version: sum(got) / len(got) for version, got in scores.items()}
    best = max(reversed(stages), key=lambda stage: means_of[stage.staged.version])
    first = Point(version=0, experiences=len(base.active), score=sum(before) / len(before))
    curve = (
        Point(
            version=s.staged.version,
            experiences=len(s.staged.active),
            score=means_of[s.staged.version],
        )
        for s in stages
    )
    return best, (first, *curve)


async def _stage_score(
    sample: Sample,
    snapshot: ExperienceSet,
    experiences: Sequence[Experience],
    judging: Judging,
    stage: str,
) -> float:
    key = f"stage:{stage}:{sample.id}"
    if key not in judging.records:
        await judging.records.save(
            key, {"score": await judging.score(sample, snapshot, experiences)}
        )
    return float(judging.records[key]["score"])
