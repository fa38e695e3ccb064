"""Older versions of one set, by undoing its log; and taking out of set and log what came from one source."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from ted_memory.errors import CommitRefused, HistoryTrimmed
from ted_memory.experience import lineage
from ted_memory.models import (
    Commit,
    Difference,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    PurgeReport,
    Remove,
    Restore,
)
from ted_memory.protocols import ExperienceStore

PURGE_TRIES = 50

Load = Callable[[], Awaitable[ExperienceSet]]
CommitAll = Callable[[Sequence[Edit], ExperienceSet], Awaitable[Commit]]


class History:
    """The log of one namespace, read backwards."""

    def __init__(self, store: ExperienceStore, namespace: str) -> None:
        self.store = store
        self.namespace = namespace

    async def at(self, now: ExperienceSet, version: int) -> tuple[Experience, ...]:
        """Return the experiences of an older version; what was purged since is left out.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
        """
        newer = (
            await self.store.log(self.namespace, range(now.version, version, -1))
            if version >= 0
            else ()
        )
        if version < 0 or version > now.version or len(newer) < now.version - version:
            oldest = max(now.oldest - 1, 0) if now.version else 0
            raise HistoryTrimmed(
                f"version {version} is not in the history of {self.namespace!r}: it reaches from {oldest} to "
                f"{now.version} (setting `history` says how many are kept); the set is unchanged"
            )
        experiences = lineage.undone(now, newer)
        if any(lineage.is_blank(e) for e in experiences):
            experiences = tuple(
                lineage.without_blanks(experiences, await self._down_from(now, version))
            )
        return tuple(sorted(experiences, key=lambda e: (e.order, e.id)))

    async def diff(self, now: ExperienceSet, old: int, new: int | None) -> tuple[Difference, ...]:
        """Return what changed from one version to another (None: now), in the set's order.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or a version is yet to come.
        """
        before = {e.id: e for e in await self.at(now, old)}
        after = {e.id: e for e in await self.at(now, now.version if new is None else new)}
        told = (
            Difference(id=id, before=before.get(id), after=after.get(id))
            for id in {**before, **after}
        )
        changed = [d for d in told if said(d.before) != said(d.after)]
        return tuple(
            sorted(changed, key=lambda d: (max(e.order for e in (d.before, d.after) if e), d.id))
        )

    async def purge(self, purged: Collection[str], load: Load, commit: CommitAll) -> PurgeReport:
        """Take out of set and log what came from sources that the store already refuses to take in.

        Raises:
            CommitRefused: the set went on changing, or a rule stands against it; what is there
                stays.
        """
        archived = await self._forget_archived(purged)
        gone, back, waiting, unknown = set[str](), set[str](), set[str](), set[str]()
        for _ in range(PURGE_TRIES):
            now = await load()
            log = await self._down_from(now, now.version)
            # not only these sources: another purge may be under way, or have died on its way
            forbidden = {*purged} | await self.store.tombstoned(self.namespace, _sources(now, log))
            edits, lost = lineage.purging(now.experiences, log, forbidden)
            if not edits:
                break
            edits = [_waiting(edit, waiting) for edit in edits if _id_of(edit) not in unknown]
            done = await commit(edits, now)
            if done.rejected:
                waiting |= _restores(done, lambda reason: reason == "cap")
                unknown |= _restores(
                    done, lambda reason: reason not in {"cap", "conflict", "aborted"}
                )
                continue
            gone |= {edit.id for edit in edits if isinstance(edit, Remove)}
            back |= {edit.experience.id for edit in edits if isinstance(edit, Restore)}
            unknown |= set(lost)
        else:
            reasons = ", ".join(sorted({rejected.reason for rejected in done.rejected}))
            raise CommitRefused(
                f"what came from the source could not be taken out of {self.namespace!r} ({reasons}). Nothing of it "
                "can come in any more, what is there stays; purge again"
            )
        blanked = [entry.version for entry in log if lineage.blanked(entry, forbidden) != entry]
        await self.store.blank(
            self.namespace, blanked, lambda entry: lineage.blanked(entry, forbidden)
        )
        return PurgeReport(
            version=now.version,
            removed=tuple(sorted(gone)),
            restored=tuple(sorted(back)),
            waiting=tuple(sorted(waiting & back)),
            unknown=tuple(sorted(unknown)),
            blanked=tuple(sorted(blanked)),
            archived=archived,
        )

    async def _forget_archived(self, purged: Collection[str]) -> int:
        """Take out of the archive what came from these sources, or from another one that the store refuses."""
        log = self.store.episodes
        archive = await log.archived(self.namespace)
        known = {known for one in archive for known in one.sources}
        forbidden = {*purged} | await self.store.tombstoned(self.namespace, known)
        return await log.forget_archived(
            self.namespace, [one.seq for one in archive if one.sources & forbidden]
        )

    async def _down_from(self, now: ExperienceSet, version: int) -> tuple[LogEntry, ...]:
        return await self.store.log(self.namespace, range(version, max(now.oldest, 1) - 1, -1))


def said(experience: Experience | None) -> tuple[str, ...] | None:
    """Return what of an experience makes a difference to readers."""
    return (*experience.lesson, experience.state) if experience is not None else None


def _sources(now: ExperienceSet, log: Sequence[LogEntry]) -> set[str]:
    changed = (
        e for entry in log for change in entry.changes for e in (*change.before, *change.after)
    )
    return {source for e in (*now, *changed) for source in e.sources}


def _restores(commit: Commit, refused_as: Callable[[str], bool]) -> set[str]:
    return {
        r.edit.experience.id
        for r in commit.rejected
        if isinstance(r.edit, Restore) and refused_as(r.reason)
    }


def _id_of(edit: Edit) -> str:
    return edit.experience.id if isinstance(edit, Restore) else ""


def _waiting(edit: Edit, ids: set[str]) -> Edit:
    if isinstance(edit, Restore) and edit.experience.id in ids:
        return Restore(experience=edit.experience.model_copy(update={"state": "proposed"}))
    return edit
