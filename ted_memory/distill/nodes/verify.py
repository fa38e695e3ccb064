"""Verification: a proposed edit is put to the test on the student before anyone keeps it.

The student answers a sample with the edit and without it, pair after pair, until a sequential test
tells whether the edit helps (`ted_memory.experience.betting`; the profile's rule says how sure it
must be and how many pairs it may take). Which samples may say that it helps depends on the sample
that the edit came from:

- its answer is one of a fixed set (labels that recur, or that the tasks list): the sample itself;
- its answer is its own: other samples with other answers only. On the sample itself an edit that
  tells the answer would help most of all. Where there are no others the edit is kept as
  *unverified*, and the gate measures it.

On a few more samples that would be shown the edit the student must not get worse. What verification
finds is chosen after the fact and never becomes usage.

A merge or a removal makes the set smaller and need not help: it must lose nothing of what its
lessons held, as one of a compactor's (`ted_memory.distill.merging`). Where no sample is at hand to
prove that, it must help like any other edit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.comparison import Comparison, Judge, Pair, means
from ted_memory.distill.context import DistillContext
from ted_memory.distill.judges import Judges, changed_set, choose_judges, fits, known_labels, peers
from ted_memory.distill.leaks import has_open_answer, leaks
from ted_memory.distill.merging import Proof, at_hand, changed, keeps_what_is_known
from ted_memory.distill.placing import place
from ted_memory.distill.scoring import gather_all
from ted_memory.distill.solved_tasks import conditions_of, solved_task
from ted_memory.distill.state import (
    DistillState,
    Evidence,
    Json,
    dump_edits,
    dump_spend,
    holds_words_of_users,
    read_edits,
    read_sample,
    read_set,
)
from ted_memory.distill.wording import describe
from ted_memory.experience.assignment import principals
from ted_memory.experience.betting import PairedTest
from ted_memory.experience.rendering import render_line
from ted_memory.grading.answers import plain
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.llm.fences import fence
from ted_memory.models import Add, Edit, Experience, Merge, Remove, Rewrite, Sample, SetState

MOST_ALIKE = 3  # lessons that wait, of which one may do the work of a new one
# of the rule's level, for what is tried where the critic's lessons did not help by themselves
SECOND_CHANCE = 0.25


@dataclass(frozen=True)
class Finding:
    """What verification showed of edits that were tested in one; ``problem`` is empty when they passed."""

    edits: tuple[Edit, ...]
    problem: str = ""
    evidence: tuple[Evidence, ...] = ()


async def verify(state: DistillState, *, context: DistillContext) -> Json:
    """Test each proposed edit by itself, then those that failed together; tell the critic about what failed."""
    verifier = _Verifier(state, context)
    findings, repeated = await _without_what_was_said(await _found(state, verifier), verifier)
    failed = [finding for finding in findings if finding.problem]
    if context.keep_evidence is not None:
        await context.keep_evidence(f"{state.get('run', '')}:{state['round']}", verifier.found)
    revise = context.profile.prompts["revision"]
    # it tells what the student answered, and which other lessons it was shown
    of_users = holds_words_of_users(state) or any(principals(e) for e in verifier.snapshot)
    outcome = fence if of_users else str
    told = "\n\n".join(
        revise.fill({"lesson": _described(f), "outcome": outcome(f.problem)}) for f in failed
    )
    return {
        "accepted": dump_edits([edit for f in findings if not f.problem for edit in f.edits]),
        "refused": [
            {"edit": describe(edit), "reason": f.problem} for f in failed for edit in f.edits
        ],
        "feedback": [*state["feedback"][:-1], {**state["feedback"][-1], "told": told}],
        "spend": dump_spend(verifier.comparison.spend),
        **({"note": repeated} if repeated else {}),
    }


async def _found(state: DistillState, verifier: "_Verifier") -> list[Finding]:
    """Return what the tests say of the proposed edits."""
    sample, context = verifier.sample, verifier.context
    placed = [await place(edit, sample, state, context) for edit in read_edits(state["proposal"])]
    findings = [verifier.refused(edit, problem) for edit, problem in placed if problem]
    ready = [edit for edit, problem in placed if not problem]
    joins = [edit for edit in ready if verifier.can_prove(edit)]
    findings += await gather_all(*(verifier.test([edit]) for edit in ready if edit not in joins))
    findings = await _together_too(findings, verifier)
    findings += await verifier.prove(
        joins, beside=[edit for f in findings if not f.problem for edit in f.edits]
    )
    # what users wrote is no example for everybody
    if context.examples == "own" and not holds_words_of_users(state):
        if solved := await _as_an_earlier_turn(findings, verifier):
            return [*findings, solved]
        findings = [await _with_an_example(finding, verifier) for finding in findings]
    return findings


def verification_failed(_state: DistillState, error: NodeError) -> Command[str]:
    """Keep nothing that could not be verified."""
    if is_final(error.error):
        raise error.error
    note = f"the proposed edits could not be verified: {one_line(error.error)}"
    update = {
        "status": "set_aside",
        "lost": is_transient(error.error),
        "note": note,
        "accepted": [],
    }
    return Command(update=update, goto="commit")


def _described(finding: Finding) -> str:
    return " and ".join(describe(edit) for edit in finding.edits)


async def _together_too(findings: list[Finding], verifier: "_Verifier") -> list[Finding]:
    """Test edits that failed singly as one: some help only together, as where every part must be right to score."""
    failed = [f for f in findings if f.problem and any(not e["verified"] for e in f.evidence)]
    if len(failed) < 2:
        return findings
    joint = await verifier.test([edit for f in failed for edit in f.edits], level=SECOND_CHANCE)
    if joint.problem:
        return findings
    return [f for f in findings if f not in failed] + [joint]


async def _as_an_earlier_turn(findings: list[Finding], verifier: "_Verifier") -> Finding | None:
    """Test the sample itself as an earlier turn, where none of its lessons helped: some students follow no rule.

    Once in a pass: to test it again until luck lets it through would be no test.
    """
    if verifier.state["round"] > 1 or any(_helped(finding) for finding in findings):
        return None
    for lesson in _solved_tasks(findings, verifier):
        shown = await verifier.test([lesson], level=SECOND_CHANCE, is_ours=True)
        if shown.evidence:  # else its condition leads nobody to it
            return None if shown.problem else shown
    return None


def _solved_tasks(findings: Sequence[Finding], verifier: "_Verifier") -> list[Add]:
    """Return the sample with its answer as a lesson: under words of its own and under the critic's condition."""
    sample, state, context = verifier.sample, verifier.state, verifier.context
    tested = (edit for finding in findings if finding.evidence for edit in finding.edits)
    theirs = [edit.when for edit in tested if isinstance(edit, Add)]
    words = {"common": state.get("common", ()), "kindred": state.get("kindred", ())}
    language = context.settings.language
    conditions = conditions_of(sample, state["reference"], theirs, **words, language=language)
    made = (
        solved_task(sample, state["reference"], when, context, state.get("sources", ()))
        for when in conditions
    )
    return [lesson for lesson in made if lesson is not None]


