"""The nodes that write: commit and credit; in a learner's graph settle in place of both."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.compactor import make_room, release_lease
from ted_memory.distill.state import (
    DistillState,
    Json,
    dump_edits,
    holds_words_of_users,
    read_edits,
    read_graded,
)
from ted_memory.distill.wording import describe
from ted_memory.episodes import Archived
from ted_memory.experience.edits import tidy_when
from ted_memory.experience.lift import add_citations, group_usage
from ted_memory.experience.rendering import tidy_text, tidy_turn
from ted_memory.llm.spend import Spend
from ted_memory.models import Add, Commit, Edit, ExperienceSet, Rejected, Remove, Usage
from ted_memory.protocols import Settle

PRESSED = "cap"
LOST = "lost"
PASSING = {"conflict", "aborted"}  # reasons that may be gone when the edit is worked out again
SETTLE_TRIES = 4  # of an episode's edits; the last one leaves out what still conflicts
_LAST_TRY = SETTLE_TRIES - 1


async def commit(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Write the accepted edits as one version. What a cap refuses waits for the compactor, once."""
    context, compacting = runtime.context, state["compacting"]
    accepted = read_edits(state["accepted"])
    edits = _news(accepted, await context.memory.load()) if accepted else []
    update = await _written(edits, state, context) if edits else _set_aside(state)
    if compacting:
        await release_lease(state, context)
    return {"accepted": [], **update}


async def _written(edits: Sequence[Edit], state: DistillState, context: DistillContext) -> Json:
    compacting = state["compacting"]
    done = await context.memory.commit(
        edits,
        author=context.author,
        why="compaction" if compacting else _why(edits, state),
        token=_token(state, "compact" if compacting else "commit"),
        # edits of an older version conflict one by one
        base=None if compacting else await context.recalled_set(state),
    )
    pressed = _pressed_by_a_cap(done, state, context)
    refused = [r for r in done.rejected if r.edit not in pressed]
    update: Json = {
        "pending": dump_edits(pressed),
        "commits": [_summary(done)],
        "refused": [{"edit": r.edit.op, "reason": r.reason} for r in refused],
    }
    if done.applied or pressed:
        update["status"] = "learned"
    return update


def _pressed_by_a_cap(done: Commit, state: DistillState, context: DistillContext) -> list[Edit]:
    """Return the edits that a cap refused and for which a compactor may make room."""
    if state["compacting"] or context.settings.compaction == "none":
        return []
    return [r.edit for r in done.rejected if r.reason == PRESSED]


def _why(edits: Sequence[Edit], state: DistillState) -> str:
    """Return the critic's reason for a version.

    There is none where it may quote somebody of whom the version itself would not tell.
    """
    removes = any(isinstance(edit, Remove) for edit in edits)
    if not edits or (removes and holds_words_of_users(state)):
        return ""
    return state["reason"]


