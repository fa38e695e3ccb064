"""What agents did, on its way to the store: a bounded buffer that is sent in batches, off every agent's path."""

import asyncio
import contextvars
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ted_memory.capture.said import Said
from ted_memory.capture.texts import cut, fit, size_of, storable, with_texts, without_block
from ted_memory.episodes import ANONYMOUS, Episode, Feedback, Verdict
from ted_memory.errors import InvalidInput, StoreError, StoreUnavailable
from ted_memory.protocols import CreditRules, EpisodeQueue, RecordLimits
from ted_memory.redaction import redact as default_redact
from ted_memory.settings import Settings

EVERY = 0.2  # seconds between batches
BATCH = 100  # episodes
# then a batch is full too: neither server nor event loop does anything else meanwhile
BATCH_BYTES = 250_000
LONGEST_PAUSE = 5.0  # seconds between tries while the store cannot be reached
# seconds after which a run that was begun and said nothing more counts as abandoned
ABANDONED = 300.0
SETTLED = 10.0  # seconds for which a failed run may still be tried again: longer than a retry waits
# seconds between texts: an agent that waits for the interpreter gets it now, not 5 ms later
STEP_ASIDE = 0.00002

Redact = Callable[[str], str]
Images = Mapping[str, bytes]
Make = Callable[[], tuple[Episode, Images]]
"""Builds an episode: called in a thread when it is sent, not on the agent's path."""
Ended = tuple[Make, bool]
"""A run that has ended, and whether it said so itself: else it may still go on, and come to another end."""

_LOG = logging.getLogger("ted_memory")


@dataclass(frozen=True)
class Hooks:
    """What of a user's changes a run before it leaves the process; see `ted_memory.wiring.open_memory`."""

    redact: Redact | None = None
    identify: Callable[[str], str] | None = None


@dataclass
class _Parcel:
    """Episodes that go together, and what became of the runs that they were made of."""

    episodes: list[Episode] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    told: list[tuple[str, Ended]] = field(default_factory=list)
    broken: list[tuple[str, Ended]] = field(default_factory=list)
    size: int = 0


