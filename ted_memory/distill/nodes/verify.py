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

The tests themselves are in `ted_memory.distill.verifier`; here stands what is tested, and when.
"""

from collections.abc import Sequence

from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.failures import ends_the_run, set_aside
from ted_memory.distill.placing import place
from ted_memory.distill.scoring import gather_all
from ted_memory.distill.solved_tasks import conditions_of, solved_task
from ted_memory.distill.state import (
    DistillState,
    Json,
    dump_edits,
    dump_spend,
    holds_words_of_users,
    read_edits,
)
from ted_memory.distill.verifier import Finding, Verifier, edits_of
from ted_memory.distill.wording import describe
from ted_memory.experience.assignment import principals
from ted_memory.llm.fences import fence
from ted_memory.models import Add, Edit, Experience, Sample, SetState

MOST_ALIKE = 3  # lessons that wait, of which one may do the work of a new one
# of the rule's level, for what is tried where the critic's lessons did not help by themselves
SECOND_CHANCE = 0.25


async def verify(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Test each proposed edit by itself, then those that failed together.

    The critic is told about what failed. What could not be verified is not kept.
    """
    try:
        return await _verify(state, runtime.context)
    except Exception as error:
        if ends_the_run(error):
            raise
        failed = set_aside(error, "the proposed edits could not be verified")
        return failed | {"accepted": []}


async def _verify(state: DistillState, context: DistillContext) -> Json:
    verifier = Verifier(state, await context.recalled_set(state), context)
    findings, repeated = await _without_what_was_said(await _found(state, verifier), verifier)
    if context.keep_evidence is not None:
        await context.keep_evidence(f"{state.get('run', '')}:{state['round']}", verifier.found)
    failed = [finding for finding in findings if not finding.passed]
    *earlier, last = state["feedback"]
    update: Json = {
        "accepted": dump_edits(edits_of(finding for finding in findings if finding.passed)),
        "refused": [
            {"edit": describe(edit), "reason": finding.problem}
            for finding in failed
            for edit in finding.edits
        ],
        "feedback": [*earlier, {**last, "told": _what_failed(failed, verifier)}],
        "spend": dump_spend(verifier.comparison.spend),
    }
    if repeated:
        update["note"] = repeated
    return update


def _what_failed(failed: Sequence[Finding], verifier: Verifier) -> str:
    """Return what the critic is told of the edits that failed, "" where none did.

    That says what the student answered, and which other lessons it was shown: words of users, who
    may want to write more than that, stand between marks.
    """
    others_wrote = any(principals(e) for e in verifier.snapshot)
    outcome = fence if others_wrote or holds_words_of_users(verifier.state) else str
    prompt = verifier.context.profile.prompts["revision"]
    return "\n\n".join(
        prompt.fill({"lesson": _described(finding), "outcome": outcome(finding.problem)})
        for finding in failed
    )


def _described(finding: Finding) -> str:
    return " and ".join(describe(edit) for edit in finding.edits)


async def _found(state: DistillState, verifier: Verifier) -> list[Finding]:
    """Return what the tests say of the proposed edits."""
    findings, ready = await _placed(state, verifier)
    joins = [edit for edit in ready if verifier.can_prove(edit)]
    others = [edit for edit in ready if edit not in joins]
    findings += await gather_all(*(verifier.test([edit]) for edit in others))
    findings = await _together_too(findings, verifier)
    passed = edits_of(finding for finding in findings if finding.passed)
    findings += await verifier.prove(joins, beside=passed)
    # what users wrote is no example for everybody
    if verifier.context.examples == "own" and not holds_words_of_users(state):
        return await _with_its_sample_shown(findings, verifier)
    return findings


async def _placed(state: DistillState, verifier: Verifier) -> tuple[list[Finding], list[Edit]]:
    """Return what speaks against edits before any test, and the edits that may be tested."""
    refused, ready = list[Finding](), list[Edit]()
    for proposed in read_edits(state["proposal"]):
        edit, problem = await place(proposed, verifier.snapshot, state, verifier.context)
        if problem:
            refused.append(Finding((edit,), problem))
        else:
            ready.append(edit)
    return refused, ready


async def _together_too(findings: list[Finding], verifier: Verifier) -> list[Finding]:
    """Test edits that failed singly as one.

    Some help only together, as where every part must be right to score.
    """
    failed = [f for f in findings if not f.passed and _not_verified(f)]
    if len(failed) < 2:
        return findings
    joint = await verifier.test(edits_of(failed), level=SECOND_CHANCE)
    if not joint.passed:
        return findings
    return [*(finding for finding in findings if finding not in failed), joint]


def _not_verified(finding: Finding) -> bool:
    """Tell whether an edit was tested and not shown to help; what did harm has helped, too."""
    return any(not evidence["verified"] for evidence in finding.evidence)


