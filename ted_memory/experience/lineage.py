"""Where a lesson comes from, through rewrites and merges, and how what came from one source is taken out again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ted_memory.experience.capacity import growth
from ted_memory.experience.identity import is_same_lesson
from ted_memory.models import (
    Add,
    Edit,
    Experience,
    LogEntry,
    LoggedChange,
    Merge,
    Remove,
    Restore,
    Rewrite,
    State,
)

BLANK = "purged"
"""What stands for the source in what a purge has blanked."""

_SAYS_NOTHING: Mapping[str, Any] = {
    "text": "",
    "when": "",
    "example": "",
    "task": "",
    "index_terms": "",
}
_TRUST: Sequence[State] = ("retired", "proposed", "trial", "active")


def is_blank(experience: Experience) -> bool:
    """Tell whether a purge has emptied this experience in the log."""
    return not experience.text


def blank(experience: Experience, forbidden: Collection[str]) -> Experience:
    """Return an experience as the log keeps it when one of its sources was purged: its place, and nothing it said.

    No run either: elsewhere, in a trace, its id leads to whoever is to be forgotten.
    """
    sources = tuple(
        BLANK if one in forbidden or one.startswith("run:") else one for one in experience.sources
    )
    return experience.model_copy(update={**_SAYS_NOTHING, "metadata": {}, "sources": sources})


def blank_edit(edit: Edit) -> Edit:
    """Return an edit without what it said."""
    if isinstance(edit, Add | Rewrite | Merge):
        had = type(edit).model_fields
        nothing = {**_SAYS_NOTHING, "sources": (), "metadata": {}}
        return edit.model_copy(
            update={name: value for name, value in nothing.items() if name in had}
        )
    if isinstance(edit, Restore):
        nothing = {**_SAYS_NOTHING, "metadata": {}, "sources": ()}
        return Restore(experience=edit.experience.model_copy(update=nothing))
    return edit


def blanked(entry: LogEntry, forbidden: Collection[str]) -> LogEntry:
    """Return an entry of the log without what came from these sources; the entry itself when nothing did."""

    def tidy(change: LoggedChange) -> LoggedChange:
        if not any(comes_from(forbidden, e) for e in (*change.before, *change.after)):
            return change
        before, after = (
            tuple(blank(e, forbidden) if comes_from(forbidden, e) else e for e in experiences)
            for experiences in (change.before, change.after)
        )
        return LoggedChange(edit=blank_edit(change.edit), before=before, after=after)

    changes = tuple(tidy(change) for change in entry.changes)
    if changes == entry.changes:
        return entry
    author = BLANK if f"author:{entry.author}" in forbidden else entry.author
    return entry.model_copy(update={"changes": changes, "why": "", "author": author})


def comes_from(forbidden: Collection[str], experience: Experience) -> bool:
    """Tell whether an experience carries one of these sources."""
    return any(source in forbidden for source in experience.sources)


def undone(now: Iterable[Experience], newer: Iterable[LogEntry]) -> tuple[Experience, ...]:
    """Return the experiences as they were before these entries of the log, which come newest first."""
    experiences = {e.id: e for e in now}
    for change in (change for entry in newer for change in reversed(entry.changes)):
        for after in change.after:
            experiences.pop(after.id, None)
        experiences.update({before.id: before for before in change.before})
    return tuple(experiences.values())


def without_blanks(experiences: Sequence[Experience], log: Sequence[LogEntry]) -> list[Experience]:
    """Return an older version of a set as it may come back: what was purged since is left out, its clean forms not.

    ``log`` is newest first and begins with that version.
    """
    kept = {e.id: e for e in experiences if not is_blank(e)}
    for e in experiences:
        if is_blank(e):
            for clean in clean_ancestors(e, log, is_blank)[0]:
                kept.setdefault(clean.id, clean)
    return list(kept.values())


def purging(
    now: Sequence[Experience], log: Sequence[LogEntry], forbidden: Collection[str]
) -> tuple[list[Edit], list[str]]:
    """Return the edits that take out what came from these sources and bring back what it was made from.

    Args:
        now: the set.
        log: newest first, from the version of the set.
        forbidden: as in `Experience.sources`.

    Returns:
        Removals before restorations; and the ids of those whose origins the history no longer
        holds.
    """
    gone = [e for e in now if comes_from(forbidden, e)]
    staying = {e.id for e in now} - {e.id for e in gone}
    back, unknown = dict[str, Experience](), list[str]()
    for e in gone:
        found, complete = clean_ancestors(
            e, log, lambda one: comes_from(forbidden, one) or is_blank(one)
        )
        if not complete:
            unknown.append(e.id)
        for clean in found:
            back.setdefault(clean.id, clean)
    removals: list[Edit] = [Remove(id=e.id) for e in gone if e.id not in back]
    before = {e.id: e for e in now}
    coming = sorted(
        (e for e in back.values() if e.id not in staying), key=lambda e: growth(before.get(e.id), e)
    )
    return removals + [Restore(experience=e) for e in coming], unknown


def clean_ancestors(
    experience: Experience, log: Sequence[LogEntry], tainted: Callable[[Experience], bool]
) -> tuple[list[Experience], bool]:
    """Return the latest forms, free of taint, from which a tainted experience descends.

    Args:
        experience: the tainted one.
        log: newest first, from the version in which the experience stands.
        tainted: tells what may not come back.

    Returns:
        The forms, and whether all of its origins were found: a history that was trimmed may not
            reach back to them.
    """
    for i, entry in enumerate(log):
        for change in entry.changes:
            made = next(
                (e for e in change.after if (e.id, e.rev) == (experience.id, experience.rev)), None
            )
            if made is None:
                continue
            if isinstance(change.edit, Restore) and not change.before:
                return _before_it_left(experience, log[i + 1 :], tainted)
            found, complete = list[Experience](), True
            for parent in change.before:
                if tainted(parent):
                    more, whole = clean_ancestors(parent, log[i + 1 :], tainted)
                    found, complete = found + more, complete and whole
                else:
                    found.append(parent)
            return [_no_more_trusted(parent, experience) for parent in found], complete
    return [], False


def _before_it_left(
    experience: Experience, log: Sequence[LogEntry], tainted: Callable[[Experience], bool]
) -> tuple[list[Experience], bool]:
    """Go on where a restored experience had stood before it was taken out."""
    for i, entry in enumerate(log):
        for change in entry.changes:
            earlier = next((e for e in change.before if is_same_lesson(e, experience)), None)
            if earlier is not None:
                return (
                    ([earlier], True)
                    if not tainted(earlier)
                    else clean_ancestors(earlier, log[i + 1 :], tainted)
                )
    return [], not experience.parents


def _no_more_trusted(parent: Experience, child: Experience) -> Experience:
    """Return the parent in no better state than its child had reached: a demotion is not undone by the way."""
    state = min(parent.state, child.state, key=_TRUST.index)
    return parent.model_copy(update={"state": state})
