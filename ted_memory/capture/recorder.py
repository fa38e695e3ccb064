"""The buffer of what agents did: bounded, and sent to the store in batches, off their path."""

import asyncio
import contextvars
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from ted_memory import telemetry
from ted_memory.capture.cleaning import Cleaner
from ted_memory.capture.parcel import Ended, Make, pack
from ted_memory.capture.said import Said
from ted_memory.capture.texts import one_line
from ted_memory.episodes import Feedback, Verdict
from ted_memory.errors import InvalidInput, StoreError, StoreUnavailable
from ted_memory.protocols import CreditRules, EpisodeQueue, RecordLimits
from ted_memory.settings import RecordingSettings

EVERY = 0.2  # seconds between batches
BATCH = 100  # episodes
LONGEST_PAUSE = 5.0  # seconds between tries while the store cannot be reached
ABANDONED = 300.0
"""Seconds after which a run that was begun counts as abandoned, if nothing more is heard of it."""
SETTLED = 10.0
"""Seconds for which a failed run may still be tried again: longer than a retry waits."""

Redact = Callable[[str], str]
_LOG = logging.getLogger("ted_memory")


@dataclass(frozen=True)
class Hooks:
    """A user's functions that change a run before it leaves the process.

    ``redact`` masks texts, ``identify`` stands in for principals and conversations; see
    `ted_memory.wiring.open_memory`.
    """

    redact: Redact | None = None
    identify: Callable[[str], str] | None = None