# --- the sample itself as an example: some students follow no rule


async def _with_its_sample_shown(findings: list[Finding], verifier: Verifier) -> list[Finding]:
    """Test the sample as an earlier turn, or else as the example of lessons that did not help."""
    if solved := await _as_an_earlier_turn(findings, verifier):
        return [*findings, solved]
    return [await _with_an_example(finding, verifier) for finding in findings]


async def _as_an_earlier_turn(findings: list[Finding], verifier: Verifier) -> Finding | None:
    """Test the sample itself as an earlier turn, where none of its lessons helped.

    Once in a pass: to test it again until luck lets it through would be no test.
    """
    if verifier.state["round"] > 1 or any(finding.helped for finding in findings):
        return None
    for lesson in _solved_tasks(findings, verifier):
        shown = await verifier.test([lesson], level=SECOND_CHANCE, is_ours=True)
        if shown.evidence:  # else its condition leads nobody to it
            return shown if shown.passed else None
    return None


def _solved_tasks(findings: Sequence[Finding], verifier: Verifier) -> list[Add]:
    """Return the sample with its answer as a lesson, once for each condition that may lead to it.

    These are words of its own, and the critic's conditions.
    """
    sample, state, context = verifier.sample, verifier.state, verifier.context
    tested = edits_of(finding for finding in findings if finding.evidence)
    conditions = conditions_of(
        sample,
        state["reference"],
        [edit.when for edit in tested if isinstance(edit, Add)],
        common=state["common"],
        kindred=state["kindred"],
        language=context.settings.language,
    )
    lessons = list[Add]()
    for when in conditions:
        sources = state["sources"]
        lesson = solved_task(sample, state["reference"], when, context, sources)
        if lesson is not None:
            lessons.append(lesson)
    return lessons


async def _with_an_example(finding: Finding, verifier: Verifier) -> Finding:
    """Test a lesson that did not help once more, with its own sample as an example.

    Not one that is shown with every task: small students copy what such an example says of its own
    task alone.
    """
    edit = finding.edits[0]
    if finding.helped or not finding.evidence or len(finding.edits) > 1:
        return finding
    if not isinstance(edit, Add) or edit.example or edit.everywhere or not edit.when:
        return finding
    example = _own_example(verifier.sample, verifier.state["reference"])
    if len(example) > verifier.context.settings.max_text:
        return finding
    with_it = edit.model_copy(update={"example": example})
    shown = await verifier.test([with_it], level=SECOND_CHANCE, is_ours=True)
    return shown if shown.passed else finding


def _own_example(sample: Sample, reference: str) -> str:
    """Write a sample as the example of a lesson that came from it."""
    return f"{sample.text.strip()} => {reference.strip()}"


# --- in traffic: what waits for evidence already


async def _without_what_was_said(
    findings: list[Finding], verifier: Verifier
) -> tuple[list[Finding], str]:
    """Leave out lessons from traffic that one which waits for evidence says in other words.

    That it says the same is verified: of those that wait, one of the three most like the new lesson
    must help where the new one came from. The episode is then evidence on it like any other. The
    second value is a note on what was left out, "" for nothing.
    """
    waiting = _waiting(verifier)
    if not waiting:
        return findings, ""
    left, said = list[Finding](), list[str]()
    for finding in findings:
        new = _new_lesson(finding)
        known = await _that_says_the_same(new, waiting, verifier) if new else ""
        if new and known:
            said.append(f"{known} says the same as {describe(new)!r}, and waits for evidence")
        else:
            left.append(finding)
    return left, "; ".join(said)


def _waiting(verifier: Verifier) -> list[Experience]:
    """Return the lessons that wait for evidence; none where lessons need no evidence."""
    if not verifier.context.evidence:
        return []
    undecided = (*verifier.snapshot.trial, *verifier.snapshot.proposed)
    return [e for e in undecided if not (e.trial and e.trial.ended)]


def _new_lesson(finding: Finding) -> Add | None:
    """Return the one lesson that a finding lets in, None where it lets in none or several edits."""
    [edit, *more] = finding.edits
    return edit if finding.passed and not more and isinstance(edit, Add) else None


async def _that_says_the_same(
    lesson: Add, waiting: Sequence[Experience], verifier: Verifier
) -> str:
    """Return the id of a lesson that waits and does the work of a new one; "" where none does.

    One that is not shown where the new one came from is not asked for. Those after the first have
    to show more: to test one after the other until luck lets one through would be no test.
    """
    ranking = await verifier.context.memory.rank(waiting, f"{lesson.when} {lesson.text}")
    for rank, known in enumerate(ranking.best(waiting, MOST_ALIKE)):
        level = SECOND_CHANCE if rank else 1.0
        active = SetState(id=known.id, state="active")
        if (await verifier.test([active], level=level)).passed:
            return known.id
    return ""
