"""Where a lesson comes from, through rewrites and merges, and how a source is taken out again.

For `memory.purging` and for runs over a data set. The log keeps a lesson as it was before and after
each change. So what a lesson was made from can be found, and brought back without what came from a
source that is to be forgotten. A record of the log that named the source is *blanked*: it keeps its
place, and says nothing any more.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
"""What stands in place of the source in a record that a purge has blanked."""

_SAYS_NOTHING: Mapping[str, Any] = {
    "text": "",
    "when": "",
    "example": "",
    "task": "",
    "index_terms": "",
}
_TRUST: Sequence[State] = ("retired", "proposed", "trial", "active")


def is_blank(experience: Experience) -> bool:
    """Tell whether a purge has blanked this experience in the log."""
    return not experience.text


def blank(experience: Experience, forbidden: Collection[str]) -> Experience:
    """Return an experience as the log keeps it once one of its sources is forbidden: without words.

    The forbidden sources go, and all runs with them: a run's id may stand elsewhere, in a trace,
    and lead to the person who is to be forgotten.
    """

    def shown(source: str) -> str:
        return BLANK if source in forbidden or source.startswith("run:") else source

    sources = tuple(shown(source) for source in experience.sources)
    return experience.model_copy(update={**_SAYS_NOTHING, "metadata": {}, "sources": sources})


def blank_edit(edit: Edit) -> Edit:
    """Return an edit without words, sources and metadata; what it did to which lesson stays."""
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
    """Return an entry of the log without what came from these sources.

    The reason that was given for the entry goes, too: it may quote what came from them. An entry
    in which nothing did is returned as it is.
    """
    changes = tuple(_blanked_change(change, forbidden) for change in entry.changes)
    if changes == entry.changes:
        return entry
    author = BLANK if f"author:{entry.author}" in forbidden else entry.author
    return entry.model_copy(update={"changes": changes, "why": "", "author": author})


def _blanked_change(change: LoggedChange, forbidden: Collection[str]) -> LoggedChange:
    def clean(experience: Experience) -> Experience:
        return blank(experience, forbidden) if comes_from(forbidden, experience) else experience

    if not any(comes_from(forbidden, e) for e in (*change.before, *change.after)):
        return change
    return LoggedChange(
        edit=blank_edit(change.edit),
        before=tuple(clean(e) for e in change.before),
        after=tuple(clean(e) for e in change.after),
    )


def comes_from(forbidden: Collection[str], experience: Experience) -> bool:
    """Tell whether an experience carries one of these sources."""
    return any(source in forbidden for source in experience.sources)


def sources_in(now: Iterable[Experience], log: Iterable[LogEntry]) -> set[str]:
    """Collect every source that a set or its log names."""
    found = {source for experience in now for source in experience.sources}
    for entry in log:
        for change in entry.changes:
            for experience in (*change.before, *change.after):
                found.update(experience.sources)
    return found


def undone(now: Iterable[Experience], newer: Iterable[LogEntry]) -> tuple[Experience, ...]:
    """Return the experiences as they were before these entries of the log.

    ``newer`` are all entries since then, newest first.
    """
    experiences = {e.id: e for e in now}
    for entry in newer:
        for change in reversed(entry.changes):
            for after in change.after:
                experiences.pop(after.id, None)
            for before in change.before:
                experiences[before.id] = before
    return tuple(experiences.values())


def without_blanks(experiences: Sequence[Experience], log: Sequence[LogEntry]) -> list[Experience]:
    """Return an older version of a set as it may come back after a purge.

    In place of a lesson that was blanked come the latest forms without the purged source that it
    was made from, if there are any.

    Args:
        experiences: the older version, as the log has it.
        log: newest first, from that version down.
    """
    kept = {e.id: e for e in experiences if not is_blank(e)}
    for e in experiences:
        if is_blank(e):
            for clean in clean_ancestors(e, log, is_blank).forms:
                kept.setdefault(clean.id, clean)
    return list(kept.values())


def purging(
    now: Sequence[Experience], log: Sequence[LogEntry], forbidden: Collection[str]
) -> tuple[list[Edit], list[str]]:
    """Return the edits that take what came from these sources out of a set.

    Its forms from before that, and what else it was merged from, come back.

    Args:
        now: the set.
        log: newest first, from the version of the set.
        forbidden: as in `Experience.sources`.

    Returns:
        Removals before restorations; and the ids of those whose origins the history no longer
        holds.
    """
    gone = {e.id: e for e in now if comes_from(forbidden, e)}
    back, unknown = _what_comes_back(gone.values(), log, forbidden)
    staying = {e.id for e in now} - gone.keys()
    coming = [e for e in back.values() if e.id not in staying]
    coming.sort(key=lambda e: growth(gone.get(e.id), e))
    removals: list[Edit] = [Remove(id=id) for id in gone if id not in back]
    return [*removals, *(Restore(experience=e) for e in coming)], unknown


def _what_comes_back(
    gone: Iterable[Experience], log: Sequence[LogEntry], forbidden: Collection[str]
) -> tuple[dict[str, Experience], list[str]]:
    """Return the clean origins of all these by their ids, and whose origins are not all known."""

    def is_tainted(experience: Experience) -> bool:
        return comes_from(forbidden, experience) or is_blank(experience)

    back: dict[str, Experience] = {}
    unknown: list[str] = []
    for e in gone:
        origins = clean_ancestors(e, log, is_tainted)
        if not origins.complete:
            unknown.append(e.id)
        for clean in origins.forms:
            back.setdefault(clean.id, clean)
    return back, unknown


class Origins(NamedTuple):
    """The latest forms without taint from which a lesson descends.

    ``complete``: the history reached back to all of them; it may have been trimmed.
    """

    forms: list[Experience]
    complete: bool


def clean_ancestors(
    experience: Experience, log: Sequence[LogEntry], tainted: Callable[[Experience], bool]
) -> Origins:
    """Return from which lessons without taint a tainted one descends.

    Args:
        experience: the tainted one.
        log: newest first, from the version in which the experience stands.
        tainted: tells what may not come back.
    """
    for i, entry in enumerate(log):
        change = _that_made(experience, entry)
        if change is None:
            continue
        older = log[i + 1 :]
        if isinstance(change.edit, Restore) and not change.before:
            return _before_it_left(experience, older, tainted)
        forms: list[Experience] = []
        complete = True
        for parent in change.before:
            origins = _origins_of(parent, older, tainted)
            forms += origins.forms
            complete = complete and origins.complete
        return Origins([_no_more_trusted(form, experience) for form in forms], complete)
    return Origins([], complete=False)


def _that_made(experience: Experience, entry: LogEntry) -> LoggedChange | None:
    """Return the change of an entry that led to this form of an experience."""
    form = experience.id, experience.rev
    for change in entry.changes:
        if any((e.id, e.rev) == form for e in change.after):
            return change
    return None


def _origins_of(
    experience: Experience, log: Sequence[LogEntry], tainted: Callable[[Experience], bool]
) -> Origins:
    """Return an experience itself, or if it is tainted what it descends from."""
    if tainted(experience):
        return clean_ancestors(experience, log, tainted)
    return Origins([experience], complete=True)


def _before_it_left(
    experience: Experience, log: Sequence[LogEntry], tainted: Callable[[Experience], bool]
) -> Origins:
    """Return the origins of a restored experience, from before it was taken out of the set."""
    for i, entry in enumerate(log):
        for change in entry.changes:
            for earlier in change.before:
                if is_same_lesson(earlier, experience):
                    return _origins_of(earlier, log[i + 1 :], tainted)
    return Origins([], complete=not experience.parents)


def _no_more_trusted(parent: Experience, child: Experience) -> Experience:
    """Return the parent in a state no better than its child's, or a demotion would be undone."""
    state = min(parent.state, child.state, key=_TRUST.index)
    return parent.model_copy(update={"state": state})
