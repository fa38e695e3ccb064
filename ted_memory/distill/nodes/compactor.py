"""The compactor: makes the set smaller and better, and holds the caps whatever the model says."""

import secrets
from collections.abc import Collection, Sequence

from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.context import DistillContext
from ted_memory.distill.merging import joinable, keeps_what_is_known, replay, touched_by
from ted_memory.distill.nodes.critic import experiences_text, under_marks, words_of_users
from ted_memory.distill.proposals import Compaction, check_edits, to_edits
from ted_memory.distill.state import DistillState, Joined, Json, dump_edits, dump_spend, read_edits
from ted_memory.errors import BudgetExceeded
from ted_memory.experience.edits import preview
from ted_memory.experience.lift import keepers_first
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.llm.calls import CALL_TIMEOUT, is_final, one_line
from ted_memory.llm.fences import fenced
from ted_memory.llm.spend import Spend
from ted_memory.models import Edit, ExperienceSet, Merge, Remove
from ted_memory.settings import Settings

LEASE, LEASE_SECONDS = "compact", CALL_TIMEOUT  # it ends by itself should its holder die
REMOVABLE = 0.25  # share of the set that one compaction may remove or merge away on a model's word
# share of a cap that is left filled when room must be made, so that not every commit presses on it
ROOM = 0.9


async def compact(state: DistillState, *, context: DistillContext) -> Json:
    """Propose edits that make the set smaller; then make room for what waits, model or no model.

    While another process asks its model, this one asks none: a lease saves the money of proposals
    that would conflict.
    """
    snapshot, holder = await context.memory.load(), state.get("run") or secrets.token_hex(8)
    waiting = read_edits(state["pending"])
    edits, note, spend, joined = list[Edit](), "", Json(), list[Joined]()
    if await context.memory.repository.hold(LEASE, holder, LEASE_SECONDS):
        try:
            edits, note, spend, joined = await _proposed(
                snapshot, state.get("labels", {}), touched_by(waiting), context
            )
        except Exception:
            await context.memory.repository.hold(
                LEASE, holder, 0
            )  # what follows does not know the holder
            raise
    edits += make_room(edits, waiting, snapshot, context.settings)
    return {
        "accepted": dump_edits([*edits, *waiting]),
        "pending": [],
        "compacting": True,
        "holder": holder,
        "joined": joined,
        "spend": spend,
        **({"note": note} if note else {}),
    }


async def compact_failed(
    state: DistillState, error: NodeError, *, context: DistillContext
) -> Command[str]:
    """Hold the caps without the model."""
    # to make room costs nothing
    if is_final(error.error) and not isinstance(error.error, BudgetExceeded):
        raise error.error
    snapshot, waiting = await context.memory.load(), read_edits(state["pending"])
    edits = make_room([], waiting, snapshot, context.settings)
    note = f"the compactor failed: {one_line(error.error)}"
    update = {
        "accepted": dump_edits([*edits, *waiting]),
        "pending": [],
        "compacting": True,
        "note": note,
    }
    return Command(update=update, goto="commit")


async def release_lease(state: DistillState, *, context: DistillContext) -> None:
    """Let others compact: this compaction is committed."""
    if state.get("holder"):
        await context.memory.repository.hold(LEASE, state["holder"], 0)


async def _proposed(
    snapshot: ExperienceSet,
    labels: Collection[str],
    taken: Collection[str],
    context: DistillContext,
) -> tuple[list[Edit], str, Json, list[Joined]]:
    """Return what makes the set smaller and was proved to lose nothing: joins by rule, then the model's edits.

    None of them touches a lesson that is ``taken``, by an edit that waits.
    """
    if len(snapshot.active) < 2:
        return [], "", {}, []
    joins = [
        edit
        for edit in joinable(snapshot, labels, max_text=context.settings.max_text)
        if touched_by([edit]).isdisjoint(taken)
    ]
    asked, note, spend = await _asked(snapshot, context)
    asked = [edit for edit in asked if touched_by([edit]).isdisjoint(taken)]
    if not context.samples:  # nothing to prove them on: only what keeps the words of the old ones
        return (
            [edit for edit in asked if keeps_what_is_known(edit, snapshot)],
            note,
            dump_spend(spend),
            [],
        )
    held = await replay([*joins, *asked], snapshot, context)
    return [*held.edits], note, dump_spend(spend + held.spend), [*held.told]


async def _asked(snapshot: ExperienceSet, context: DistillContext) -> tuple[list[Edit], str, Spend]:
    """Return the model's edits, within what one compaction may take away."""
    # solved tasks are cases: there is nothing to put together
    lessons = [e for e in snapshot.active if not e.task]
    if len(lessons) < 2:
        return [], "", Spend()
    ids = [e.id for e in lessons]
    budget = f"{snapshot.caps.max_experiences} lessons, {snapshot.caps.token_budget} tokens"
    theirs = words_of_users(lessons)
    about_marks, marked = fenced(theirs) if theirs else ("", {})
    known = experiences_text(lessons, snapshot.usage, marked)
    messages = context.profile.prompts["compactor"].messages(experiences=known, budget=budget)
    messages = under_marks(messages, about_marks, lessons=True)

    def check(answer: Compaction) -> None:
        check_edits(answer.edits, ids, may_add=False)

    result = await context.critic.ask(messages, Compaction, check)
    if result.value is None:
        return [], f"no usable compaction: {result.problem}", result.spend
    edits = to_edits(
        result.value.edits, lessons, state="active", sources=(), additions_only=result.repaired
    )
    words_kept = context.profile.merges == "verbatim"
    return trusted(edits, snapshot, words_kept=words_kept), "", result.spend


def trusted(edits: Sequence[Edit], snapshot: ExperienceSet, *, words_kept: bool) -> list[Edit]:
    """Return the edits that stay within what one compaction may take away.

    ``words_kept``: a merge must keep its parents' own words, and join only what belongs together.
    """
    lessons = [e for e in snapshot.active if not e.task]
    allowed, kept, touched = int(len(lessons) * REMOVABLE), list[Edit](), set[str]()
    for edit in edits:
        ids = touched_by([edit])
        loss = len(ids) - 1 if isinstance(edit, Merge) else int(isinstance(edit, Remove))
        if (
            loss > allowed
            or ids & touched
            or (words_kept and not keeps_what_is_known(edit, snapshot))
        ):
            continue
        allowed -= loss
        touched |= ids
        kept.append(edit)
    return kept


def make_room(
    edits: Sequence[Edit], waiting: Sequence[Edit], snapshot: ExperienceSet, settings: Settings
) -> list[Edit]:
    """Return removals until what waits fits, by default lowest utility first; none when it fits already."""
    after = [
        e
        for e in preview([*edits, *waiting], snapshot, max_text=settings.max_text)
        if e.state == "active"
    ]
    most, tokens = snapshot.caps.max_experiences, snapshot.caps.token_budget - FRAME_TOKENS
    if len(after) <= most and sum(e.tokens for e in after) <= tokens:
        return []
    # a lesson whose better text waits is not the one to go
    touched = touched_by([*edits, *waiting])
    ranked = keepers_first(snapshot.active, snapshot.usage, settings.compaction)
    expendable = [e for e in ranked if e.id not in touched]
    removals: list[Edit] = []
    count, used = len(after), sum(e.tokens for e in after)
    while expendable and (count > max(1, int(most * ROOM)) or used > tokens * ROOM):
        worst = expendable.pop()
        removals.append(Remove(id=worst.id))
        count, used = count - 1, used - worst.tokens
    return removals