def _helped(finding: Finding) -> bool:
    """Tell whether the student gets better: a join that loses nothing has no evidence of that."""
    return any(e["verified"] for e in finding.evidence) or bool(
        finding.evidence and not finding.problem
    )


async def _with_an_example(finding: Finding, verifier: "_Verifier") -> Finding:
    """Test a lesson that did not help once more, with its own sample as an example: some students follow no rule.

    Not one that is shown with every task: small students copy what such an example says of its own
    task alone.
    """
    edit = finding.edits[0]
    if (
        _helped(finding)
        or not finding.evidence
        or len(finding.edits) > 1
        or not isinstance(edit, Add)
        or edit.example
    ):
        return finding
    if edit.everywhere or not edit.when:
        return finding
    example = own_example(verifier.sample, verifier.state["reference"])
    if len(example) > verifier.context.settings.max_text:
        return finding
    with_it = edit.model_copy(update={"example": example})
    shown = await verifier.test([with_it], level=SECOND_CHANCE, is_ours=True)
    return shown if not shown.problem else finding


async def _without_what_was_said(
    findings: list[Finding], verifier: "_Verifier"
) -> tuple[list[Finding], str]:
    """Leave out lessons from traffic that one which waits for evidence says in other words; return a note on them.

    That it says the same is verified: of those that wait, one of the three most like the new lesson
    must help where the new one came from. The episode is then evidence on it like any other.
    """
    context, snapshot = verifier.context, verifier.snapshot
    waiting = [e for e in (*snapshot.trial, *snapshot.proposed) if not (e.trial and e.trial.ended)]
    if not context.evidence or not waiting:
        return findings, ""
    left, said = list[Finding](), list[str]()
    for finding in findings:
        [edit, *more] = finding.edits
        if finding.problem or more or not isinstance(edit, Add):
            left.append(finding)
            continue
        ranking = await context.memory.rank(waiting, f"{edit.when} {edit.text}")
        if known := await _that_does_its_work(ranking.best(waiting, MOST_ALIKE), verifier):
            said.append(f"{known} says the same as {describe(edit)!r}, and waits for evidence")
        else:
            left.append(finding)
    return left, "; ".join(said)


