"""The nodes that write: commit and credit."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.compactor import make_room, release_lease
from ted_memory.distill.state import (
    DistillState,
    Json,
    dump_edits,
    holds_words_of_users,
    read_edits,
    read_graded,
    read_set,
)
from ted_memory.distill.wording import describe
from ted_memory.episodes import Archived
from ted_memory.experience.edits import tidy_when
from ted_memory.experience.lift import add_citations, group_usage
from ted_memory.experience.rendering import tidy_text, tidy_turn
from ted_memory.llm.spend import Spend
from ted_memory.models import Add, Commit, Edit, ExperienceSet, Remove
from ted_memory.protocols import Settle

PRESSED = "cap"
LOST = "lost"
PASSING = {"conflict", "aborted"}  # reasons that may be gone when the edit is worked out again
SETTLE_TRIES = 4  # of an episode's edits; the last one leaves out what still conflicts


async def commit(state: DistillState, *, context: DistillContext) -> Json:
    """Write the accepted edits as one version. What a cap refuses waits for the compactor, once."""
    edits, compacting = await _unknown(read_edits(state["accepted"]), context), state["compacting"]
    update = (
        await _commit(edits, state, context=context)
        if edits
        else {"accepted": [], **_set_aside(state)}
    )
    if compacting:
        await release_lease(state, context=context)
    return update


async def _commit(edits: Sequence[Edit], state: DistillState, *, context: DistillContext) -> Json:
    compacting = state["compacting"]
    done = await context.memory.commit(
        edits,
        author=context.author,
        why="compaction" if compacting else _why(edits, state),
        token=_token(state, "compact" if compacting else "commit"),
        # edits of an older version conflict one by one
        base=None if compacting else read_set(state),
    )
    may_compact = not compacting and context.settings.compaction != "none"
    pressed = [r.edit for r in done.rejected if may_compact and r.reason == PRESSED]
    update: Json = {
        "accepted": [],
        "pending": dump_edits(pressed),
        "commits": [_summary(done)],
        "refused": [
            {"edit": r.edit.op, "reason": r.reason} for r in done.rejected if r.edit not in pressed
        ],
    }
    if done.applied or pressed:
        update["status"] = "learned"
    return update


def _why(edits: Sequence[Edit], state: DistillState) -> str:
    """Return the critic's reason; none where it may quote somebody of whom the version itself would not tell."""
    if not edits or (
        holds_words_of_users(state) and any(isinstance(edit, Remove) for edit in edits)
    ):
        return ""
    return str(state.get("reason", ""))


async def credit(state: DistillState, *, context: DistillContext) -> Json:
    """Count what this group of attempts says about the experiences it saw."""
    usage = group_usage(read_graded(state))
    usage = add_citations(usage, state.get("helped", []), state.get("hurt", []))
    await context.memory.credit(usage, token=_token(state, "credit") or secrets.token_hex(16))
    return {}


async def settle(state: DistillState, *, context: DistillContext) -> Json:
    """Write all that came of an episode and take it out of the queue, in one step.

    After a crash nothing is done twice: lessons, what the attempts say of others, and the episode's
    end stand together.
    """
    proposed = read_edits(state["accepted"])
    told = {} if proposed else _set_aside(state)
    status = "learned" if proposed else told.get("status", state["status"])
    if state["lost"] and status == "set_aside":
        return {**told, "status": LOST}  # nothing is known of it: it stays in the queue
    usage = add_citations(
        group_usage(read_graded(state)), state.get("helped", []), state.get("hurt", [])
    )
    archive = _archived(state, context)
    claim, spent = state["settle"], Spend.model_validate(state.get("spend") or {})
    refused: list[Json] = []
    for tried in range(SETTLE_TRIES):
        base = await context.memory.load()
        edits = _brought_up_to_date(proposed, base, context)
        if refused and not edits:
            told, status = _all_refused(refused), "set_aside"
        last = tried == SETTLE_TRIES - 1
        done = await context.memory.commit(
            edits,
            author=context.author,
            why=_why(edits, state),
            token=_token(state, f"settle:{claim['fence']}:{tried}"),
            base=base,
            usage=usage,
            atomic=not last,  # else it would be settled without what only conflicts
            settle=Settle(
                seq=claim["seq"],
                fence=claim["fence"],
                outcome=status,
                counters=counters(spent, status),
                archive=archive,
                max_archived=context.settings.max_archived,
                max_archive_bytes=context.settings.max_archive_bytes,
            ),
        )
        for_good = [r for r in done.rejected if last or r.reason not in PASSING]
        refused += [{"edit": describe(r.edit), "reason": r.reason} for r in for_good]
        if last or not done.rejected:
            break
        proposed = [edit for edit in proposed if edit not in [r.edit for r in for_good]]
    return {
        "accepted": [],
        "commits": [_summary(done)],
        "refused": refused,
        **told,
        "status": status,
    }


