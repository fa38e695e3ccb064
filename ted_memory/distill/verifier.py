"""The tests of one critique's edits on the samples that may judge them, pair of answers by pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ted_memory.distill.comparison import Comparison, Judge, Pair, means
from ted_memory.distill.context import DistillContext
from ted_memory.distill.judges import (
    Judges,
    changed_set,
    choose_judges,
    fits,
    known_labels,
    new_in,
)
from ted_memory.distill.leaks import has_open_answer, leaks
from ted_memory.distill.merging import Proof, at_hand, changed, keeps_what_is_known
from ted_memory.distill.state import DistillState, Evidence, Joined, read_sample
from ted_memory.distill.wording import describe
from ted_memory.experience.betting import PairedTest
from ted_memory.experience.rendering import render_line
from ted_memory.grading.answers import plain
from ted_memory.llm.calls import is_final
from ted_memory.models import Add, Edit, ExperienceSet, Merge, Remove, Rewrite, Sample

_TELLS_THE_ANSWER = (
    "it tells the answer of this very task ({answer}), which no other task has. "
    "Say how such an answer is found"
)


@dataclass(frozen=True)
class Finding:
    """What verification showed of edits that were tested in one.

    ``problem`` is what speaks against them, "" when they passed.
    """

    edits: tuple[Edit, ...]
    problem: str = ""
    evidence: tuple[Evidence, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the edits may be kept."""
        return not self.problem

    @property
    def helped(self) -> bool:
        """Whether the student gets better; a join that loses nothing has no evidence of that."""
        if any(e["verified"] for e in self.evidence):
            return True
        return self.passed and bool(self.evidence)


def edits_of(findings: Iterable[Finding]) -> list[Edit]:
    """Return the edits of all of these."""
    return [edit for finding in findings for edit in finding.edits]


class Verifier:
    """Tests the edits of one critique on the samples that may judge them.

    Attributes:
        sample: what the edits came from.
        snapshot: the set without them.
        found: what all tests said, those that did not pass among them: their number counts.
        comparison: its answers without an edit are shared by all tests.
    """

    def __init__(
        self, state: DistillState, snapshot: ExperienceSet, context: DistillContext
    ) -> None:
        self.state = state
        self.context = context
        self.sample: Sample = read_sample(state)
        self.snapshot = snapshot
        self.found: list[Evidence] = []
        self.comparison: Comparison = Comparison(
            context, context.memory.presentation(snapshot).placement
        )

    async def test(
        self, edits: Sequence[Edit], *, level: float = 1.0, is_ours: bool = False
    ) -> Finding:
        """Find out what the student's answers say about these edits, all of them in place.

        Args:
            edits: tested as one.
            level: share of the rule's level at which they must show that they help.
            is_ours: we, not the critic, made the sample their example.
        """
        judges = await self._may_be_tested(edits, is_ours=is_ours)
        if isinstance(judges, Finding):
            return judges
        rule = self.context.profile.verification
        test = PairedTest(replace(rule, level=level * rule.level))
        pairs = await self.comparison.test(test, judges.witnesses)
        verified = bool(judges.witnesses) and test.verdict == "helps"
        if judges.may_stay_unverified and not verified and _says_nothing_of(edits, test, pairs):
            return await self._on_its_own_sample(edits, judges)
        evidence = self._evidence(edits, test, verified=verified, shared=len(edits) > 1)
        problem = await self._harm(judges.guards) if verified else _did_not_help(pairs)
        return Finding(tuple(edits), problem, evidence)

    def can_prove(self, edit: Edit) -> bool:
        """Tell whether it can be shown of a merge or removal that it loses nothing.

        Each lesson that it touches must have a sample at hand; and where merges keep their parents'
        words, this one must.
        """
        if not isinstance(edit, Merge | Remove):
            return False
        keeps_words = self.context.profile.merges == "verbatim"
        if keeps_words and not keeps_what_is_known(edit, self.snapshot):
            return False
        instead = self._stand_ins(edit)
        lessons = changed(edit, self.snapshot)
        return all(at_hand(e, self.context.samples) or instead.get(e.id) for e in lessons)

    async def prove(self, joins: Sequence[Edit], *, beside: Sequence[Edit]) -> list[Finding]:
        """Find out whether merges and removals lose nothing, with these other edits in place."""
        findings, tested = list[Finding](), list[Edit]()
        for edit in joins:
            judges = await self._may_be_tested([edit])
            if isinstance(judges, Finding):
                findings.append(judges)
            elif harm := await self._harm(judges.guards):
                findings.append(Finding((edit,), harm))
            else:
                tested.append(edit)
        instead = dict[str, Sequence[Sample]]()
        for edit in tested:
            instead |= self._stand_ins(edit)
        proof = Proof(self.snapshot, self.context, self.comparison, beside, instead)
        for edit, joined in zip(tested, await proof.of(tested), strict=True):
            findings.append(Finding((edit,), _loss(joined)))
        return findings

    async def _may_be_tested(
        self, edits: Sequence[Edit], *, is_ours: bool = False
    ) -> Judges | Finding:
        """Return who judges these edits, or why there is nothing to judge."""
        for edit in edits:
            if answer := tells_an_answer(edit, self.state, self.context, is_ours=is_ours):
                return Finding(tuple(edits), _TELLS_THE_ANSWER.format(answer=answer[:80]))
        judges = await choose_judges(edits, self.state, self.snapshot, self.context)
        if not judges.witnesses and not judges.own:
            return Finding(tuple(edits), "it changes nothing that the student sees for this task")
        return judges

    def _stand_ins(self, edit: Edit) -> dict[str, Sequence[Sample]]:
        """Return by lesson which samples of this pass it is about, for a merge of it.

        A removal needs those that the lesson came from: that it is of no use here says nothing of
        its use there.
        """
        if not isinstance(edit, Merge):
            return {}
        samples, common = self._may_stand_in(), frozenset(self.state["common"])
        texts = [sample.text for sample in samples]
        found = dict[str, Sequence[Sample]]()
        for lesson in changed(edit, self.snapshot):
            meant = fits(lesson, texts, common)
            found[lesson.id] = [
                one for one, is_meant in zip(samples, meant, strict=True) if is_meant
            ]
        return found

    def _may_stand_in(self) -> list[Sample]:
        """Return the samples of this pass that may show what a lesson is worth.

        One with an answer of its own is no judge of what was written with a view to it.
        """
        sample, reference = self.sample, self.state["reference"]
        others = [
            peer
            for peer, _ in self.context.peers_of(self.state)
            if peer.reference and peer.id != sample.id
        ]
        if not has_open_answer(reference, known_labels(self.state, self.context)):
            return [sample.model_copy(update={"reference": reference}), *others]
        return [other for other in others if plain(other.reference or "") != plain(reference)]

    async def _on_its_own_sample(self, edits: Sequence[Edit], judges: Judges) -> Finding:
        """Ask only that the edit helps where it came from.

        Nothing else can tell here; the gate will have to.
        """
        test = PairedTest(self.context.profile.verification)
        pairs = await self.comparison.test(test, judges.own)
        nothing = PairedTest(test.rule)
        evidence = self._evidence(edits, nothing, verified=False, shared=False)
        if test.verdict == "helps":
            return Finding(tuple(edits), await self._harm(judges.guards), evidence)
        before, after = means(pairs)
        problem = (
            f"with it the student still scored {after:.2f} on this very task "
            f"(without it: {before:.2f})"
        )
        return Finding(tuple(edits), problem, evidence)

    async def _harm(self, guards: Sequence[Judge]) -> str:
        """Return what is wrong with the edits on other samples, "" for nothing."""
        if not guards:
            return ""
        test = PairedTest(self.context.profile.loss)
        try:
            pairs = await self.comparison.test_loss(test, guards)
        except Exception as error:
            if is_final(error):
                raise
            # the other sample has a trouble of its own, which says nothing about the lesson
            return ""
        if test.verdict != "helps":  # what the test looks for is a loss
            return ""
        before, after = means(pairs)
        return f"on other tasks that it fits the score fell from {before:.2f} to {after:.2f}"

    def _evidence(
        self, edits: Sequence[Edit], test: PairedTest, *, verified: bool, shared: bool
    ) -> tuple[Evidence, ...]:
        """Note what a test says of each edit.

        What several edits showed together (``shared``) is not the wealth of each one.
        """
        evidence = tuple(
            Evidence(
                lesson=self._in_words(edit),
                wealth=1.0 if shared else test.wealth,
                mean=test.mean,
                pairs=len(test.differences),
                verified=verified,
            )
            for edit in edits
        )
        self.found += evidence
        return evidence

    def _in_words(self, edit: Edit) -> str:
        """Return the words that an edit's lesson will have in the set."""
        after = changed_set([edit], self.snapshot, max_text=self.context.settings.max_text)
        for lesson in new_in(after, self.snapshot):
            return render_line(lesson.text, lesson.when, lesson.example, lesson.task)
        return describe(edit)