async def _that_does_its_work(alike: Sequence[Experience], verifier: "_Verifier") -> str:
    """Return the id of the first of these lessons that helps where the sample came from; "" where none does.

    One that is not shown there is not asked for. Those after the first have to show more: to test
    one after the other until luck lets one through would be no test.
    """
    for rank, lesson in enumerate(alike):
        level = SECOND_CHANCE if rank else 1.0
        if not (await verifier.test([SetState(id=lesson.id, state="active")], level=level)).problem:
            return lesson.id
    return ""


def tells_an_answer(
    edit: Edit, state: DistillState, context: DistillContext, *, is_ours: bool = False
) -> str:
    """Return the answer of a sample that the critic saw, where an edit tells one and it is no label; else "".

    ``is_ours``: the sample itself is known to be its example, and others judge it. In traffic
    nobody knows yet which answers recur; there others' episodes show what a lesson is worth.
    """
    if context.evidence or state.get("settle"):
        return ""
    sample = read_sample(state)
    if is_ours and isinstance(edit, Add):
        edit = edit.model_copy(update={"example": "", "task": ""})
    said, labels = describe(edit), known_labels(state)
    answers = (
        state["reference"],
        *(companion["reference"] for companion in state.get("companions", ())),
    )
    return next((answer for answer in answers if leaks(said, sample, answer, labels)), "")


def own_example(sample: Sample, reference: str) -> str:
    """Return a sample as the example of a lesson that came from it."""
    return f"{sample.text.strip()} => {reference.strip()}"