def _archived(state: DistillState, context: DistillContext) -> Archived | None:
    """Return what is kept of the episode for replays: what has something to be measured against."""
    if not state["settle"].get("archive"):
        return None
    archived = Archived.model_validate(state["settle"]["archive"])
    sample = archived.sample
    if not sample.reference and context.judged and state.get("reference"):
        sample = sample.model_copy(update={"reference": state["reference"]})
    return archived.model_copy(update={"sample": sample}) if sample.reference else None


def _all_refused(refused: Sequence[Json]) -> Json:
    return {"note": f"{refused[-1]['edit']!r}: {refused[-1]['reason']}"}


def _brought_up_to_date(
    proposed: Sequence[Edit], now: ExperienceSet, context: DistillContext
) -> list[Edit]:
    """Return edits as they are worth something now: without what others have added meanwhile."""
    known = {(e.when, e.text, e.task) for e in now}
    edits: list[Edit] = [
        edit for edit in proposed if not isinstance(edit, Add) or _said(edit) not in known
    ]
    if context.new_state == "active":
        return [*make_room([], edits, now, context.settings), *edits]
    return edits


def counters(spent: Spend, outcome: str) -> dict[str, int]:
    """Return what an episode adds to its day's counters."""
    counted = {outcome: 1, f"hour:{datetime.now(UTC):%H}": 1}
    for role, spend in (("student", spent.student), ("teacher", spent.teacher)):
        counted |= {
            f"{role}_{name}": getattr(spend, name) for name in ("calls", "tokens_in", "tokens_out")
        }
    return counted


def compaction_due(state: DistillState, *, context: DistillContext) -> bool:
    """Tell whether this pass must compact: a cap presses, or its commit made one of every n-th versions.

    Versions have no gaps, so exactly one of all concurrent passes meets each multiple.
    """
    if context.settings.compaction == "none":
        return False
    if state["pending"]:
        return True
    return any(
        c["applied"] and c["version"] % context.settings.compact_every == 0
        for c in state.get("commits", [])
    )


async def _unknown(edits: list[Edit], context: DistillContext) -> list[Edit]:
    """Leave out additions that another pass has made meanwhile, word for word."""
    known = {(e.when, e.text, e.task) for e in await context.memory.load()} if edits else set()
    return [e for e in edits if not (isinstance(e, Add) and _said(e) in known)]


def _said(edit: Add) -> tuple[str, str, str]:
    """Return what makes an addition the same as a lesson: each solved task is one of its own."""
    return tidy_when(edit.when), tidy_text(edit.text), tidy_turn(edit.task)


def _set_aside(state: DistillState) -> Json:
    """Say why nothing was kept: what was proposed did not pass its verification."""
    refused = state.get("refused", [])
    if state["compacting"] or not refused:
        return {}
    return {"status": "set_aside", "note": f"{refused[-1]['edit']!r}: {refused[-1]['reason']}"}


def _token(state: DistillState, step: str) -> str | None:
    """Return the token that makes a step of this pass happen once; a pass without a run gets a random one."""
    return f"{state['run']}:{step}" if state.get("run") else None


def _summary(commit: Commit) -> Json:
    return {"version": commit.version, "applied": len(commit.applied), "repeated": commit.repeated}
