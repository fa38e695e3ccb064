"""What agents did, on its way to the store: a bounded buffer that is sent in batches, off every agent's path."""

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ted_memory.episodes import Episode, Feedback, Verdict
from ted_memory.errors import StoreError, TedMemoryError
from ted_memory.models import Message
from ted_memory.protocols import CreditRules, EpisodeLog, RecordLimits
from ted_memory.redaction import redact as default_redact
from ted_memory.settings import Settings

EVERY = 0.2  # seconds between batches
BATCH = 100  # episodes
LONGEST_PAUSE = 5.0  # seconds between tries while the store cannot be reached
ABANDONED = 300.0  # seconds after which a run that was begun and said nothing more counts as abandoned
SETTLED = 2.0  # seconds for which a failed run may still come to a good end, by a middleware that tries again
CUT = " [... cut]"

Redact = Callable[[str], str]
Images = Mapping[str, bytes]
Make = Callable[[], tuple[Episode, Images]]
"""Builds an episode: called when it is sent, not on the agent's path."""

_LOG = logging.getLogger("ted_memory")


class Recorder:
    """The buffer of one namespace in one process.

    What finds it full is dropped and counted. What the store does not take stays in it, and is sent again.
    """

    def __init__(self, log: EpisodeLog, settings: Settings, namespace: str, redact: Redact | None) -> None:
        self._log = log
        self._settings = settings
        self._namespace = namespace
        self._redact = redact or default_redact
        self._buffer: deque[Make] = deque()
        self._held: dict[str, tuple[float, Make]] = {}
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self.recorded = self.dropped = self.broken = 0
        self.last_error = ""

    @property
    def buffered(self) -> int:
        """Episodes that are not at the store yet."""
        return len(self._buffer) + len(self._held)

    def put(self, run_id: str, make: Make) -> None:
        """Take in a run that has ended. Within an event loop; takes microseconds."""
        self._held.pop(run_id, None)
        if len(self._buffer) >= self._settings.buffer:
            self.dropped += 1
            return
        self._buffer.append(make)
        self._send_soon()

    def hold(self, run_id: str, make: Make, seconds: float = ABANDONED) -> None:
        """Take in a run that may go on: it counts when nothing more was said of it for so long."""
        if len(self._held) >= self._settings.buffer and run_id not in self._held:
            self.dropped += 1
            return
        self._held[run_id] = (time.monotonic() + seconds, make)
        self._send_soon()

    def _send_soon(self) -> None:
        task = self._task
        if task is None or task.done() or task.get_loop().is_closed():
            loop = asyncio.get_running_loop()
            # an empty context: the caller's tracing and streaming are none of this task's business
            self._task = loop.create_task(self._send(), context=contextvars.Context())

    async def _send(self) -> None:
        pause = EVERY
        while self.buffered:
            await asyncio.sleep(pause if self._buffer else 1.0)
            try:
                await self._send_all()
                pause = EVERY
            except TedMemoryError as error:
                self.last_error = str(error)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def flush(self, *, all: bool = False) -> None:
        """Send what has ended; with ``all`` also runs that are under way, as abandoned.

        Raises:
            StoreError: the store cannot be reached; what was not sent is kept.
        """
        await self._send_all(until=float("inf") if all else time.monotonic() + SETTLED)

    async def aclose(self) -> None:
        """Stop sending, and try once more to send all."""
        if self._task is not None and not self._task.done() and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait({self._task})
        if self.buffered:
            try:
                await self.flush(all=True)
            except StoreError as error:
                self.dropped += self.buffered
                _LOG.warning("%d recorded runs of %r are lost: %s", self.buffered, self._namespace, error)
                self._buffer.clear()
                self._held.clear()

    async def _send_all(self, until: float | None = None) -> None:
        self._let_go(time.monotonic() if until is None else until)
        while self._buffer:
            with self._lock:
                batch = [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))]
            try:
                await self._send_batch(batch)
            except BaseException:  # also a cancellation: what is sent twice is taken in once
                self._buffer.extendleft(reversed(batch))
                raise

    def _let_go(self, until: float) -> None:
        for run_id in [id for id, (due, _) in list(self._held.items()) if due <= until]:
            held = self._held.pop(run_id, None)
            if held is not None:
                self._buffer.append(held[1])

    async def _send_batch(self, batch: Sequence[Make]) -> None:
        episodes, images = list[Episode](), dict[str, bytes]()
        for make in batch:
            try:
                episode, own = make()
                episodes.append(self._tidy(episode))
            except Exception as error:  # noqa: BLE001 - a run that cannot be told, or a user's hook that raises
                self.broken += 1
                self.last_error = f"a run could not be recorded: {' '.join(str(error).split())[:200]}"
                continue
            images.update(own)
        if not episodes:
            return
        s = self._settings
        limits = RecordLimits(
            wait=s.feedback_wait,
            max_episodes=s.max_episodes,
            max_bytes=s.max_episode_bytes,
            rate_limit=s.rate_limit,
        )
        done, early = await self._log.record(self._namespace, episodes, images, limits)
        self.recorded += done.recorded
        self.dropped += done.dropped + done.limited
        for run_id in early:
            score = await self._log.latest_score(self._namespace, run_id)
            await self.credit(run_id, score)

    def _tidy(self, episode: Episode) -> Episode:
        """Return the episode without secrets, in the size that is allowed, and of this namespace."""
        clean = _changed(episode, self._redact).model_copy(update={"namespace": self._namespace})
        return fit(clean, self._settings.episode_size)

    async def give_feedback(self, feedback: Feedback) -> Verdict:
        """Send feedback; what is still in the buffer goes first."""
        if self._buffer or feedback.run_id in self._held:
            await self.flush()
        clean = feedback.model_copy(
            update={"comment": self._redact(feedback.comment), "correction": self._redact(feedback.correction)}
        )
        score = clean.score
        return await self._log.feedback(self._namespace, clean.run_id, clean, score, self._rules())

    async def credit(self, run_id: str, score: float | None, *, first: bool = False) -> Verdict:
        """Count a score for what a run had seen. With ``first`` only if nothing was counted for it yet."""
        return await self._log.feedback(self._namespace, run_id, None, score, self._rules(first=first))

    def _rules(self, *, first: bool = False) -> CreditRules:
        s = self._settings
        most = -(-s.trial_outcomes // s.min_principals) if s.min_principals > 1 else 0
        return CreditRules(rate_limit=s.rate_limit, kept=s.usage_kept, most=most, first=first)


def fit(episode: Episode, size: int) -> Episode:
    """Return an episode of at most about so many bytes: older messages go first, then longer texts are cut."""
    for longest, messages in ((None, None), (size // 4, 32), (size // 16, 12), (size // 64, 6), (size // 256, 2)):
        made = episode if messages is None else episode.model_copy(update=_last(episode, messages))
        if longest is not None:
            made = _changed(made, lambda text, most=longest: text if len(text) <= most else text[:most] + CUT)  # type: ignore[misc]
        if len(made.model_dump_json(exclude_defaults=True).encode()) <= size:
            return made
    return made


def _last(episode: Episode, count: int) -> dict[str, object]:
    return {
        "input": episode.input[-count:],
        "output": episode.output[-count:],
        "tools": episode.tools[-count:],
        "tags": episode.tags[:count],
    }


def _changed(episode: Episode, change: Callable[[str], str]) -> Episode:
    """Return an episode with all its texts changed."""
    return episode.model_copy(
        update={
            "input": tuple(_message(m, change) for m in episode.input),
            "output": tuple(_message(m, change) for m in episode.output),
            "tools": tuple(change(text) for text in episode.tools),
            "error": change(episode.error),
        }
    )


def _message(message: Message, change: Callable[[str], str]) -> Message:
    if isinstance(message.content, str):
        return message.model_copy(update={"content": change(message.content)})
    blocks = tuple(
        {**block, "text": change(str(block["text"]))} if block.get("type") == "text" else block
        for block in message.content
    )
    return message.model_copy(update={"content": blocks})