class _Verifier:
    """Tests the edits of one critique on the samples that may judge them."""

    def __init__(self, state: DistillState, context: DistillContext) -> None:
        self.state = state
        self.context = context
        self.sample = read_sample(state)
        self.snapshot = read_set(state)
        self.found: list[Evidence] = []
        """What all tests said, those that did not pass among them: their number counts."""
        self.comparison = Comparison(context, context.memory.presentation(self.snapshot).placement)

    @staticmethod
    def refused(edit: Edit, problem: str) -> Finding:
        """Return the finding for an edit that is not worth a test."""
        return Finding((edit,), problem)

    async def test(
        self, edits: Sequence[Edit], *, level: float = 1.0, is_ours: bool = False
    ) -> Finding:
        """Return what the student's answers say about these edits, all of them in place, at so much of the level.

        ``is_ours``: we, not the critic, made the sample their example.
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
        evidence = tuple(
            self._evidence(edit, test, verified=verified, shared=len(edits) > 1) for edit in edits
        )
        self.found += evidence
        problem = await self._harm(judges.guards) if verified else _did_not_help(pairs)
        return Finding(tuple(edits), problem, evidence)

    def can_prove(self, edit: Edit) -> bool:
        """Tell whether it can be shown of a merge or removal that it loses nothing: each lesson has a sample at hand.

        Where merges keep their parents' words, that is one that does.
        """
        if not isinstance(edit, Merge | Remove):
            return False
        if self.context.profile.merges == "verbatim" and not keeps_what_is_known(
            edit, self.snapshot
        ):
            return False
        lessons, instead = changed(edit, self.snapshot), self._stand_ins(edit)
        return all(at_hand(e, self.context.samples) or instead.get(e.id) for e in lessons)

    async def prove(self, joins: Sequence[Edit], *, beside: Sequence[Edit]) -> list[Finding]:
        """Return whether merges and removals lose nothing, with these other edits in place."""
        findings, tested = list[Finding](), list[Edit]()
        for edit in joins:
            judges = await self._may_be_tested([edit])
            if isinstance(judges, Finding):
                findings.append(judges)
            elif harm := await self._harm(judges.guards):
                findings.append(Finding((edit,), harm))
            else:
                tested.append(edit)
        instead = {id: samples for edit in tested for id, samples in self._stand_ins(edit).items()}
        found = await Proof(self.snapshot, self.context, self.comparison, beside, instead).of(
            tested
        )
        for edit, joined in zip(tested, found, strict=True):
            problem = (
                "it was refused before"
                if joined is None
                else ""
                if joined["kept"]
                else joined["reason"]
            )
            findings.append(Finding((edit,), problem))
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

    def _stand_ins(self, edit: Edit) -> dict[str, list[Sample]]:
        """Return by lesson which samples of this pass it is about, for a merge of it.

        A removal needs those that the lesson came from: that it is of no use here says nothing of
        its use there. And a sample with an answer of its own is no judge of what was written with a
        view to it.
        """
        if not isinstance(edit, Merge):
            return {}
        sample, reference = self.sample, self.state["reference"]
        there = [peer for peer, _ in peers(self.state) if peer.reference and peer.id != sample.id]
        if has_open_answer(reference, known_labels(self.state)):
            there = [peer for peer in there if plain(peer.reference or "") != plain(reference)]
        else:
            there = [sample.model_copy(update={"reference": reference}), *there]
        texts, common = [one.text for one in there], frozenset(self.state.get("common", ()))
        return {
            e.id: [
                one for one, is_meant in zip(there, fits(e, texts, common), strict=True) if is_meant
            ]
            for e in changed(edit, self.snapshot)
        }

    async def _on_its_own_sample(self, edits: Sequence[Edit], judges: Judges) -> Finding:
        """Ask only that the edit helps where it came from: nothing else can tell, and the gate will have to."""
        test = PairedTest(self.context.profile.verification)
        pairs = await self.comparison.test(test, judges.own)
        nothing = PairedTest(test.rule)
        evidence = tuple(
            self._evidence(edit, nothing, verified=False, shared=False) for edit in edits
        )
        self.found += evidence
        if test.verdict == "helps":
            return Finding(tuple(edits), await self._harm(judges.guards), evidence)
        before, after = means(pairs)
        problem = f"with it the student still scored {after:.2f} on this very task (without it: {before:.2f})"
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

    def _evidence(self, edit: Edit, test: PairedTest, *, verified: bool, shared: bool) -> Evidence:
        """Return what a test says of an edit, under the words that its lesson will have in the set.

        What several edits showed together is not the wealth of each one.
        """
        after = changed_set([edit], self.snapshot, max_text=self.context.settings.max_text)
        new = [e for e in after if e not in self.snapshot.experiences]
        said = (
            render_line(new[0].text, new[0].when, new[0].example, new[0].task)
            if new
            else describe(edit)
        )
        wealth = 1.0 if shared else test.wealth
        pairs = len(test.differences)
        return {
            "lesson": said,
            "wealth": wealth,
            "mean": test.mean,
            "pairs": pairs,
            "verified": verified,
        }


_TELLS_THE_ANSWER = (
    "it tells the answer of this very task ({answer}), which no other task has. "
    "Say how such an answer is found"
)


def _says_nothing_of(edits: Sequence[Edit], test: PairedTest, pairs: Sequence[Pair]) -> bool:
    """Tell whether the answers of other samples say nothing of these edits: all were right on both sides anyway.

    Nor do they, unless they got worse, where an edit is shown everywhere for want of a condition
    that can be found: it may be about other tasks than these.
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
