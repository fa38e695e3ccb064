"""What an operator does with a set: look at it, approve, go back, forget, export, import."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ted_memory.capture.recorder import Recorder
from ted_memory.episodes import ANONYMOUS, DeadLetter, Subject, Traffic
from ted_memory.errors import InvalidInput
from ted_memory.findings import Finding
from ted_memory.memory import exchange, forgetting, purging
from ted_memory.memory.commits import checked, refuse_unless_whole
from ted_memory.memory.exchange import ImportReport
from ted_memory.memory.forgetting import ForgetReport
from ted_memory.memory.repository import SetRepository
from ted_memory.models import (
    Commit,
    Difference,
    ExperienceSet,
    LogEntry,
    PurgeReport,
    Rewrite,
    SetState,
    State,
    Usage,
)
from ted_memory.protocols import ExperienceStore
from ted_memory.retrieval.ranker import Ranker


class Curated(ABC):
    """The part of a `TedMemory` that looks after its set. Nothing of it is on an agent's path."""

    store: ExperienceStore
    namespace: str
    repository: SetRepository
    _ranker: Ranker

    @property
    @abstractmethod
    def recorder(self) -> Recorder:
        """The buffer of what agents did."""

    @abstractmethod
    async def commit(self, *args: Any, **kwargs: Any) -> Commit:
        """Apply edits as one new version of the set."""

    async def usage(self) -> dict[str, Usage]:
        """Read the usage of the experiences as it is now. Raises StoreError."""
        return dict(await self.repository.usage())

    async def namespaces(self, *, with_traffic: bool = False) -> tuple[str, ...]:
        """List the namespaces of all experience sets in this store, sorted.

        ``with_traffic``: of those that agents record for, whether they have a set yet or not.

        Raises:
            StoreError: the store cannot be reached.
        """
        if with_traffic:
            return tuple(sorted(await self.store.episodes.namespaces()))
        return await self.store.namespaces()

    async def credit(self, usage: dict[str, Usage], *, token: str) -> bool:
        """Add to the experiences' usage once for each token; False when this token was used before.

        With a setting ``usage_decay`` below 1, older outcomes of the same experiences fade by this
        share.

        Raises:
            InvalidInput: the token or an id cannot be used.
            StoreError: the store cannot be reached.
        """
        return await self.repository.credit(usage, token)

    async def log(self, limit: int = 20) -> tuple[LogEntry, ...]:
        """Read the latest entries of the history, newest first. Raises StoreError."""
        newest = (await self.repository.read()).version
        return await self.repository.entries(range(newest, max(newest - limit, 0), -1))

    async def at(self, version: int) -> ExperienceSet:
        """Give the set as it was at an older version, with today's usage.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
        """
        now = await self.repository.read()
        return replace(now, version=version, experiences=await self.repository.at(now, version))

    async def diff(self, old: int, new: int | None = None) -> tuple[Difference, ...]:
        """Tell what changed from one version to another (default: now), in the set's order.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or a version is yet to come.
        """
        return await self.repository.diff(await self.repository.read(), old, new)

    async def approve(
        self,
        *ids: str,
        author: str,
        why: str = "by hand",
        revs: Mapping[str, int] | None = None,
        token: str | None = None,
    ) -> Commit:
        """Make lessons active: every agent sees them from now on. All or nothing.

        ``why`` stands in the log. With ``revs`` it holds for these revisions of the lessons alone.
        ``token`` names the commit, as for `commit`: sent again, it has no second effect.

        Raises:
            CommitRefused: one of them is not there, is active already, was changed since, or has no
                room; nothing was changed.
        """
        return await self._set_state(ids, "active", author=author, why=why, revs=revs, token=token)

    async def reject(
        self,
        *ids: str,
        author: str,
        why: str = "by hand",
        revs: Mapping[str, int] | None = None,
        token: str | None = None,
    ) -> Commit:
        """Retire lessons: they leave the set, but not the log, so that a rollback brings them back.

        ``why``, ``revs`` and ``token`` are those of `approve`.

        Raises:
            CommitRefused: one of them is not there, or was changed since; nothing was changed.
        """
        return await self._set_state(ids, "retired", author=author, why=why, revs=revs, token=token)

    async def _set_state(
        self,
        ids: Sequence[str],
        state: State,
        *,
        author: str,
        why: str,
        revs: Mapping[str, int] | None,
        token: str | None,
    ) -> Commit:
        known = revs or {}
        edits = [SetState(id=id, state=state, rev=known.get(id)) for id in ids]
        commit = await self.commit(edits, author=author, why=why, token=token, atomic=True)
        return refuse_unless_whole(commit)

    async def edit(
        self,
        id: str,
        text: str,
        *,
        author: str,
        when: str | None = None,
        example: str | None = None,
        why: str = "by hand",
        rev: int | None = None,
        token: str | None = None,
    ) -> Commit:
        """Give a lesson another text; what is None stays as it was. Its state stays, too.

        What was known of it belonged to the old text and is forgotten. ``why`` and ``token`` are
        those of `approve`; with ``rev`` it holds for this revision of the lesson alone.

        Raises:
            CommitRefused: the lesson is not there, says so already, was changed since, or has no
                room with this text; nothing was changed.
        """
        rewrite = Rewrite(id=id, text=text, when=when, example=example, rev=rev)
        commit = await self.commit([rewrite], author=author, why=why, token=token, atomic=True)
        return refuse_unless_whole(commit)

    async def examine(self) -> Sequence[Finding]:
        """Look whether the server is set up so that nothing is lost, and answers in time.

        Raises:
            StoreError: the store cannot be reached.
        """
        return await self.store.examine(self.namespace)

    async def traffic(self) -> Traffic:
        """Count what waits to be learned from, and what became of the rest. Raises StoreError."""
        return await self.store.episodes.traffic(self.namespace)

    async def dead_letters(self, limit: int = 20) -> tuple[DeadLetter, ...]:
        """List the newest episodes that could not be learned from, with the reason.

        Raises:
            StoreError: the store cannot be reached or read.
        """
        return await self.store.episodes.dead_letters(self.namespace, limit)

    async def retry_dead_letters(self, seqs: Sequence[int]) -> int:
        """Put dead letters back into the queue, and tell how many of these there were.

        Raises:
            StoreError: the store cannot be reached.
        """
        return await self.store.episodes.retry_dead(self.namespace, seqs)

    async def drop_dead_letters(self, seqs: Sequence[int]) -> int:
        """Forget dead letters for good, and tell how many of these there were.

        Raises:
            StoreError: the store cannot be reached.
        """
        return await self.store.episodes.drop_dead(self.namespace, seqs)

    async def rollback(
        self, version: int, *, author: str = "rollback", since: int | None = None
    ) -> Commit:
        """Make a new version that restores an older one, and leave the history as it is.

        With ``since`` only where the set is still at this version: that which a person looked at.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
            CommitRefused: others changed the set meanwhile, or the old set breaks today's caps;
                nothing was written.
        """
        return await self.repository.rollback(version, author=author, since=since)

    async def purge(self, source: str, *, author: str = "purge") -> PurgeReport:
        """Take out for good all that came from a source, and keep it from coming again.

        That is also what came through rewrites and merges, and what is in the archive. What was
        made from lessons of others too goes back to these lessons. The log keeps the versions and
        loses the texts; neither a rollback nor an import nor a commit or a run that is under way
        brings them back to agents. Interrupted, it may be called again. Of a person take `forget`.

        Raises:
            InvalidInput: the source is empty.
            StoreError: the store cannot be reached or read.
        """
        checked("source", source)
        # first: nothing of it may come in while we look
        await self.store.tombstone(self.namespace, source)
        return await purging.purge(self.repository, self._ranker, [source], author=author)

    async def forget(self, kind: Literal["principal", "run", "thread"], name: str) -> ForgetReport:
        """Forget a person, one run, or one conversation: what was recorded, and what was learned.

        Episodes that wait or are archived, dead letters, run records, feedback, counts and images
        go, and all that `purge` takes out; who works on one of them comes too late. A principal's
        later runs are not learned from either. `docs/privacy.md` tells of what is under way in
        other processes. Interrupted, it may be called again.

        Raises:
            InvalidInput: the name is empty, or that of nobody in particular.
            StoreError: the store cannot be reached or read, or its file was not rewritten in time.
        """
        checked("name", name)
        if kind == "principal" and name == ANONYMOUS:
            raise InvalidInput(
                f"{ANONYMOUS!r} is nobody in particular; forget runs or conversations, or drop the "
                "namespace"
            )
        stored = name if kind == "run" else self.recorder.stored(name)
        return await forgetting.forget(
            self.repository, self._ranker, Subject(kind=kind, name=stored)
        )

    async def forget_vectors(self) -> None:
        """Forget the vectors that the set keeps for its embeddings; they are made anew.

        Raises:
            StoreError: the store cannot be reached.
        """
        await purging.forget_vectors(self.repository, self._ranker)

    async def export(self) -> str:
        """Write the set as JSON Lines that any installation can import.

        The format is described in `ted_memory.memory.exchange`.
        """
        return exchange.dump(replace(await self.repository.read(), usage=await self.usage()))

    async def import_set(
        self, text: str, *, merge: bool = False, author: str = "import", name: str = "the export"
    ) -> ImportReport:
        """Take in a set that was exported.

        Without ``merge`` it goes only into an empty set, and all of it or nothing. With ``merge``
        what is here stays as it is, and what is not here yet is added as far as the caps let it.

        Raises:
            InvalidInput: it is no export, or damaged; ``name`` is what the message calls it.
                Nothing was imported.
            CommitRefused: the set is not empty, or too small for all of it. Nothing was imported.
        """
        exported = exchange.parse(text, name)
        now = await self.repository.read()
        if not merge:
            exchange.refuse_unless_empty(now)
        coming = exchange.sort_in(exported, now)
        commit = await self.commit(
            coming.edits,
            author=author,
            why=f"{exported.namespace} at version {exported.version}",
            base=now,
            atomic=not merge,
            usage=coming.usage,
            models=exported.models if not now.version else None,
            presentation=exported.presentation if not now.version else None,
        )
        return exchange.report(coming, commit, merge=merge)
