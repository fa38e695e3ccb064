"""The cached snapshot of one namespace: what keeps the store off an agent's path."""

import asyncio
import contextvars
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal

from ted_memory.errors import reason_of
from ted_memory.fields import Frozen
from ted_memory.models import ExperienceSet
from ted_memory.protocols import CommitFeed

IDLE = 2.0  # seconds; an older snapshot is worth waiting for, see `Snapshots.get`
BREAK_AFTER = 3  # failures in a row; then nobody waits for the store until it answers again
# seconds, or a caller's patience if longer; then a look counts as failed, a new connection included
GIVE_UP = 5.0
PROBE_EVERY = 0.5  # seconds between looks at a store that failed so often

Read = Callable[[ExperienceSet | None], Awaitable[ExperienceSet | None]]
"""Reads the set for one who holds another state of it; None where the store has none."""

_LOG = logging.getLogger("ted_memory")


Reset = Literal["lost", "replaced", "restored"]
_WAS: Mapping[Reset, str] = {
    "lost": "emptied",
    "restored": "set back to older data",
    "replaced": "replaced by another set",
}


class MemoryReset(Frozen):
    """The store no longer holds what it held.

    ``kind``: ``lost`` (there is nothing), ``replaced`` (another set, of another epoch),
    ``restored`` (the same set at an older version, or one that went another way from there, as
    after a backup was brought back).
    """

    kind: Reset
    version_before: int
    version_after: int


class Health(Frozen):
    """What the hot path has seen so far.

    ``reads`` are calls; ``stale_reads`` those of them that went on with an old snapshot or none;
    ``failed_reads`` looks at the store that failed, or for which a call waited in vain. ``age`` is
    the snapshot's, in seconds; None before the first read. ``breaker`` is ``open`` while the store
    has failed so often that no call waits for it. ``resets`` counts how often the store lost what
    it held; ``last_reset`` tells of the last time. ``recorded`` runs are in the store, ``buffered``
    ones on their way, ``dropped`` ones lost: the buffer or the queue was full, or they could not be
    told. ``retrieval_fallbacks`` are questions that words had to rank alone, since the retriever
    failed or was too slow. ``lessons_removed`` are calls of a model that the lessons did not reach,
    since a later middleware replaced them. ``pushed`` says whether the store tells of commits as
    they are made; else they are found within `refresh` seconds.
    """

    reads: int = 0
    stale_reads: int = 0
    failed_reads: int = 0
    last_error: str = ""
    breaker: Literal["closed", "open"] = "closed"
    resets: int = 0
    last_reset: MemoryReset | None = None
    version: int | None = None
    age: float | None = None
    recorded: int = 0
    buffered: int = 0
    dropped: int = 0
    retrieval_fallbacks: int = 0
    lessons_removed: int = 0
    pushed: bool = False


