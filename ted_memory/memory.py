"""TedMemory: the face of one experience set. Thin: rules are in `experience`, promises in `protocols`."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

from ted_memory import exchange
from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.exchange import ImportReport
from ted_memory.experience.edits import difference, plan
from ted_memory.experience.rendering import render_block
from ted_memory.experience.selection import Selector, make_selector
from ted_memory.experience.utility import over
from ted_memory.history import History, said
from ted_memory.models import (
    Add,
    Caps,
    Commit,
    Difference,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    PurgeReport,
    Restore,
    SetState,
    Usage,
    check_namespace,
    check_text,
)
from ted_memory.protocols import CommitRequest, ExperienceStore
from ted_memory.settings import Settings
from ted_memory.snapshots import Health, Snapshots

TOKEN_LIMIT = 200
ROLLBACK_TRIES = 5


class TedMemory:
    """One experience set, shared by all that open it.

    Made by `open_memory`. Usable as an async context manager; without one, `aclose` ends it.
    """

    def __init__(
        self, store: ExperienceStore, settings: Settings, namespace: str, *, first_wait: float | None = None
    ) -> None:
        self.store = store
        self.settings = settings
        self.namespace = namespace
        self._first_wait = first_wait
        self._history = History(store, namespace)
        caps = Caps(max_experiences=settings.max_experiences, token_budget=settings.token_budget)
        self._empty = ExperienceSet(namespace=namespace, epoch="", version=0, caps=caps)
        self._snapshots = Snapshots(
            self._read_fast,
            self._empty,
            refresh=settings.refresh,
            patience=first_wait or settings.read_timeout,
        )

    async def __aenter__(self) -> Self:
        await self.load()  # a wrong URL is told now, not at the first agent call
        self._snapshots.warm()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of all connections, also those of memories made by `for_namespace`."""
        await self._snapshots.aclose()
        await self.store.aclose()

    def for_namespace(self, namespace: str) -> "TedMemory":
        """Return the memory of another experience set over the same connections.

        Raises:
            InvalidInput: the namespace has a character that is not allowed.
        """
        return TedMemory(self.store, self.settings, check_namespace(namespace), first_wait=self._first_wait)

    def staging(self, run: str, settings: Settings | None = None) -> "TedMemory":
        """Return the memory in which a run works; agents never read it."""
        return TedMemory(self.store, settings or self.settings, f"{self.namespace}~{run}")

    async def load(self) -> ExperienceSet:
        """Return the set as it is now; empty at version 0 when nothing was ever committed.

        Raises:
            StoreError: the store cannot be read.
        """
        began = time.monotonic()
        stored = await self.store.read(self.namespace, self._snapshots.held)
        snapshot = self._empty if stored is None else stored
        self._snapshots.keep(snapshot, began=began)
        return snapshot

    async def _read_fast(self, known: ExperienceSet | None) -> ExperienceSet:
        stored = await self.store.read_fast(self.namespace, known)
        return self._empty if stored is None else stored

    async def snapshot(self) -> ExperienceSet:
        """Return the set for an agent's call: cached, at most `read_timeout` late, never an error."""
        return await self._snapshots.hot()

    def selector(self, caps: Caps) -> Selector:
        """Return the rule by which this memory's settings choose what stands in a prompt."""
        s = self.settings
        budget = min(s.token_budget, caps.token_budget)
        return make_selector(s.selection, top_k=s.top_k, token_budget=budget)

    def show(self, snapshot: ExperienceSet, question: str = "") -> tuple[Experience, ...]:
        """Return the active experiences of a snapshot that stand in the prompt for a question."""
        return self.selector(snapshot.caps)(snapshot.active, snapshot.usage, question)

    async def render(self, question: str = "") -> str:
        """Return the text block for a prompt, "" when the set is empty.

        ``question`` is the task at hand; selection ``relevant`` picks by it, the others don't look at it.
        Never raises: without the store it goes on with what it last saw (see `health`).
        """
        return render_block(self.show(await self.snapshot(), question))

    async def commit(
        self,
        edits: Iterable[Edit],
        *,
        author: str,
        why: str = "",
        token: str | None = None,
        base: ExperienceSet | None = None,
        atomic: bool = False,
        usage: Mapping[str, Usage] | None = None,
        models: Mapping[str, str] | None = None,
    ) -> Commit:
        """Apply edits as one new version of the set.

        Edits take effect one by one: one that conflicts with a change made since ``base`` (default: now), or would
        break a cap, is in ``rejected`` with its reason, and the others stand. With ``atomic`` one refusal refuses all.
        ``usage`` is added to the experiences' usage in the same step; ``models`` (names of student and teacher) is
        kept with the set.
        ``token`` names the commit: the same token again gets the same answer and has no second effect, for 7 days.

        Raises:
            InvalidInput: the token or author cannot be used.
            StoreError: the store cannot be reached or read.
            NotDurable: it took effect, but not as durably as asked for (setting ``durability``).
        """
        edits, given = tuple(edits), base is not None
        if base is None:
            # additions touch nothing that is there, so any snapshot is as good as the newest
            held = self._snapshots.held if edits and all(isinstance(edit, Add) for edit in edits) else None
            base = held if held is not None and held.version else await self.load()
        if not edits:
            return Commit(epoch=base.epoch, version=base.version)
        if await self._retire_over_caps(base) and not given:
            base = await self.load()
        request = self._request(
            edits,
            base,
            author=author,
            why=why,
            token=token,
            atomic=atomic,
            usage=_checked_usage(usage),
            models=models or {},
        )
        return await self._commit(request)

    async def _retire_over_caps(self, base: ExperienceSet) -> bool:
        """Make a cap that this memory's settings lower hold, before anything else is committed under it."""
        caps = self._caps(base)
        if caps == base.caps or not over(base, caps):
            return False
        now = await self.load()
        going = [SetState(id=e.id, state="retired") for e in over(now, caps)]
        if going:
            why = f"caps lowered to {caps.max_experiences} experiences, {caps.token_budget} tokens"
            await self._commit(self._request(going, now, author="caps", why=why, token=None, atomic=False))
        return bool(going)

    def _caps(self, base: ExperienceSet) -> Caps:
        """Return the caps that hold with the next commit: those of the set, and what this memory's settings state."""
        return base.caps.model_copy(update={name: getattr(self.settings, name) for name in self._stated()})

    def _stated(self) -> tuple[Literal["max_experiences", "token_budget"], ...]:
        names: tuple[Literal["max_experiences", "token_budget"], ...] = ("max_experiences", "token_budget")
        return tuple(name for name in names if name in self.settings.model_fields_set)

    async def _commit(self, request: CommitRequest) -> Commit:
        commit = await self.store.commit(self.namespace, request)
        self._snapshots.need(commit.version)  # who commits and then renders sees what was committed
        return commit

    def _request(
        self,
        edits: Sequence[Edit],
        base: ExperienceSet,
        *,
        author: str,
        why: str,
        token: str | None,
        atomic: bool,
        expect_version: int | None = None,
        max_text: int = 0,
        usage: Mapping[str, Usage] | None = None,
        models: Mapping[str, str] | None = None,
    ) -> CommitRequest:
        s = self.settings
        token = _checked_token(token if token is not None else secrets.token_hex(16))
        caps = self._caps(base)
        line = (base.epoch, base.version, base.stamp)
        if caps != base.caps:
            base = replace(base, caps=caps)
        return CommitRequest(
            changes=plan(edits, base, author=_checked("author", author), max_text=max(s.max_text, max_text)),
            author=author,
            why=_checked("why", why, may_be_empty=True),
            token=token,
            atomic=atomic,
            expect_version=expect_version,
            caps=caps,
            stated=self._stated(),
            history=s.history,
            base=line,
            usage=usage or {},
            models=models or {},
        )

    async def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of all experience sets in this store, sorted."""
        return await self.store.namespaces()

    async def credit(self, usage: dict[str, Usage], *, token: str) -> bool:
        """Add to the experiences' usage once for each token; False when this token was used before.

        With a setting ``usage_kept`` below 1, older outcomes of the same experiences fade by this share.

        Raises:
            InvalidInput: the token or an id cannot be used.
            StoreError: the store cannot be reached.
        """
        counted, kept = _checked_usage(usage), self.settings.usage_kept
        return not usage or await self.store.credit(self.namespace, counted, _checked_token(token), kept=kept)

    async def usage(self) -> dict[str, Usage]:
        """Return the usage of the experiences as it is now."""
        return dict(await self.store.usage(self.namespace))

    async def log(self, limit: int = 20) -> tuple[LogEntry, ...]:
        """Return the latest entries of the history, newest first."""
        newest = (await self.load()).version
        return await self.store.log(self.namespace, range(newest, max(newest - limit, 0), -1))

    async def rollback(self, version: int, *, author: str = "rollback") -> Commit:
        """Make a new version that restores an older one, and leave the history as it is.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
            CommitRefused: others kept changing the set, or the old set breaks today's caps; nothing was written.
        """
        for _ in range(ROLLBACK_TRIES):
            now = await self.load()
            edits = difference(now, await self._history.at(now, version))
            if not edits:
                return Commit(epoch=now.epoch, version=now.version)
            why = f"back to version {version}"
            request = self._request(
                edits, now, author=author, why=why, token=None, atomic=True, expect_version=now.version
            )
            commit = await self._commit(request)
            if not commit.rejected:
                return commit
            reasons = {rejected.reason for rejected in commit.rejected} - {"aborted"}
            if reasons != {"conflict"}:
                raise CommitRefused(
                    f"version {version} cannot be restored ({', '.join(sorted(reasons))}); the set stays at version "
                    f"{now.version}. A cap was lowered since? Raise max_experiences or token_budget"
                )
        raise CommitRefused(f"the set changed {ROLLBACK_TRIES} times during the rollback; it is as others left it")

    async def at(self, version: int) -> ExperienceSet:
        """Return the set as it was at an older version, with today's usage.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or the version is yet to come.
        """
        now = await self.load()
        return replace(now, version=version, experiences=await self._history.at(now, version))

    async def diff(self, old: int, new: int | None = None) -> tuple[Difference, ...]:
        """Return what changed from one version to another (default: now), in the set's order.

        Raises:
            HistoryTrimmed: the log no longer reaches back that far, or a version is yet to come.
        """
        now = await self.load()
        before = {e.id: e for e in await self._history.at(now, old)}
        after = {e.id: e for e in await self._history.at(now, now.version if new is None else new)}
        told = (Difference(id=id, before=before.get(id), after=after.get(id)) for id in {**before, **after})
        changed = [d for d in told if said(d.before) != said(d.after)]
        return tuple(sorted(changed, key=lambda d: (max(e.order for e in (d.before, d.after) if e), d.id)))

    async def purge(self, source: str, *, author: str = "purge") -> PurgeReport:
        """Take out all that came from a source, also through rewrites and merges, for good.

        What was made from lessons of others too goes back to these lessons. The log keeps the versions and loses the
        texts; neither a rollback nor an import nor a commit that is under way brings them back. A run that is under
        way keeps what it had learned from the source in its own staging set until it ends; it cannot promote it.
        Interrupted, it may be called again.

        Raises:
            InvalidInput: the source is empty.
            StoreError: the store cannot be reached or read.
        """
        _checked("source", source)
        await self.store.forbid(self.namespace, source)  # first: nothing of it may come in while we look

        async def commit(edits: Sequence[Edit], now: ExperienceSet) -> Commit:
            # what was longer than today's limit may come back: it is not this source's fault
            request = self._request(
                edits, now, author=author, why="purge", token=None, atomic=True, max_text=max(map(_length, edits))
            )
            return await self._commit(request)

        return await self._history.purge(source, self.load, commit)

    async def export(self) -> str:
        """Return the set as JSON Lines that any installation can import (see `ted_memory.exchange`)."""
        return exchange.dump(replace(await self.load(), usage=await self.usage()))

    async def import_set(
        self, text: str, *, merge: bool = False, author: str = "import", name: str = "the export"
    ) -> ImportReport:
        """Take in a set that was exported. Without ``merge`` only into an empty set, and all of it or nothing.

        With ``merge`` what is here stays as it is, and what is not here yet is added as far as the caps let it.

        Raises:
            InvalidInput: it is no export, or damaged; ``name`` is what the message calls it. Nothing was imported.
            CommitRefused: the set is not empty, or too small for all of it. Nothing was imported.
        """
        exported = exchange.parse(text, name)
        now = await self.load()
        if len(now) and not merge:
            raise CommitRefused(
                f"namespace {self.namespace!r} has {len(now)} experiences; nothing was imported. Merge into it "
                "(merge=True, --merge), or import into another namespace"
            )
        edits, rest = exchange.sort_in(exported.experiences, now)
        ids = tuple(edit.experience.id for edit in edits if isinstance(edit, Restore))
        why = f"{exported.namespace} at version {exported.version}"
        commit = await self.commit(
            edits,
            author=author,
            why=why,
            base=now,
            atomic=not merge,
            usage={id: exported.usage[id] for id in ids if id in exported.usage},
            models=exported.models if not now.version else None,
        )
        refused = tuple((r.edit.experience.id, r.reason) for r in commit.rejected if isinstance(r.edit, Restore))
        if refused and not merge:
            reasons = ", ".join(sorted({reason for _, reason in refused} - {"aborted"}))
            raise CommitRefused(
                f"{len(edits)} experiences do not fit into {self.namespace!r} ({reasons}); nothing was imported. "
                "cap: raise max_experiences or token_budget; too long: raise max_text; or import what fits with --merge"
            )
        added = tuple(applied.id for applied in commit.applied)
        return ImportReport(version=commit.version, added=added, refused=refused, **rest)

    def health(self) -> Health:
        """Return what the hot path has counted; no I/O."""
        return self._snapshots.health()


def _length(edit: Edit) -> int:
    return len(edit.experience.text) + len(edit.experience.when) if isinstance(edit, Restore) else 0


def _checked_token(token: str) -> str:
    if len(_checked("token", token)) > TOKEN_LIMIT:
        raise InvalidInput(f"the token has {len(token)} characters; use at most {TOKEN_LIMIT}")
    return token


def _checked_usage(usage: Mapping[str, Usage] | None) -> dict[str, Usage]:
    return {_checked("an id of the usage", id): counters for id, counters in (usage or {}).items()}


def _checked(name: str, value: str, *, may_be_empty: bool = False) -> str:
    if not value and not may_be_empty:
        raise InvalidInput(f"{name} is empty; say who or what this commit comes from")
    try:
        return check_text(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