class Recorder:
    """The buffer of one namespace in one process.

    What finds it full is dropped and counted. An episode stays in it until the store has taken it,
    so that nothing is lost whatever ends a try; what is sent twice is taken in once.
    """

    def __init__(self, log: EpisodeQueue, settings: Settings, namespace: str, hooks: Hooks) -> None:
        self._log = log
        self._settings = settings
        self._namespace = namespace
        self._redact = hooks.redact or default_redact
        self._identify = hooks.identify or str
        self.recorded = self.dropped = self.broken = self.removed = 0
        self.last_error = ""
        self._begin_anew()
        _ALL.add(self)

    def _begin_anew(self) -> None:
        """Empty it, with a lock and a task that work: also in a forked child, where the parent sends what there was."""
        self._buffer: dict[str, Ended] = {}
        self._sizes: dict[str, int] = {}  # of what it holds: about so many bytes
        self._held: dict[str, tuple[float, Make]] = {}
        # begun when no more could be held: if they do not end, they are dropped
        self._beyond: dict[str, float] = {}
        self._owed: set[str] = set()  # runs for which feedback had come before
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
        """Return what became of runs, by the names of `Health`."""
        return {
            "recorded": self.recorded,
            "dropped": self.dropped + self.broken,
            "buffered": self.buffered,
            "lessons_removed": self.removed,
        }

    def put(self, run_id: str, make: Make, *, size: int = 0) -> None:
        """Take in a run that has ended, of about so many bytes. Within an event loop; takes microseconds."""
        with self._lock:
            self._held.pop(run_id, None)
            self._beyond.pop(run_id, None)
            earlier = self._buffer.get(run_id)
            if earlier is None and self._is_full(size):
                self.dropped += 1
            elif earlier is None or not earlier[1]:
                self._buffer[run_id] = (make, True)
                self._sizes[run_id] = size
        self._send_soon()

    def _is_full(self, more: int) -> bool:
        size = sum(self._sizes.values()) + sum(said.size for said in self._said)
        return (
            size + more > self._settings.buffer_bytes
            or len(self._buffer) + len(self._said) >= self._settings.buffer
        )

    def hold(self, run_id: str, make: Make, seconds: float = ABANDONED) -> None:
        """Take in a run that may go on: it counts when nothing more was said of it for so long."""
        due = time.monotonic() + seconds
        with self._lock:
            if not self._buffer.get(run_id, (make, True))[1]:
                del self._buffer[run_id]
                self._sizes.pop(run_id, None)
            self._beyond.pop(run_id, None)
            if run_id in self._held or len(self._held) < self._settings.buffer:
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
                self.last_error = _one_line(error)
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
        """Send what has ended, and what was said; with ``all`` also runs that are under way, as abandoned.

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
                self.dropped += self.buffered
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
        """Return the lock of this loop: its tasks send one after the other. Two loops may send the same, in vain."""
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
        """Return the oldest runs that have ended, those too of which nothing was heard until then."""
        with self._lock:
            for run_id in [id for id, due in self._beyond.items() if due <= until]:
                del self._beyond[run_id]
                self.dropped += 1
            room = self._settings.buffer - len(self._buffer)
            due_ones = [id for id, (due, _) in self._held.items() if due <= until]
            for run_id in due_ones[: max(room, 0)]:
                self._buffer.setdefault(run_id, (self._held.pop(run_id)[1], False))
            return list(islice(self._buffer.items(), BATCH))

    async def _send_some(self, waiting: Sequence[tuple[str, Ended]]) -> None:
        """Send the first of these, as many as one batch holds."""
        parcel, s = await asyncio.to_thread(self._pack, waiting), self._settings
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
            # of those that had come before, an earlier try may have ended before it could be told
            self._owed.update(early if not done.repeated else (e.run_id for e in parcel.episodes))
            refused = done.dropped + done.limited
            with self._lock:
                self.recorded += max(self._forget(parcel.told) - refused, 0)
                self.dropped += refused
        with self._lock:
            self.broken += self._forget(parcel.broken)

    def _forget(self, runs: Sequence[tuple[str, Ended]]) -> int:
        """Take runs out of the buffer, unless there is more to tell of them by now; return how many were there."""
        gone = [id for id, ended in runs if self._buffer.get(id) is ended]
        for id in gone:
            del self._buffer[id]
            self._sizes.pop(id, None)
        return len(gone)

    async def _pay(self) -> None:
        """Credit what had been said of runs before they came."""
        for run_id in list(self._owed):
            [told] = await self._log.told(self._namespace, [run_id])
            await self.credit_told(run_id, told)
            self._owed.discard(run_id)

    def _pack(self, waiting: Sequence[tuple[str, Ended]]) -> _Parcel:
        """Build episodes. In a thread: looking through long texts takes a while."""
        parcel = _Parcel()
        for run_id, ended in waiting:
            try:
                made, images = ended[0]()
                episode = self._tidy(made)
                size = size_of(episode)
            except Exception as error:  # noqa: BLE001 - a run that cannot be told, or a user's hook that raises
                self.last_error = f"a run could not be recorded: {_one_line(error)}"
                parcel.broken.append((run_id, ended))
                continue
            kept = {digest: images[digest] for digest in episode.images if digest in images}
            parcel.episodes.append(episode)
            parcel.told.append((run_id, ended))
            parcel.images.update(kept)
            parcel.size += size + sum(map(len, kept.values()))
            if parcel.size >= BATCH_BYTES:
                break
        return parcel

    def _tidy(self, episode: Episode) -> Episode:
        """Return the episode without secrets and our own block, in the size that is allowed, and of this namespace."""
        most = self._settings.episode_size
        episode = episode.model_copy(
            update={
                "principal": self.stored(episode.principal),
                "thread_id": self.stored(episode.thread_id),
            }
        )
        plain = with_texts(episode, lambda text: storable(without_block(text)))

        def redacted(text: str) -> str:
            time.sleep(STEP_ASIDE)
            return storable(self._redact(text))

        # nobody need look through what would be cut anyway
        clean = with_texts(fit(plain, 2 * most), redacted)
        return fit(clean.model_copy(update={"namespace": self._namespace}), most)

    def stored(self, who: str) -> str:
        """Return what stands for a principal or a conversation in the store."""
        return who if who in {"", ANONYMOUS} else self._identify(who)

    async def give_feedback(self, feedback: Feedback) -> Verdict:
        """Send feedback; its run goes first, if that is still in the buffer, and what was said of it before."""
        told = self._clean(feedback)
        await self._send_first(told.run_id)
        return await self._give(told)

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
        """Send what was said now, and not with the next batch. What a store that is away does not take stays."""
        try:
            async with self._my_turn():
                await self._send_said()
        except Exception as error:  # noqa: BLE001 - whatever it is, what was not sent is kept
            self.last_error = _one_line(error)

    async def _send_said(self) -> None:
        while self._said:
            said = self._said[0]
            await self._send_run(said.feedback.run_id)
            try:
                said.verdict = await self._give(said.feedback)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - it would be refused again, and others wait behind it
                said.trouble = error
                self.last_error = _one_line(error)
                _LOG.warning("feedback could not be noted: %s", self.last_error)
            with self._lock:
                if said in self._said:
                    self._said.remove(said)

    async def _give(self, told: Feedback) -> Verdict:
        return await self._log.feedback(
            self._namespace, told.run_id, told, told.score, self._rules()
        )

    def _clean(self, feedback: Feedback) -> Feedback:
        """Return feedback as it may leave the process. Raises InvalidInput."""
        most = self._settings.episode_size // 4

        def clean(text: str) -> str:
            return storable(self._redact(cut(without_block(text), most)))

        try:
            said = {"comment": clean(feedback.comment), "correction": clean(feedback.correction)}
            said["principal"] = self.stored(feedback.principal)
        except Exception as error:
            raise InvalidInput(
                f"a hook failed on feedback ({_one_line(error)}); nothing was counted"
            ) from error
        return feedback.model_copy(update=said)

    async def _send_first(self, run_id: str) -> None:
        """Send one run that has ended, and what waits of what was said."""
        was_said = any(said.feedback.run_id == run_id for said in self._said)
        if was_said or self._ended(run_id) is not None:
            async with self._my_turn():
                await self._send_run(run_id)
                if was_said:  # a later word takes the place of an earlier one
                    await self._send_said()

    def _ended(self, run_id: str) -> Ended | None:
        """Return a run of the buffer that has ended. Others that failed may still be tried again."""
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
        """Count a score for what a run had seen, as its principal's word; with ``first`` only if it is the first."""
        return await self._log.feedback(
            self._namespace, run_id, None, score, self._rules(first=first)
        )

    async def credit_told(self, run_id: str, told: Sequence[Feedback]) -> None:
        """Count the latest score that was told of a run before it came, as the word of who said it.

        Only where nothing is counted yet: what was said since then has been counted at once.
        """
        if graded := [f for f in told if f.score is not None]:
            said = {"speaker": graded[-1].principal, "reviewer": graded[-1].reviewer}
            rules = self._rules(first=True).model_copy(update=said)
            await self._log.feedback(self._namespace, run_id, None, graded[-1].score, rules)

    def _rules(self, *, first: bool = False) -> CreditRules:
        s = self._settings
        return CreditRules(rate_limit=s.rate_limit, kept=s.usage_kept, first=first)


_ALL: weakref.WeakSet[Recorder] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=lambda: list(map(Recorder._begin_anew, _ALL)))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