class Snapshots:
    """Serves a snapshot at once and looks at the store beside the call.

    Args:
        read: one try, on the agent's path.
        empty: what is served until something was read, or where the store has no such set.
        refresh: age in seconds at which the store is looked at again.
        patience: seconds that a caller waits for the store at most.
        feed: tells of commits, so that they are looked for at once; None: nobody does.
    """

    def __init__(
        self,
        read: Read,
        empty: ExperienceSet,
        *,
        refresh: float,
        patience: float,
        feed: CommitFeed | None = None,
    ) -> None:
        self.empty = empty
        self._read = read
        self._refresh = refresh
        self._patience = patience
        self._feed = feed
        # age at which a call does more than to take what is here: at any, until it hears of commits
        self._look_after = refresh if feed is None else -1.0
        self._reads_when_watched = 0
        self._snapshot = empty
        self._read_at: float | None = None
        self._needed = 0
        self._tasks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]]
        self._tasks = weakref.WeakKeyDictionary()
        self._reads = self._stale = self._failed = 0
        self._failed_in_a_row = 0
        self._failed_at = 0.0
        self._last_error = ""
        self._resets = 0
        self._last_reset: MemoryReset | None = None

    @property
    def held(self) -> ExperienceSet | None:
        """The snapshot, or None before the first successful read."""
        return None if self._read_at is None else self._snapshot

    def offer(self, snapshot: ExperienceSet, *, began: float | None = None) -> None:
        """Take a set that was read; ``began`` is when that read began (by `time.monotonic`).

        An older version, or another epoch, means one of two things. Where the read began before
        what is held was there, it was overtaken, and what is held stays. Else the store itself has
        gone back, and is followed.
        """
        held, read_at = self._snapshot, self._read_at
        now = time.monotonic()
        goes_back = snapshot.epoch != held.epoch or snapshot.version < held.version
        was_overtaken = read_at is not None and began is not None and began <= read_at
        if goes_back and was_overtaken:
            return
        self._notice_reset(held, snapshot)
        if goes_back:
            self._needed = 0
        self._snapshot = snapshot
        self._read_at = now
        self._failed_in_a_row = 0

    def _notice_reset(self, held: ExperienceSet, new: ExperienceSet) -> None:
        if not held.version or (held.epoch == new.epoch and new.version > held.version):
            return
        if (new.epoch, new.version, new.stamp) == (held.epoch, held.version, held.stamp):
            return
        kind = _kind_of_reset(held, new)
        self._resets += 1
        self._last_reset = MemoryReset(
            kind=kind, version_before=held.version, version_after=new.version
        )
        _LOG.warning(
            "MemoryReset: the store of namespace %r was %s: version %d is now version %d. Agents "
            "go on with what the store holds; bring a backup back if that is not what you want",
            held.namespace,
            _WAS[kind],
            held.version,
            new.version,
        )

    def preload(self) -> None:
        """Begin to look at the store, so that the connection is there when an agent needs it."""
        self._refreshing()

    def require_version(self, version: int) -> None:
        """Read your writes: the next `get` waits until this version is here, `patience` at most."""
        self._needed = max(self._needed, version)

    async def get(self) -> ExperienceSet:
        """Give what there is, at once; only after an idle time the store is waited for.

        That takes `patience` seconds at most.
        """
        self._reads += 1
        if not self._older_than(self._look_after):
            return self._snapshot
        self._watch()
        if not self._older_than(self._refresh):
            return self._snapshot
        if self._broken:
            self._stale += self._older_than(IDLE)
            if time.monotonic() - self._failed_at >= PROBE_EVERY:
                self._refreshing()
            return self._snapshot
        self._refreshing()
        if self._older_than(IDLE):
            await self._wait()
        return self._snapshot

    def _watch(self) -> None:
        """Ask to hear of commits, since an agent is at work here."""
        if self._feed is not None:
            self._look_after = self._refresh
            self._reads_when_watched = self._reads
            self._feed.watch(self)

    def told(self, epoch: str, version: int) -> None:
        """Look at the store beside the calls if it is said to hold what is not here yet.

        What is said is not believed: only what is read is served. What comes late, of a version
        that is here or older, is passed over.
        """
        held = self._snapshot
        is_here = bool(epoch) and epoch == held.epoch and version <= held.version
        if is_here or self._broken or not self._is_watching:
            return
        task = self._tasks.get(asyncio.get_running_loop())
        if task is None or task.done():
            self._refreshing()
        else:  # it may have begun too early
            task.add_done_callback(partial(self._told_meanwhile, epoch, version))

    def _told_meanwhile(self, epoch: str, version: int, look: asyncio.Task[None]) -> None:
        if not look.cancelled():
            self.told(epoch, version)

    def is_in_use(self) -> bool:
        """Tell whether an agent has asked since this was asked last, or `_watch` was called."""
        before, self._reads_when_watched = self._reads_when_watched, self._reads
        return self._reads > before

    def unwatched(self) -> None:
        """Have the next call ask to hear of commits again."""
        self._look_after = -1.0

    @property
    def _is_watching(self) -> bool:
        return self._look_after >= 0

    @property
    def _broken(self) -> bool:
        return self._failed_in_a_row >= BREAK_AFTER

    async def _wait(self) -> None:
        deadline, failed = time.monotonic() + self._patience, self._failed
        # a refresh that was under way may have begun too early: then another one follows
        while self._older_than(IDLE) and self._failed == failed:
            left = deadline - time.monotonic()
            if left <= 0:
                # the look itself may hang much longer
                waited = f"{self._patience * 1000:.0f} ms"
                self._fail(f"no answer within {waited}, which is all that a call waits")
                break
            await asyncio.wait({self._refreshing()}, timeout=left)
        self._stale += self._older_than(IDLE)
        self._needed = 0  # waited for once; a store that lost it will not find it again

    def health(self) -> Health:
        """Tell what was counted so far; no I/O."""
        return Health(
            reads=self._reads,
            stale_reads=self._stale,
            failed_reads=self._failed,
            last_error=self._last_error,
            breaker="open" if self._broken else "closed",
            resets=self._resets,
            last_reset=self._last_reset,
            version=None if self._read_at is None else self._snapshot.version,
            age=self._age(),
            pushed=self._feed is not None and self._feed.live,
        )

    async def aclose(self) -> None:
        """Stop a refresh that is under way on this loop, and begin none for what is told."""
        if self._feed is not None:
            self.unwatched()
        task = self._tasks.get(asyncio.get_running_loop())
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    def _older_than(self, seconds: float) -> bool:
        age = self._age()
        return age is None or age > seconds or self._snapshot.version < self._needed

    def _age(self) -> float | None:
        return None if self._read_at is None else time.monotonic() - self._read_at

    def _refreshing(self) -> asyncio.Task[None]:
        """Give the one refresh of this loop, which is started if there is none."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None or task.done():
            # an empty context: the caller's tracing and streaming are none of this task's business
            task = loop.create_task(self._look(), context=contextvars.Context())
            # it may begin without a call, and a loop that is closed meanwhile is nobody's fault
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._tasks[loop] = task
        return task

    async def _look(self) -> None:
        began = time.monotonic()
        try:
            # a look that hangs must end, too
            async with asyncio.timeout(max(self._patience, GIVE_UP)):
                stored = await self._read(self.held)
                self.offer(self.empty if stored is None else stored, began=began)
        except Exception as error:  # noqa: BLE001 - fail open: the agent goes on with what there is
            self._fail(reason_of(error))

    def _fail(self, reason: str) -> None:
        self._failed += 1
        self._failed_in_a_row += 1
        self._failed_at = time.monotonic()
        self._last_error = reason


def _kind_of_reset(held: ExperienceSet, new: ExperienceSet) -> Reset:
    if not new.version:
        return "lost"
    return "restored" if new.epoch == held.epoch else "replaced"
