"""The nodes that write: commit and credit."""

import secrets
from collections.abc import Sequence

from ted_memory.distill.compactor import let_go
from ted_memory.distill.kit import Kit
from ted_memory.distill.state import DistillState, Json, dump_edits, read_edits, read_graded, read_set
from ted_memory.experience.edits import tidy_when
from ted_memory.experience.utility import add_citations, group_usage
from ted_memory.models import Add, Commit, Edit

PRESSED = "cap"


async def commit(state: DistillState, *, kit: Kit) -> Json:
    """Write the accepted edits as one version. What a cap refuses waits for the compactor, once."""
    edits, compacting = await _unknown(read_edits(state["accepted"]), kit), state["compacting"]
    update = await _commit(edits, state, kit=kit) if edits else {"accepted": [], **_set_aside(state)}
    if compacting:
        await let_go(state, kit=kit)
    return update


async def _commit(edits: Sequence[Edit], state: DistillState, *, kit: Kit) -> Json:
    compacting = state["compacting"]
    done = await kit.memory.commit(
        edits,
        author=kit.author,
        why="compaction" if compacting else state.get("reason", ""),
        token=_token(state, "compact" if compacting else "commit"),
        base=None if compacting else read_set(state),  # edits of an older version conflict one by one
    )
    may_compact = not compacting and kit.settings.compaction != "none"
    pressed = [r.edit for r in done.rejected if may_compact and r.reason == PRESSED]
    update: Json = {
        "accepted": [],
        "pending": dump_edits(pressed),
        "commits": [_summary(done)],
        "refused": [{"edit": r.edit.op, "reason": r.reason} for r in done.rejected if r.edit not in pressed],
    }
    if done.applied or pressed:
        update["status"] = "learned"
    return update


async def credit(state: DistillState, *, kit: Kit) -> Json:
    """Count what this group of attempts says about the experiences it saw."""
    usage = group_usage(read_graded(state))
    usage = add_citations(usage, state.get("helped", []), state.get("hurt", []))
    await kit.memory.credit(usage, token=_token(state, "credit") or secrets.token_hex(16))
    return {}


def compaction_due(state: DistillState, *, kit: Kit) -> bool:
    """Tell whether this pass must compact: a cap presses, or its commit made one of every n-th versions.

    Versions have no gaps, so exactly one of all concurrent passes meets each multiple.
    """
    if kit.settings.compaction == "none":
        return False
    if state["pending"]:
        return True
    return any(c["applied"] and c["version"] % kit.settings.compact_every == 0 for c in state.get("commits", []))


async def _unknown(edits: list[Edit], kit: Kit) -> list[Edit]:
    """Leave out additions that another pass has made meanwhile, word for word."""
    known = {(e.when, e.text) for e in await kit.memory.load()} if edits else set()
    return [e for e in edits if not (isinstance(e, Add) and (tidy_when(e.when), " ".join(e.text.split())) in known)]


def _set_aside(state: DistillState) -> Json:
    """Say why nothing was kept: what was proposed failed its tries."""
    refused = state.get("refused", [])
    if state["compacting"] or not refused:
        return {}
    return {"status": "set_aside", "note": f"{refused[-1]['edit']!r}: {refused[-1]['reason']}"}


def _token(state: DistillState, step: str) -> str | None:
    """Return the token that makes a step of this pass happen once; a pass without a run gets a random one."""
    return f"{state['run']}:{step}" if state.get("run") else None


def _summary(commit: Commit) -> Json:
    return {"version": commit.version, "applied": len(commit.applied), "repeated": commit.repeated}