class Recorder:
    """The buffer of one namespace in one process.

    What finds the buffer full is dropped and counted. An episode stays in it until the store has
    taken it, so nothing is lost whatever ends a try; what is sent twice is taken in once.
    """

    def __init__(
        self, log: EpisodeQueue, settings: RecordingSettings, namespace: str, hooks: Hooks
    ) -> None:
        self._log = log
        self._settings = settings
        self._namespace = namespace
        # most programs that import us record nothing
        from ted_memory.redaction import redact as default_redact

        redact, identify = hooks.redact or default_redact, hooks.identify or str
        self._cleaner = Cleaner(namespace, settings.episode_size, redact, identify)
        self.recorded = self.dropped = self.broken = self.removed = 0
        self.last_error = ""
        self._begin_anew()
        _ALL.add(self)

    def _begin_anew(self) -> None:
        """Begin with an empty buffer, a new lock and no task.

        In a forked child, too: the parent's lock and task do not work there, and the parent sends
        what there was.
        """
        self._buffer: dict[str, Ended] = {}
        self._sizes: dict[str, int] = {}  # bytes of what the buffer holds, about
        self._size = 0  # of all of them
        self._held: dict[str, tuple[float, Make]] = {}  # runs under way, and when they are due
        # begun when no more could be held, and when they are due: they are dropped then
        self._beyond: dict[str, float] = {}
        self._owed: set[str] = set()  # runs for which feedback came before they did
        self._said: list[Said] = []  # oldest first
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._pause, self._next = EVERY, 0.0

    @property
    def buffered(self) -> int:
        """Runs that are under way, or have ended and are not at the store yet."""
        return len(self._buffer) + len(self._held) + len(self._beyond)

    def counts(self) -> dict[str, int]:
        """What became of runs, by the names of `Health`."""
        return {
            "recorded": self.recorded,
            "dropped": self.dropped + self.broken,
            "buffered": self.buffered,
            "lessons_removed": self.removed,
        }

    def put(self, run_id: str, make: Make, *, size: int = 0) -> None:
        """Take in a run that has ended. Within an event loop; takes microseconds.

        Args:
            run_id: names the run.
            make: builds its episode, when it is sent.
            size: about how many bytes it has.
        """
        with self._lock:
            self._held.pop(run_id, None)
            self._beyond.pop(run_id, None)
            earlier = self._buffer.get(run_id)
            if earlier is None and self._is_full(size):
                self._drop(1)
            elif earlier is None or not earlier[1]:
                self._drop_size(run_id)
                self._buffer[run_id] = (make, True)
                self._sizes[run_id] = size
                self._size += size
        self._send_soon()

    def _is_full(self, more: int) -> bool:
        size = self._size + sum(said.size for said in self._said)
        return (
            size + more > self._settings.buffer_bytes
            or len(self._buffer) + len(self._said) >= self._settings.buffer_episodes
        )

    def _drop_size(self, run_id: str) -> None:
        self._size -= self._sizes.pop(run_id, 0)

    def hold(self, run_id: str, make: Make, seconds: float = ABANDONED) -> None:
        """Take in a run that may go on: it is sent when nothing is heard of it for `seconds`."""
        due = time.monotonic() + seconds
        with self._lock:
            if not self._buffer.get(run_id, (make, True))[1]:
                del self._buffer[run_id]
                self._drop_size(run_id)
            self._beyond.pop(run_id, None)
            if run_id in self._held or len(self._held) < self._settings.buffer_episodes:
                self._held[run_id] = (due, make)
            else:
                self._beyond[run_id] = due
        self._send_soon()

    def _send_soon(self) -> None:
        task = self._task
        # the task of a loop that stands still sends nothing
        if task is None or task.done() or not task.get_loop().is_running():
            # an empty context: the caller's tracing and streaming are none of this task's business
            self._task = asyncio.get_running_loop().create_task(
                self._send(), context=contextvars.Context()
            )

    async def _send(self) -> None:
        while self._has_work():
            # counted from the last batch: a program with a short loop for each request would never
            # get to it else
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))
            try:
                await self._send_all(time.monotonic())
                self._pause = EVERY
            except Exception as error:  # noqa: BLE001 - whatever it is, what was not sent is kept
                self.last_error = one_line(error)
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._next = time.monotonic() + self._pause

    def _has_work(self) -> bool:
        with self._lock:
            if self.buffered or self._owed or self._said:
                return True
            if self._task is asyncio.current_task():
                self._task = None  # what is put in now begins another one
            return False

    async def flush(self, *, all: bool = False) -> None:
        """Send all that has ended, and all feedback.

        With ``all`` runs that are under way are sent, too, as abandoned.

        Raises:
            StoreError: the store cannot be reached; what was not sent is kept.
        """
        await self._send_all(float("inf") if all else time.monotonic() + SETTLED)

    async def aclose(self) -> None:
        """Stop sending, and try once more to send all."""
        task = self._task
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait({task})
        if self.buffered or self._owed or self._said:
            try:
                await self.flush(all=True)
            except StoreError as error:
                self._drop(self.buffered)
                words = f" and {len(self._said)} words of feedback" if self._said else ""
                _LOG.warning(
                    "%d recorded runs%s of %r are lost: %s",
                    self.buffered,
                    words,
                    self._namespace,
                    error,
                )
                self._begin_anew()

    def _my_turn(self) -> asyncio.Lock:
        """The lock of this event loop, under which its tasks send one after the other.

        Two loops may send the same runs: each is taken in once.
        """
        loop, turn = asyncio.get_running_loop(), self._turn
        if turn is None or turn[0] is not loop:
            self._turn = turn = (loop, asyncio.Lock())
        return turn[1]

    async def _send_all(self, until: float) -> None:
        async with self._my_turn():
            while waiting := self._waiting(until):
                await self._send_some(waiting)
            await self._pay()
            await self._send_said()

    def _waiting(self, until: float) -> list[tuple[str, Ended]]:
        """The oldest runs that have ended by ``until`` (monotonic seconds), one batch at most.

        Runs under way that are due by then count as ended.
        """
        with self._lock:
            for run_id in [id for id, due in self._beyond.items() if due <= until]:
                del self._beyond[run_id]
                self._drop(1)
            room = self._settings.buffer_episodes - len(self._buffer)
            due_ones = [id for id, (due, _) in self._held.items() if due <= until]
            for run_id in due_ones[: max(room, 0)]:
                self._buffer.setdefault(run_id, (self._held.pop(run_id)[1], False))
            return list(islice(self._buffer.items(), BATCH))

    async def _send_some(self, waiting: Sequence[tuple[str, Ended]]) -> None:
        """Send the first of these, as many as one batch holds."""
        parcel, s = await asyncio.to_thread(pack, waiting, self._cleaner), self._settings
        self.last_error = parcel.trouble or self.last_error
        limits = RecordLimits(
            wait=s.feedback_wait,
            max_episodes=s.max_episodes,
            max_bytes=s.max_episode_bytes,
            rate_limit=s.rate_limit,
        )
        if parcel.episodes:
            done, early = await self._log.record(
                self._namespace, parcel.episodes, parcel.images, limits
            )
            if done.repeated:  # an earlier try may have ended before its answer came
                early = tuple(episode.run_id for episode in parcel.episodes)
            self._owed.update(early)
            refused = done.dropped + done.limited
            with self._lock:
                taken = max(self._forget(parcel.packed) - refused, 0)
                self.recorded += taken
                self._drop(refused)
            telemetry.recorded(recorded=taken)
        with self._lock:
            broken = self._forget(parcel.broken)
            self.broken += broken
        telemetry.recorded(broken=broken)

    def _drop(self, runs: int) -> None:
        """Count runs that are lost."""
        self.dropped += runs
        telemetry.recorded(dropped=runs)

    def _forget(self, runs: Sequence[tuple[str, Ended]]) -> int:
        """Take runs out of the buffer, unless they have another outcome by now; count them."""
        gone = [id for id, ended in runs if self._buffer.get(id) is ended]
        for id in gone:
            del self._buffer[id]
            self._drop_size(id)
        return len(gone)

    async def _pay(self) -> None:
        """Credit what had been said of runs before they came."""
        for run_id in list(self._owed):
            [told] = await self._log.told(self._namespace, [run_id])
            await self.credit_told(run_id, told)
            self._owed.discard(run_id)

    def stored(self, who: str) -> str:
        """What stands for a principal or a conversation in the store."""
        return self._cleaner.stored(who)

    async def give_feedback(self, feedback: Feedback) -> Verdict:
        """Send feedback, after its run and earlier feedback on it where these still wait.

        Raises:
            InvalidInput: a hook failed on it.
            StoreError: the store cannot be reached or read; the feedback is not kept.
        """
        clean = self._clean(feedback)
        await self._send_first(clean.run_id)
        return await self._give(clean)

    def keep_feedback(self, feedback: Feedback) -> Said:
        """Take in feedback, to be sent as runs are (see `send_said`). Within an event loop.

        Raises:
            InvalidInput: a hook failed on it.
            StoreUnavailable: there is no place for it, since the store takes nothing.
        """
        said = Said(self._clean(feedback))
        with self._lock:
            if self._is_full(said.size):
                raise StoreUnavailable(
                    "the buffer is full, since the store takes nothing; this was not kept"
                )
            self._said.append(said)
        self._send_soon()
        return said

    async def send_said(self) -> None:
        """Send feedback now, not with the next batch; it stays while the store is away."""
        try:
            async with self._my_turn():
                await self._send_said()
        except Exception as error:  # noqa: BLE001 - whatever it is, what was not sent is kept
            self.last_error = one_line(error)

    async def _send_said(self) -> None:
        while self._said:
            said = self._said[0]
            await self._send_run(said.feedback.run_id)
            try:
                said.verdict = await self._give(said.feedback)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - refused for good, and others wait behind it
                said.trouble = error
                self.last_error = one_line(error)
                _LOG.warning("feedback could not be noted: %s", self.last_error)
            with self._lock:
                if said in self._said:
                    self._said.remove(said)

    async def _give(self, feedback: Feedback) -> Verdict:
        verdict = await self._log.feedback(
            self._namespace, feedback.run_id, feedback, feedback.score, self._rules()
        )
        telemetry.feedback_given(self._namespace, feedback, verdict)
        return verdict

    def _clean(self, feedback: Feedback) -> Feedback:
        """Clean feedback.

        Raises:
            InvalidInput: a hook of the user's raised.
        """
        try:
            return self._cleaner.feedback(feedback)
        except Exception as error:
            raise InvalidInput(
                f"a hook failed on feedback ({one_line(error)}); nothing was counted"
            ) from error

    async def _send_first(self, run_id: str) -> None:
        """Send one run that has ended, and what waits of what was said."""
        was_said = any(said.feedback.run_id == run_id for said in self._said)
        if was_said or self._ended(run_id) is not None:
            async with self._my_turn():
                await self._send_run(run_id)
                if was_said:  # a later word takes the place of an earlier one
                    await self._send_said()

    def _ended(self, run_id: str) -> Ended | None:
        """A run that waits to be sent; also one that has failed and may still be tried again."""
        with self._lock:
            held = self._held.get(run_id)
            if held is not None and held[0] <= time.monotonic() + SETTLED:
                self._buffer.setdefault(run_id, (self._held.pop(run_id)[1], False))
            return self._buffer.get(run_id)

    async def _send_run(self, run_id: str) -> None:
        ended = self._ended(run_id)
        if ended is not None:
            await self._send_some([(run_id, ended)])
            await self._pay()

    async def credit(self, run_id: str, score: float | None, *, first: bool = False) -> Verdict:
        """Count a score for the lessons that a run saw or missed, as its principal's word.

        With ``first`` only where nothing was counted for the run yet.
        """
        return await self._log.feedback(
            self._namespace, run_id, None, score, self._rules(first=first)
        )

    async def credit_told(self, run_id: str, told: Sequence[Feedback]) -> None:
        """Count the latest score that came before its run did, as the word of whoever gave it.

        Only where nothing is counted yet: what was said since then has been counted at once.
        """
        if graded := [f for f in told if f.score is not None]:
            said = {"speaker": graded[-1].principal, "reviewer": graded[-1].reviewer}
            rules = self._rules(first=True).model_copy(update=said)
            await self._log.feedback(self._namespace, run_id, None, graded[-1].score, rules)

    def _rules(self, *, first: bool = False) -> CreditRules:
        s = self._settings
        return CreditRules(rate_limit=s.rate_limit, kept=s.usage_decay, first=first)


_ALL: weakref.WeakSet[Recorder] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=lambda: list(map(Recorder._begin_anew, _ALL)))