def tells_an_answer(
    edit: Edit, state: DistillState, context: DistillContext, *, is_ours: bool = False
) -> str:
    """Return the answer of a sample that the critic saw, where an edit tells one; else "".

    A label is no such answer. In traffic nobody knows yet which answers recur; there others'
    episodes show what a lesson is worth. ``is_ours``: the sample itself is known to be its example,
    and others judge it.
    """
    if context.evidence or state["settle"]:
        return ""
    sample = read_sample(state)
    if is_ours and isinstance(edit, Add):
        edit = edit.model_copy(update={"example": "", "task": ""})
    said, labels = describe(edit), known_labels(state, context)
    companions = state["companions"]
    for answer in (state["reference"], *(companion["reference"] for companion in companions)):
        if leaks(said, sample, answer, labels):
            return answer
    return ""


def _loss(joined: Joined | None) -> str:
    """Return what is lost by an edit that was put to the proof, "" for nothing."""
    if joined is None:
        return "it was refused before"
    return "" if joined["kept"] else joined["reason"]


def _says_nothing_of(edits: Sequence[Edit], test: PairedTest, pairs: Sequence[Pair]) -> bool:
    """Tell whether the answers of other samples say nothing of these edits.

    They say nothing where all were right on both sides anyway. Nor do they, unless they got worse,
    where an edit is shown everywhere for want of a condition that can be found: it may be about
    other tasks than these.
    """
    if test.verdict == "open" and all(pair.is_full for pair in pairs):
        return True
    return test.mean >= 0 and any(_is_shown_for_want_of_better(edit) for edit in edits)


def _did_not_help(pairs: Sequence[Pair]) -> str:
    """Return what the critic is told of an edit that was not shown to help."""
    before, after = means(pairs)
    answered = f" and answered: {pairs[-1].text[:200]}" if pairs else ""
    scores = f"{after:.2f} (without it: {before:.2f}, {len(pairs)} pairs of answers)"
    return f"with it the student still scored {scores}{answered}"


def _is_shown_for_want_of_better(edit: Edit) -> bool:
    return isinstance(edit, Add | Rewrite | Merge) and bool(edit.everywhere and edit.when)
