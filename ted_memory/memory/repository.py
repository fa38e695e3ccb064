"""One experience set in a store: reading it, committing to it, and its history."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ted_memory import telemetry
from ted_memory.errors import CommitRefused, HistoryTrimmed
from ted_memory.experience import lineage
from ted_memory.experience.capacity import over_caps
from ted_memory.experience.edits import difference
from ted_memory.memory.cache import Snapshots
from ted_memory.memory.commits import (
    CommitTerms,
    caps_for,
    checked_token,
    checked_usage,
    commit_request,
)
from ted_memory.memory.shared_read import SharedRead
from ted_memory.models import (
    Add,
    Commit,
    Difference,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    SetState,
    Usage,
)
from ted_memory.protocols import ExperienceStore, KnownEvidence
from ted_memory.settings import Settings

ROLLBACK_TRIES = 5


class SetRepository:
    """One set. Whatever is read or written here, the cache is told of.

    All methods raise StoreError where the store cannot be reached or read.
    """

    def __init__(
        self, store: ExperienceStore, namespace: str, cache: Snapshots, settings: Settings
    ) -> None:
        self.store = store
        self.namespace = namespace
        self._cache = cache
        self._settings = settings
        self._shared_read = SharedRead(self._read)

    async def read(self) -> ExperienceSet:
        """Read the set as it is now; empty at version 0 where nothing was ever committed.

        Who asks while a read is under way shares the next one with all others who do: that one may
        have begun before what they want to see.
        """
        return await self._shared_read()

    async def _read(self) -> ExperienceSet:
        began = time.monotonic()
        stored = await self.store.read(self.namespace, self._cache.held)
        snapshot = self._cache.empty if stored is None else stored
        self._cache.offer(snapshot, began=began)
        return snapshot

    async def usage(self) -> Mapping[str, Usage]:
        """Read the usage of the experiences as it is now, not as it was at the last commit."""
        return await self.store.usage(self.namespace)

    async def credit(self, usage: Mapping[str, Usage], token: str) -> bool:
        """Add to the usage of experiences, once for each token; False when it was used before.

        Raises:
            InvalidInput: the token or an id cannot be used.
        """
        counted = checked_usage(usage)
        if not counted:
            return True
        kept = self._settings.usage_decay
        return await self.store.credit(self.namespace, counted, checked_token(token), kept=kept)

    async def tombstoned(self, sources: Iterable[str]) -> frozenset[str]:
        """Tell which of these sources the store refuses."""
        return await self.store.tombstoned(self.namespace, sources)

    # --- for those who work on the set

    async def hold(self, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease; False when another holder has it. 0 seconds let go of it.

        It saves double work, and is no lock.
        """
        return await self.store.hold(self.namespace, name, holder, seconds)

    async def evidence(
        self, ids: Sequence[str], known: KnownEvidence | None = None
    ) -> KnownEvidence:
        """Read what pairs and outcomes have shown of lessons; ``known`` saves what is unchanged."""
        return await self.store.episodes.evidence(self.namespace, ids, known)

    async def count(self, counters: Mapping[str, int]) -> None:
        """Add to this day's counters: what was spent without a result."""
        await self.store.episodes.count(self.namespace, counters)

    async def load_progress(self) -> Mapping[str, Mapping[str, Any]]:
        """Read the records of the distillation that works in this set, by key."""
        return await self.store.load_progress(self.namespace)

    async def save_progress(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record that JSON can hold, for 30 days."""
        await self.store.save_progress(self.namespace, key, record)

    async def drop(self) -> None:
        """Forget the set and all that belongs to it."""
        with telemetry.dropping(self.namespace):
            await self.store.drop(self.namespace)

    # --- commits

    async def commit(
        self, edits: Sequence[Edit], terms: CommitTerms, *, base: ExperienceSet | None = None
    ) -> Commit:
        """Commit edits that were made on ``base``, by default on the set as it is now.

        A cap that the settings lower holds before anything else is committed under it.

        Raises:
            InvalidInput: a token, an author, a reason or an id cannot be stored.
        """
        seen = base if base is not None else await self._base_of(edits)
        if not edits and not terms.are_enough:
            return Commit(epoch=seen.epoch, version=seen.version)
        has_changed = await self._retire_over_caps(seen)
        if has_changed and base is None:
            seen = await self.read()
        return await self.send(edits, seen, terms)

    async def _base_of(self, edits: Sequence[Edit]) -> ExperienceSet:
        """Find a set that edits may be planned on: the newest, or any of them for additions.

        Additions touch nothing that is there.
        """
        held = self._cache.held
        only_adds = bool(edits) and all(isinstance(edit, Add) for edit in edits)
        if only_adds and held is not None and held.version:
            return held
        return await self.read()

    async def _retire_over_caps(self, base: ExperienceSet) -> bool:
        caps = caps_for(base, self._settings)
        if caps == base.caps or not over_caps(base, caps):
            return False
        now = await self.read()
        going = [SetState(id=e.id, state="retired") for e in over_caps(now, caps)]
        if going:
            why = f"caps lowered to {caps.max_experiences} experiences, {caps.token_budget} tokens"
            await self.send(going, now, CommitTerms(author="caps", why=why))
        return bool(going)

    async def send(self, edits: Sequence[Edit], base: ExperienceSet, terms: CommitTerms) -> Commit:
        """Commit edits that were made on ``base``, whatever the caps were; see `commit`."""
        request = commit_request(edits, base, terms, self._settings)
        with telemetry.committing(self.namespace, edits) as told:
            commit = await self.store.commit(self.namespace, request)
            told(commit)
        self._cache.require_version(commit.version)  # who commits and then renders sees it
        return commit

    async def rollback(self, version: int, *, author: str, since: int | None = None) -> Commit:
        """Make a new version that restores an older one; see `TedMemory.rollback`."""
        for _ in range(ROLLBACK_TRIES):
            now = await self.read()
            if since not in {None, now.version}:
                raise CommitRefused(
                    f"the set is at version {now.version} by now, not {since}; nothing was "
                    "changed. Look at what has changed, and decide again"
                )
            edits = difference(now, await self.at(now, version))
            if not edits:
                return Commit(epoch=now.epoch, version=now.version)
            terms = CommitTerms(
                author=author,
                why=f"back to version {version}",
                atomic=True,
                expect_version=now.version,
            )
            commit = await self.send(edits, now, terms)
            if not commit.rejected:
                return commit
            reasons = {rejected.reason for rejected in commit.rejected} - {"aborted"}
            if reasons != {"conflict"}:
                raise CommitRefused(
                    f"version {version} cannot be restored ({', '.join(sorted(reasons))}); the set "
                    f"stays at version {now.version}. A cap was lowered since? Raise "
                    "max_experiences or token_budget"
                )
        raise CommitRefused(
            f"the set changed {ROLLBACK_TRIES} times during the rollback; it is as others left it"
        )

    # --- history

    async def entries(self, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        """Read the log's entries of these versions, in this order; what is gone is left out."""
        return await self.store.log(self.namespace, versions)

    async def history(self, now: ExperienceSet, version: int | None = None) -> tuple[LogEntry, ...]:
        """Read the log from a version (default: the newest) down to the oldest that is kept."""
        newest = now.version if version is None else version
        return await self.entries(range(newest, max(now.oldest, 1) - 1, -1))

    async def at(self, now: ExperienceSet, version: int) -> tuple[Experience, ...]:
        """Work out the experiences of an older version; what was purged since is left out.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
        """
        exists = 0 <= version <= now.version
        newer = await self.entries(range(now.version, version, -1)) if exists else ()
        if not exists or len(newer) < now.version - version:
            oldest = max(now.oldest - 1, 0) if now.version else 0
            raise HistoryTrimmed(
                f"version {version} is not in the history of {self.namespace!r}: it reaches from "
                f"{oldest} to {now.version} (setting `history_versions` says how many are kept); "
                "the set is unchanged"
            )
        experiences: Sequence[Experience] = lineage.undone(now, newer)
        if any(lineage.is_blank(e) for e in experiences):
            older = await self.history(now, version)
            experiences = lineage.without_blanks(experiences, older)
        return tuple(sorted(experiences, key=lambda e: (e.order, e.id)))

    async def diff(self, now: ExperienceSet, old: int, new: int | None) -> tuple[Difference, ...]:
        """Tell what changed from one version to another (None: now), in the set's order.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or a version is yet to come.
        """
        before = await self.at(now, old)
        after = await self.at(now, now.version if new is None else new)
        return _differences(before, after)


def _differences(
    before: Iterable[Experience], after: Iterable[Experience]
) -> tuple[Difference, ...]:
    old = {e.id: e for e in before}
    new = {e.id: e for e in after}
    found = []
    for id in {**old, **new}:
        difference = Difference(id=id, before=old.get(id), after=new.get(id))
        if _for_readers(difference.before) != _for_readers(difference.after):
            found.append(difference)
    return tuple(sorted(found, key=_place))


def _for_readers(experience: Experience | None) -> tuple[str, ...] | None:
    """Keep of an experience what makes a difference to those who are shown it."""
    return None if experience is None else (*experience.lesson, experience.state)


def _place(difference: Difference) -> tuple[int, str]:
    orders = [e.order for e in (difference.before, difference.after) if e is not None]
    return max(orders), difference.id
