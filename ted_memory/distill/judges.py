"""Which samples may judge an edit: who may say that it helps, and who only watches for harm."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ted_memory.distill.comparison import Judge
from ted_memory.distill.context import DistillContext
from ted_memory.distill.leaks import has_open_answer, is_listed
from ted_memory.distill.scoring import chosen
from ted_memory.distill.state import DistillState, read_sample
from ted_memory.experience.edits import preview
from ted_memory.grading.answers import plain
from ted_memory.models import Edit, Experience, ExperienceSet, Sample
from ted_memory.retrieval.selection import match, stems

WITNESSES = 6  # other samples that may say that an edit helps, at most
# a sample fits a lesson when it matches `when` at least half as well as the lesson's own sample
FITS = 0.5


@dataclass(frozen=True)
class Judges:
    """The judges of one change.

    ``witnesses`` may say that it helps, ``guards`` only that it hurts, ``own`` is the sample that
    it came from. ``may_stay_unverified``: it came from a sample with an answer of its own, so that
    this one is no witness.
    """

    witnesses: tuple[Judge, ...]
    guards: tuple[Judge, ...]
    own: tuple[Judge, ...]
    may_stay_unverified: bool


def known_labels(state: DistillState) -> frozenset[str]:
    """Return the answers that lessons may name, in plain form; this task's own is one where its neighbours list it."""
    labels, reference = frozenset(state.get("labels", {})), plain(state["reference"])
    neighbours = [plain(peer.text) for peer, _ in peers(state)]
    return labels | {reference} if is_listed(reference, neighbours) else labels


async def choose_judges(
    edits: Sequence[Edit], state: DistillState, snapshot: ExperienceSet, context: DistillContext
) -> Judges:
    """Return who judges these edits, all of them in place."""
    sample, reference = read_sample(state), state["reference"]
    after = changed_set(edits, snapshot, max_text=context.settings.max_text)
    new = [e for e in after if e not in snapshot.experiences]

    common = frozenset(state.get("common", ()))

    async def judge(other: Sample, right: str) -> Judge:
        before = await chosen(context, other, snapshot, snapshot.experiences)
        return Judge(other, right, before, await chosen(context, other, snapshot, after))

    own = tuple(j for j in [await judge(sample, reference)] if j.differs)
    others = [
        (await judge(peer, peer.reference), score)
        for peer, score in peers(state)
        if peer.id != sample.id and peer.reference and _is_meant(new, peer, sample, common)
    ]
    others = [(other, score) for other, score in others if other.differs]
    guards = tuple(_guards([other for other, _ in others], reference))
    is_solved = any(e.task for e in new)
    if not is_solved and not has_open_answer(reference, known_labels(state)):
        return Judges(own, guards[: context.profile.peers], own, may_stay_unverified=False)
    witnesses = _witnesses(others, "" if is_solved else reference)
    guards = tuple(g for g in guards if g not in witnesses)[: context.profile.peers]
    if is_solved:  # it says what is right for its own sample
        return Judges(witnesses, guards, (), may_stay_unverified=False)
    return Judges(witnesses, guards, own, may_stay_unverified=bool(own))


def _witnesses(others: Sequence[tuple[Judge, float | None]], reference: str) -> tuple[Judge, ...]:
    """Return those with another answer than this one; where the student was right already an edit can show nothing."""
    elsewhere = [(j, score) for j, score in others if plain(j.reference) != plain(reference)]
    return tuple(j for j, score in elsewhere if score is None or score < 1)[:WITNESSES]


def changed_set(
    edits: Sequence[Edit], snapshot: ExperienceSet, *, max_text: int
) -> tuple[Experience, ...]:
    """Return the set with these edits in place and active: the question is whether they work, not whether they may."""
    after = preview(edits, snapshot, max_text=max_text)
    known = {e.id: e for e in snapshot.experiences}
    return tuple(
        e if known.get(e.id) == e else e.model_copy(update={"state": "active"}) for e in after
    )


def peers(state: DistillState) -> list[tuple[Sample, float | None]]:
    """Return the other samples of a pass, each with the student's score on it where that is known."""
    return [(Sample.model_validate(p["sample"]), p["score"]) for p in state.get("peers", [])]


def _is_meant(
    new: Sequence[Experience], other: Sample, sample: Sample, common: Collection[str]
) -> bool:
    """Tell whether a change claims to be about another sample, too: by a lesson's condition, where it has one.

    That of a solved task claims nothing: it is shown wherever it is the nearest one.
    """
    return not new or any(e.task or fits(e, [sample.text, other.text], common)[1] for e in new)


def fits(lesson: Experience, tasks: Sequence[str], common: Collection[str]) -> list[bool]:
    """Tell of which tasks a lesson is about: those that its condition matches half as well as the best one, or all."""
    if lesson.applies_always:
        return [True] * len(tasks)
    telling = " ".join(word for word in lesson.when.split() if stems(word).isdisjoint(common))
    scores = match(tasks, telling or lesson.when)
    return [score > 0 and score >= FITS * max(scores) for score in scores]


def _guards(others: Sequence[Judge], reference: str) -> list[Judge]:
    """Return the others, those with another answer first: a lesson that tells an answer does harm there."""
    return sorted(others, key=lambda judge: plain(judge.reference) == plain(reference))
