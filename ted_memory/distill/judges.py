"""Which samples may judge an edit: who may say that it helps, and who only watches for harm."""

from collections.abc import Collection, Iterable, Sequence
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


def known_labels(state: DistillState, context: DistillContext) -> frozenset[str]:
    """Return the answers that lessons may name, in plain form.

    The answer of this task is one of them where the tasks beside it list it.
    """
    labels, reference = frozenset(state["labels"]), plain(state["reference"])
    beside = [plain(peer.text) for peer, _ in context.peers_of(state)]
    return labels | {reference} if is_listed(reference, beside) else labels


async def choose_judges(
    edits: Sequence[Edit], state: DistillState, snapshot: ExperienceSet, context: DistillContext
) -> Judges:
    """Choose who judges these edits, all of them in place.

    Where the answer is a label that recurs, the sample itself is the witness. Where the sample has
    an answer of its own, or is itself the lesson (a solved task), only others are.
    """
    sample, reference = read_sample(state), state["reference"]
    after = changed_set(edits, snapshot, max_text=context.settings.max_text)
    new = new_in(after, snapshot)

    async def judge(other: Sample, right: str) -> Judge:
        before = await chosen(context, other, snapshot, snapshot.experiences)
        return Judge(other, right, before, await chosen(context, other, snapshot, after))

    itself = await judge(sample, reference)
    own = (itself,) if itself.differs else ()
    others = list[tuple[Judge, float | None]]()
    for peer, score in _peers_meant(new, sample, state, context):
        other = await judge(peer, peer.reference or "")
        if other.differs:
            others.append((other, score))
    guards, most = _guards(others, reference), context.profile.peers

    if any(e.task for e in new):  # what a solved task says is right for its own sample
        witnesses = _witnesses(others, "")
        return Judges(
            witnesses, _others_of(guards, witnesses)[:most], (), may_stay_unverified=False
        )
    if not has_open_answer(reference, known_labels(state, context)):
        return Judges(own, guards[:most], own, may_stay_unverified=False)
    witnesses = _witnesses(others, reference)
    guards = _others_of(guards, witnesses)[:most]
    return Judges(witnesses, guards, own, may_stay_unverified=bool(own))


def _peers_meant(
    new: Sequence[Experience], sample: Sample, state: DistillState, context: DistillContext
) -> list[tuple[Sample, float | None]]:
    """Return the peers with a right answer that a change claims to be about, too."""
    common = frozenset(state["common"])
    with_answers = [
        (peer, score)
        for peer, score in context.peers_of(state)
        if peer.id != sample.id and peer.reference
    ]
    return [(peer, score) for peer, score in with_answers if _is_meant(new, peer, sample, common)]


def _witnesses(others: Sequence[tuple[Judge, float | None]], reference: str) -> tuple[Judge, ...]:
    """Return those with another answer than this one, and on which an edit can show something.

    It can show nothing where the student was right already.
    """
    elsewhere = [(j, score) for j, score in others if plain(j.reference) != plain(reference)]
    return tuple(j for j, score in elsewhere if score is None or score < 1)[:WITNESSES]


def _guards(others: Sequence[tuple[Judge, float | None]], reference: str) -> tuple[Judge, ...]:
    """Return the others, those with another answer first.

    A lesson that tells an answer does harm there.
    """
    judges = [judge for judge, _ in others]
    return tuple(sorted(judges, key=lambda judge: plain(judge.reference) == plain(reference)))


def _others_of(judges: Sequence[Judge], taken: Collection[Judge]) -> tuple[Judge, ...]:
    return tuple(judge for judge in judges if judge not in taken)


def new_in(experiences: Iterable[Experience], snapshot: ExperienceSet) -> list[Experience]:
    """Return those of these experiences that a set does not have as they are."""
    known = snapshot.by_id
    return [e for e in experiences if known.get(e.id) is not e and known.get(e.id) != e]


def changed_set(
    edits: Sequence[Edit], snapshot: ExperienceSet, *, max_text: int
) -> tuple[Experience, ...]:
    """Return the set with these edits in place, and what they change active.

    The question is whether they work, not whether they may.
    """
    after = preview(edits, snapshot, max_text=max_text)
    known = {e.id: e for e in snapshot.experiences}
    return tuple(
        e if known.get(e.id) == e else e.model_copy(update={"state": "active"}) for e in after
    )


def _is_meant(
    new: Sequence[Experience], other: Sample, sample: Sample, common: Collection[str]
) -> bool:
    """Tell whether a change claims to be about another sample, too.

    It does so by a lesson's condition, where it has one. That of a solved task claims nothing: it
    is shown wherever it is the nearest one.
    """
    return not new or any(e.task or fits(e, [sample.text, other.text], common)[1] for e in new)


def fits(lesson: Experience, tasks: Sequence[str], common: Collection[str]) -> list[bool]:
    """Tell of each task whether a lesson is about it; one without a condition is about all.

    It is about those that its condition matches at least half as well as the best one.
    """
    if lesson.applies_always:
        return [True] * len(tasks)
    telling = " ".join(word for word in lesson.when.split() if stems(word).isdisjoint(common))
    scores = match(tasks, telling or lesson.when)
    return [score > 0 and score >= FITS * max(scores) for score in scores]
