"""The try: a proposed edit is put to the test before anyone keeps it.

The student attempts the sample again with the edit in place, and one other sample that fits the lesson's ``when``.
On the first, at least half of what was missing to a full score must be made good; on the other, the score must not
fall; and a lesson that makes the student give this sample's answer to another task only leaks the answer. A try is a
filter: its outcomes are chosen after the fact and never become usage.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.kit import Kit
from ted_memory.distill.profiles import SMALL
from ted_memory.distill.scoring import answer_with, chosen, together
from ted_memory.distill.state import (
    DistillState,
    Json,
    dump_edits,
    dump_spend,
    mean_score,
    read_edits,
    read_graded,
    read_sample,
    read_set,
)
from ted_memory.experience.edits import preview
from ted_memory.experience.rendering import render_line
from ted_memory.grading import graders
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.llm.spend import Spend
from ted_memory.models import Edit, Experience, ExperienceSet, Remove, Sample
from ted_memory.retrieval.selection import match, stems

FITS = 0.5  # a peer fits a lesson when it matches `when` at least half as well as the lesson's own sample
ALIKE = 0.8  # a lesson that fits a peer with another answer nearly as well as any other is tried on that one
ENOUGH = 0.5  # share of what was missing to a full score that a lesson must make good: less is often luck
ROUNDING = 1e-9  # of means: exactly half is enough
WORDS = 12  # of the task, that the critic is pointed to
NOISE = 0.25  # a fall on the peer that a pair of attempts shows by chance


@dataclass(frozen=True)
class Outcome:
    """What a try showed; ``problem`` is empty when the edit passed."""

    edit: Edit
    problem: str
    spend: Spend


async def verify(state: DistillState, *, kit: Kit) -> Json:
    """Try each proposed edit by itself; keep those that pass, tell the critic about the others."""
    edits = read_edits(state["proposal"])
    outcomes = await together(*(_verify(edit, state, kit) for edit in edits))
    spend = sum((outcome.spend for outcome in outcomes), Spend())
    failed = [outcome for outcome in outcomes if outcome.problem]
    told = "\n\n".join(SMALL["revision"].fill({"lesson": describe(o.edit), "outcome": o.problem}) for o in failed)
    feedback = [*state["feedback"][:-1], {**state["feedback"][-1], "told": told}]
    return {
        "accepted": dump_edits([outcome.edit for outcome in outcomes if not outcome.problem]),
        "refused": [{"edit": describe(o.edit), "reason": o.problem} for o in failed],
        "feedback": feedback,
        "spend": dump_spend(spend),
    }


def verification_failed(_state: DistillState, error: NodeError) -> Command[str]:
    """Keep nothing that could not be tried."""
    if is_final(error.error):
        raise error.error
    note = f"the proposed edits could not be tried: {one_line(error.error)}"
    update = {"status": "set_aside", "lost": is_transient(error.error), "note": note, "accepted": []}
    return Command(update=update, goto="commit")


def describe(edit: Edit) -> str:
    """Return an edit in words."""
    if isinstance(edit, Remove):
        return f"remove {edit.id}"
    text, when = getattr(edit, "text", ""), getattr(edit, "when", "") or ""
    return render_line(text, when)


async def _verify(edit: Edit, state: DistillState, kit: Kit) -> Outcome:
    if isinstance(edit, Remove):  # what the removal does shows in the validation gate and in the others' usage
        return Outcome(edit, "", Spend())
    snapshot, sample = read_set(state), read_sample(state)
    after = preview([edit], snapshot, max_text=kit.settings.max_text)
    # as it would be once active: a try asks whether the lesson works, not whether it may
    new = [e.model_copy(update={"state": "active"}) for e in after if e not in snapshot.experiences]
    changed = [*(e for e in after if e in snapshot.experiences), *new]
    if problem := _not_worth_verifying(new, sample, state.get("common", ()), kit.settings.max_text):
        return Outcome(edit, problem, Spend())
    before = mean_score(read_graded(state)) or 0.0
    own = await _attempts(kit, sample, state["reference"], snapshot, changed)
    if not own.showed(new):
        return Outcome(edit, _not_found(own, snapshot, sample, state.get("common", ())), own.spend)
    if own.mean - before < ENOUGH * (1 - before) - ROUNDING:
        said = own.texts[0][:200]
        problem = f"with it the student still scored {own.mean:.2f} (before: {before:.2f}) and answered: {said}"
        return Outcome(edit, problem, own.spend)
    showing = await _showing(state, kit, new[0], snapshot, changed)
    peer = _peer(state, new[0], sample, lambda s: s.id in showing)
    if peer is None:
        return Outcome(edit, "", own.spend)
    try:
        problem, spend = await _verify_on_peer(kit, peer, state["reference"], snapshot, changed)
    except Exception as error:
        if is_final(error):
            raise
        problem, spend = "", Spend()  # the peer has a trouble of its own, which says nothing about the lesson
    return Outcome(edit, problem, own.spend + spend)


def _not_worth_verifying(new: Sequence[Experience], sample: Sample, common: Collection[str], max_text: int) -> str:
    """Return what speaks against an edit before any attempt: it cannot be kept, or its condition fits every task.

    Such a condition meets its own task only in words that stand in nearly every task: it would push out other lessons.
    """
    if not new:
        return f"it cannot be kept: empty, unchanged, or longer than {max_text} characters"
    met = stems(new[0].when) & stems(sample.text)
    if not met or met - {*common}:
        return ""
    return f"'when' fits every task. Use words that set this task apart in 'when'{_hint(sample, common)}"


def _hint(sample: Sample, taken: Collection[str]) -> str:
    words = re.findall(r"\w[\w-]+", sample.text)
    free = dict.fromkeys(word for word in words if stems(word) and stems(word).isdisjoint(taken))
    return f", such as: {', '.join(list(free)[:WORDS])}" if free else ""


def _not_found(own: "_Attempts", snapshot: ExperienceSet, sample: Sample, common: Collection[str]) -> str:
    """Say which lesson stood in the way, and which words of the task would lead to another one."""
    problem = "it was not found for this very task"
    taken = {*common}
    for e in (snapshot.by_id[id] for id in sorted(own.shown) if id in snapshot.by_id):
        problem += f"; {e.id} was found instead: {render_line(e.text, e.when)!r}"
        taken |= stems(e.when)
    return f"{problem}. Use other words of the task in 'when'{_hint(sample, taken)}"


@dataclass(frozen=True)
class _Attempts:
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    shown: frozenset[str]
    spend: Spend

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    def showed(self, experiences: Sequence[Experience]) -> bool:
        return any(e.id in self.shown for e in experiences)


async def _attempts(
    kit: Kit, sample: Sample, reference: str, snapshot: ExperienceSet, experiences: Sequence[Experience]
) -> _Attempts:
    answers = await together(
        *(answer_with(kit, sample, snapshot, experiences) for _ in range(kit.settings.try_rollouts))
    )
    graded = [await graders.grade(kit.grader, sample, given.text, reference) for given in answers]
    return _Attempts(
        texts=tuple(given.text for given in answers),
        scores=tuple(score for score, _ in graded),
        shown=frozenset(id for given in answers for id in given.shown),
        spend=sum((given.spend for given in answers), Spend()),
    )


async def _showing(
    state: DistillState, kit: Kit, lesson: Experience, snapshot: ExperienceSet, changed: Sequence[Experience]
) -> set[str]:
    """Return the ids of the peers that would be shown the lesson."""
    peers = [Sample.model_validate(p["sample"]) for p in state.get("peers", [])]
    return {peer.id for peer in peers if lesson in await chosen(kit, peer, snapshot, changed)}


def _peer(
    state: DistillState, lesson: Experience, sample: Sample, shows: Callable[[Sample], bool]
) -> tuple[Sample, float | None] | None:
    """Return another sample that the lesson claims to fit, and the student's mean score on it where it is known.

    Only one that would show the lesson can tell anything. One with another answer tells more, if it fits as well.
    """
    peers = [(Sample.model_validate(p["sample"]), p["score"]) for p in state.get("peers", [])]
    peers = [(peer, score) for peer, score in peers if peer.id != sample.id and peer.reference and shows(peer)]
    if not peers:
        return None
    fits = match([sample.text, *(peer.text for peer, _ in peers)], lesson.when)
    own, best = fits[0], max(fits[1:])
    if own == 0:  # it says nothing of where it applies: try it anywhere else
        return next((p for p in peers if p[0].reference != sample.reference), None)
    if best < FITS * own:
        return None
    ranked = sorted(zip(fits[1:], range(len(peers)), strict=True), key=lambda pair: -pair[0])
    other = (i for fit, i in ranked if fit >= ALIKE * best and peers[i][0].reference != sample.reference)
    return peers[next(other, ranked[0][1])]


async def _verify_on_peer(
    kit: Kit,
    peer: tuple[Sample, float | None],
    reference: str,
    snapshot: ExperienceSet,
    changed: Sequence[Experience],
) -> tuple[str, Spend]:
    """Return what is wrong with the lesson on another sample, "" for nothing."""
    sample, before = peer
    wanted = sample.reference or ""
    after = await _attempts(kit, sample, wanted, snapshot, changed)
    spend = after.spend
    if before is None:
        plain = await _attempts(kit, sample, wanted, snapshot, snapshot.experiences)
        before, spend = plain.mean, spend + plain.spend
    if after.mean < before - NOISE:
        return f"on another task that it fits the score fell from {before:.2f} to {after.mean:.2f}", spend
    if wanted != reference and after.mean < 1 and await _all_give(kit, sample, after.texts, reference):
        return "on another task that it fits it made the student give this task's answer, which is wrong there", spend
    return "", spend


async def _all_give(kit: Kit, sample: Sample, texts: Sequence[str], answer: str) -> bool:
    scores = [(await graders.grade(kit.grader, sample, text, answer))[0] for text in texts]
    return all(score == 1 for score in scores)