async def credit(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Count what this group of attempts says about the experiences it saw."""
    token = _token(state, "credit") or secrets.token_hex(16)
    await runtime.context.memory.credit(_usage(state), token=token)
    return {}


def _usage(state: DistillState) -> dict[str, Usage]:
    """Return what this pass says of experiences: its attempts, and what the critic cites."""
    usage = group_usage(read_graded(state))
    return add_citations(usage, state["helped"], state["hurt"])


async def settle(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Write all that came of an episode and take it out of the queue, in one step.

    After a crash nothing is done twice: lessons, what the attempts say of others, and the episode's
    end stand together. One of which nothing is known stays in the queue (status `LOST`).
    """
    context, proposed = runtime.context, read_edits(state["accepted"])
    update = _outcome(state)
    if state["lost"] and update["status"] == "set_aside":
        return {**update, "status": LOST}
    refused: list[Json] = []
    for tried in range(SETTLE_TRIES):
        base = await context.memory.load()
        edits = _brought_up_to_date(proposed, base, context)
        if refused and not edits:
            update |= {"status": "set_aside", "note": _as_note(refused[-1])}
        done = await _settled(tried, edits, base, state, context, outcome=update["status"])
        for_good = _rejected_for_good(done, tried)
        refused += [{"edit": describe(r.edit), "reason": r.reason} for r in for_good]
        if not done.rejected:
            break
        proposed = _without(proposed, for_good)
    return {"accepted": [], "commits": [_summary(done)], "refused": refused, **update}


def _outcome(state: DistillState) -> Json:
    """Return the status that a pass comes to without being refused anything more, with a note."""
    if state["accepted"]:
        return {"status": "learned"}
    return {"status": state["status"], **_set_aside(state)}


def _without(edits: Sequence[Edit], rejected: Sequence[Rejected]) -> list[Edit]:
    gone = [r.edit for r in rejected]
    return [edit for edit in edits if edit not in gone]


def _rejected_for_good(done: Commit, tried: int) -> Sequence[Rejected]:
    """Return what need not be tried again; at the last try that is all."""
    if tried == _LAST_TRY:
        return done.rejected
    return [r for r in done.rejected if r.reason not in PASSING]


async def _settled(
    tried: int,
    edits: Sequence[Edit],
    base: ExperienceSet,
    state: DistillState,
    context: DistillContext,
    *,
    outcome: str,
) -> Commit:
    """Try to end an episode with these edits.

    All of them or none, but at the last try: else it would be settled without what only conflicts.
    """
    claim, settings = state["settle"], context.settings
    spent = Spend.model_validate(state["spend"])
    return await context.memory.commit(
        edits,
        author=context.author,
        why=_why(edits, state),
        token=_token(state, f"settle:{claim['fence']}:{tried}"),
        base=base,
        usage=_usage(state),
        atomic=tried < _LAST_TRY,
        settle=Settle(
            seq=claim["seq"],
            fence=claim["fence"],
            outcome=outcome,
            counters=counters(spent, outcome),
            archive=_archived(state, context),
            max_archived=settings.max_archived,
            max_archive_bytes=settings.max_archive_bytes,
        ),
    )


def _archived(state: DistillState, context: DistillContext) -> Archived | None:
    """Return what is kept of the episode for replays: what has something to be measured against."""
    if not state["settle"].get("archive"):
        return None
    archived = Archived.model_validate(state["settle"]["archive"])
    sample = archived.sample
    if not sample.reference and context.judged and state["reference"]:
        sample = sample.model_copy(update={"reference": state["reference"]})
    return archived.model_copy(update={"sample": sample}) if sample.reference else None


def _brought_up_to_date(
    proposed: Sequence[Edit], now: ExperienceSet, context: DistillContext
) -> list[Edit]:
    """Leave out what others have added meanwhile, and make room for the rest where it is active."""
    edits = _news(proposed, now)
    if context.new_state == "active":
        return [*make_room([], edits, now, context.settings), *edits]
    return edits


def counters(spent: Spend, outcome: str) -> dict[str, int]:
    """Count one episode for its day: its outcome, its hour, and what it has cost."""
    counted = {outcome: 1, f"hour:{datetime.now(UTC):%H}": 1}
    for role, spend in (("student", spent.student), ("teacher", spent.teacher)):
        counted[f"{role}_calls"] = spend.calls
        counted[f"{role}_tokens_in"] = spend.tokens_in
        counted[f"{role}_tokens_out"] = spend.tokens_out
    return counted


def compaction_due(state: DistillState, context: DistillContext) -> bool:
    """Tell whether this pass must compact.

    It must where a cap presses, or where its commit made one of every n-th versions. Versions have
    no gaps, so exactly one of all concurrent passes meets each multiple.
    """
    if context.settings.compaction == "none":
        return False
    if state["pending"]:
        return True
    return any(
        c["applied"] and c["version"] % context.settings.compact_every == 0
        for c in state["commits"]
    )


def _news(edits: Sequence[Edit], now: ExperienceSet) -> list[Edit]:
    """Leave out additions that another pass has made meanwhile, word for word."""
    known = {(e.when, e.text, e.task) for e in now}
    return [edit for edit in edits if not (isinstance(edit, Add) and _said(edit) in known)]


def _said(edit: Add) -> tuple[str, str, str]:
    """Return condition, text and task: an addition with those of a lesson says nothing new."""
    return tidy_when(edit.when), tidy_text(edit.text), tidy_turn(edit.task)


def _set_aside(state: DistillState) -> Json:
    """Say why nothing was kept: what was proposed did not pass its verification."""
    refused = state["refused"]
    if state["compacting"] or not refused:
        return {}
    return {"status": "set_aside", "note": _as_note(refused[-1])}


def _as_note(refused: Json) -> str:
    return f"{refused['edit']!r}: {refused['reason']}"


def _token(state: DistillState, step: str) -> str | None:
    """Return the token that makes a step of this pass happen once.

    None for a pass without a name, whose steps cannot be told from those of another one.
    """
    return f"{state['run']}:{step}" if state["run"] else None


def _summary(commit: Commit) -> Json:
    return {"version": commit.version, "applied": len(commit.applied), "repeated": commit.repeated}
