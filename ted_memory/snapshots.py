"""The cached snapshot of one namespace: what keeps the store off an agent's path."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable

from ted_memory.models import ExperienceSet, Frozen

IDLE = 2.0  # seconds; an older snapshot is worth waiting for, see `Snapshots.hot`

Read = Callable[[ExperienceSet | None], Awaitable[ExperienceSet]]


class Health(Frozen):
    """What the hot path has seen so far. ``age`` is the snapshot's, in seconds; None before the first read."""

    reads: int = 0
    stale_reads: int = 0
    failed_reads: int = 0
    last_error: str = ""
    version: int | None = None
    age: float | None = None


class Snapshots:
    """Serves a snapshot at once and looks at the store beside the call.

    `read` is the fast read, `patience` the seconds that a caller waits for it at most, `refresh` the age in seconds
    at which a snapshot is looked at again.
    """

    def __init__(self, read: Read, empty: ExperienceSet, *, refresh: float, patience: float) -> None:
        self._read = read
        self._refresh = refresh
        self._patience = patience
        self._snapshot = empty
        self._read_at: float | None = None
        self._needed = 0
        self._task: asyncio.Task[None] | None = None
        self._reads = self._stale = self._failed = 0
        self._last_error = ""

    @property
    def held(self) -> ExperienceSet | None:
        """The snapshot, or None before the first successful read."""
        return None if self._read_at is None else self._snapshot

    def keep(self, snapshot: ExperienceSet) -> None:
        """Take a set that was just read; one that is older than what is held changes nothing."""
        held = self._snapshot
        if snapshot.epoch != held.epoch:
            self._snapshot, self._needed = snapshot, 0
        elif snapshot.version >= held.version:
            self._snapshot = snapshot
        self._read_at = time.monotonic()

    def need(self, version: int) -> None:
        """Make the next caller wait for this version, as after an idle time: it was just committed here."""
        self._needed = max(self._needed, version)

    async def hot(self) -> ExperienceSet:
        """Return what there is; wait for the store `patience` seconds at most, and only after an idle time."""
        self._reads += 1
        if self._older_than(self._refresh):
            self._refreshing()
            if self._older_than(IDLE):
                await self._wait()
        return self._snapshot

    async def _wait(self) -> None:
        deadline, failed = time.monotonic() + self._patience, self._failed
        # a refresh that was under way may have begun too early: then another one follows
        while self._older_than(IDLE) and self._failed == failed:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await asyncio.wait({self._refreshing()}, timeout=left)
        self._stale += self._older_than(IDLE)
        self._needed = 0  # waited for once; a store that lost it will not find it again

    def health(self) -> Health:
        """Return the counters; no I/O."""
        return Health(
            reads=self._reads,
            stale_reads=self._stale,
            failed_reads=self._failed,
            last_error=self._last_error,
            version=None if self._read_at is None else self._snapshot.version,
            age=self._age(),
        )

    async def aclose(self) -> None:
        """Stop a refresh that is under way on this loop."""
        task = self._task
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait({task})

    def _older_than(self, seconds: float) -> bool:
        age = self._age()
        return age is None or age > seconds or self._snapshot.version < self._needed

    def _age(self) -> float | None:
        return None if self._read_at is None else time.monotonic() - self._read_at

    def _refreshing(self) -> asyncio.Task[None]:
        """Return the one refresh of this loop, started if there is none."""
        task, loop = self._task, asyncio.get_running_loop()
        if task is None or task.done() or task.get_loop() is not loop:
            # an empty context: the caller's tracing and streaming are none of this task's business
            task = loop.create_task(self._look(), context=contextvars.Context())
            self._task = task
        return task

    async def _look(self) -> None:
        try:
            self.keep(await self._read(self.held))
        except Exception as error:  # noqa: BLE001 - fail open: whatever it is, the agent goes on with what there is
            self._failed += 1
            self._last_error = str(error)
