"""What the gate judges: the set before a run and after it, and what came from whom."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ted_memory.distill.state import Evidence
from ted_memory.experience.edits import preview
from ted_memory.experience.lineage import comes_from, purging
from ted_memory.experience.rendering import render_line
from ted_memory.models import Experience, ExperienceSet, LogEntry, Sample


@dataclass(frozen=True)
class Material:
    """What the gate judges.

    Attributes:
        base: the set as it was before the run.
        staged: the set that the run ended with.
        log: of the run's staging set, newest first from its version.
        evidence: by lesson in words, the best that verification said of it.
        tests: how many tests of single lessons the run has made.
        labels: answers that recur, in plain form.
        common: stems of the words that stand in every sample.
        sources_of: what lessons that a sample must not judge name as a source: the sample, unless
            it was held out, and the principals whose words it holds.
        reference_of: the right answer of a sample, as far as known.
    """

    base: ExperienceSet
    staged: ExperienceSet
    log: Sequence[LogEntry]
    evidence: Mapping[str, Evidence]
    tests: int
    labels: Collection[str]
    common: Collection[str]
    sources_of: Callable[[Sample], frozenset[str]]
    reference_of: Mapping[str, str]
    _without: dict[frozenset[str], tuple[Experience, ...]] = field(default_factory=dict, init=False)

    @property
    def new(self) -> list[Experience]:
        """The lessons that the run has learned."""
        return new_lessons(self.base.active, self.staged.active)

    def ancestors(self, lesson: Experience) -> frozenset[str]:
        """Return the ids of what a lesson was made from, through merges of merges, and its own."""
        found, todo = {lesson.id}, [*lesson.parents]
        while todo:
            id = todo.pop()
            if id not in found:
                found.add(id)
                todo += [parent for e in self._gone.get(id, ()) for parent in e.parents]
        return frozenset(found)

    @cached_property
    def _gone(self) -> dict[str, list[Experience]]:
        """What the log says of experiences, by id; what merges have taken out is only there."""
        gone: dict[str, list[Experience]] = {}
        for entry in self.log:
            for change in entry.changes:
                for e in change.before:
                    gone.setdefault(e.id, []).append(e)
        return gone

    def evidence_of(self, lesson: Experience) -> Evidence | None:
        """Return what verification found of a lesson, None where it found nothing.

        Of one that was joined it is the weakest of what it was joined from. Joining was replayed:
        what the old lessons were verified for holds for the new one.
        """
        said = render_line(lesson.text, lesson.when, lesson.example, lesson.task)
        if said in self.evidence or not lesson.parents:
            return self.evidence.get(said)
        parents = [self._gone.get(id, ()) for id in lesson.parents]
        found = [self.evidence_of(versions[0]) for versions in parents if versions]
        known = [e for e in found if e is not None]
        if not known or len(known) < len(lesson.parents):
            return None
        return min(known, key=lambda e: (e["verified"], e["wealth"]))

    def replaced(self, lesson: Experience, sample: Sample) -> list[Experience]:
        """Return the lessons from before that a lesson has taken the place of."""
        ids = self.ancestors(lesson)
        return [e for e in self.before(sample) if e.id in ids]

    def without(self, sample: Sample) -> tuple[Experience, ...]:
        """Return the staged set as it would be if this sample had taught nothing.

        Nor would have whoever speaks in it.
        """
        sources = self.sources_of(sample)
        if not sources:
            return self.staged.experiences
        if sources not in self._without:
            edits, _ = purging(self.staged.experiences, self.log, sources)
            self._without[sources] = preview(edits, self.staged, max_text=10**9)
        return self._without[sources]

    def as_known_without(self, lesson: Experience, sample: Sample) -> Experience | None:
        """Return a lesson as it would be without this sample; None where the sample taught it.

        One that only adds words by which a lesson is found has not taught it.
        """
        if not comes_from(self.sources_of(sample), lesson):
            return lesson
        there = (e for e in self.without(sample) if e.id == lesson.id)
        return next(
            (e for e in there if (e.lesson, e.everywhere) == (lesson.lesson, lesson.everywhere)),
            None,
        )

    def before(self, sample: Sample) -> tuple[Experience, ...]:
        """Return the set from before, without what an earlier run learned from this sample."""
        sources = self.sources_of(sample)
        return tuple(e for e in self.base.experiences if not comes_from(sources, e))


def new_lessons(before: Sequence[Experience], after: Sequence[Experience]) -> list[Experience]:
    """Return what was learned: lessons of the later set that the earlier one does not say."""
    known = {e.lesson for e in before}
    return [e for e in after if e.lesson not in known]
