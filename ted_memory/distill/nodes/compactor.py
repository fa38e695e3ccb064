"""The compactor: makes the set smaller and better, and holds the caps whatever the model says."""

import secrets
from collections.abc import Collection, Sequence

from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.merging import joinable, keeps_what_is_known, replay, touched_by
from ted_memory.distill.nodes.critic import experiences_text, under_marks, words_of_users
from ted_memory.distill.nodes.failures import ends_the_run
from ted_memory.distill.proposals import Compaction, check_edits, to_edits
from ted_memory.distill.state import DistillState, Joined, Json, dump_edits, dump_spend, read_edits
from ted_memory.errors import BudgetExceeded
from ted_memory.experience.edits import preview
from ted_memory.experience.lift import keepers_first
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.llm.calls import CALL_TIMEOUT, one_line
from ted_memory.llm.fences import fenced
from ted_memory.llm.spend import Spend
from ted_memory.models import Edit, ExperienceSet, Merge, Remove
from ted_memory.settings import Settings

LEASE, LEASE_SECONDS = "compact", CALL_TIMEOUT  # it ends by itself should its holder die
REMOVABLE = 0.25  # share of the set that one compaction may remove or merge away on a model's word
# share of a cap that is left filled when room must be made, so that not every commit presses on it
ROOM = 0.9


async def compact(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Propose edits that make the set smaller; then make room for what waits, model or no model.

    While another process asks its model, this one asks none: a lease saves the money of proposals
    that would conflict.
    """
    try:
        return await _compact(state, runtime.context)
    except Exception as error:
        # to make room costs nothing, so that the caps are held without the model, too
        if ends_the_run(error) and not isinstance(error, BudgetExceeded):
            raise
        return await _only_room(state, f"the compactor failed: {one_line(error)}", runtime.context)


async def _compact(state: DistillState, context: DistillContext) -> Json:
    snapshot, holder = await context.memory.load(), state["run"] or secrets.token_hex(8)
    waiting = read_edits(state["pending"])
    edits, note, spend, joined = list[Edit](), "", Json(), list[Joined]()
    if await context.memory.repository.hold(LEASE, holder, LEASE_SECONDS):
        try:
            edits, note, spend, joined = await _proposed(
                snapshot, state["labels"], touched_by(waiting), context
            )
        except Exception:
            # what follows does not know the holder
            await context.memory.repository.hold(LEASE, holder, 0)
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


async def _only_room(state: DistillState, note: str, context: DistillContext) -> Json:
    snapshot, waiting = await context.memory.load(), read_edits(state["pending"])
    edits = make_room([], waiting, snapshot, context.settings)
    return {
        "accepted": dump_edits([*edits, *waiting]),
        "pending": [],
        "compacting": True,
        "note": note,
    }


async def release_lease(state: DistillState, context: DistillContext) -> None:
    """Let others compact: this compaction is committed."""
    if state["holder"]:
        await context.memory.repository.hold(LEASE, state["holder"], 0)


async def _proposed(
    snapshot: ExperienceSet,
    labels: Collection[str],
    taken: Collection[str],
    context: DistillContext,
) -> tuple[list[Edit], str, Json, list[Joined]]:
    """Return edits that were proved to lose nothing, with a note, their cost, and all outcomes.

    These are joins by rule, then the model's edits. None of them touches a lesson that is
    ``taken``, by an edit that waits.
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
        ids, loss = touched_by([edit]), _lessons_lost(edit)
        if loss > allowed or ids & touched:
            continue
        if words_kept and not keeps_what_is_known(edit, snapshot):
            continue
        allowed -= loss
        touched |= ids
        kept.append(edit)
    return kept


def _lessons_lost(edit: Edit) -> int:
    """Return by how many lessons an edit makes the set smaller."""
    if isinstance(edit, Merge):
        return len({*edit.ids}) - 1
    return int(isinstance(edit, Remove))


def make_room(
    edits: Sequence[Edit], waiting: Sequence[Edit], snapshot: ExperienceSet, settings: Settings
) -> list[Edit]:
    """Return removals until what waits fits, by default lowest utility first.

    None when it fits already; else so many that some room is left (`ROOM`).
    """
    after = preview([*edits, *waiting], snapshot, max_text=settings.max_text)
    tokens_of = [e.tokens for e in after if e.state == "active"]
    most, most_tokens = snapshot.caps.max_experiences, snapshot.caps.token_budget - FRAME_TOKENS
    count, tokens = len(tokens_of), sum(tokens_of)
    if count <= most and tokens <= most_tokens:
        return []
    # a lesson whose better text waits is not the one to go
    touched = touched_by([*edits, *waiting])
    ranked = keepers_first(snapshot.active, snapshot.usage, settings.compaction)
    expendable = [e for e in ranked if e.id not in touched]
    removals: list[Edit] = []
    while expendable and (count > max(1, int(most * ROOM)) or tokens > most_tokens * ROOM):
        worst = expendable.pop()
        removals.append(Remove(id=worst.id))
        count, tokens = count - 1, tokens - worst.tokens
    return removals
