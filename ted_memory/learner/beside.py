"""What a learner does beside its episodes: it takes steps of trials that are due, and replays.

Both go on all the time, in tasks of their own, over all namespaces in turn.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ted_memory.errors import ModelError, ModelRefused, StoreUnavailable
from ted_memory.learner.report import LearnerReport
from ted_memory.learner.spaces import Space, Spaces
from ted_memory.learner.trials import look

TICK = 0.5  # seconds between looks at trials, and between rounds of replays that had nothing to do
# Seconds in which nothing is replayed while the student does not answer: doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass
class Beside:
    """Trials and replays, for one learner.

    Attributes:
        spaces: the namespaces.
        holder: the learner's name on leases.
        report: what was done goes there.
        note: is told of errors.
        must_pause: tells that the learner's episodes get no answers; nothing is replayed then. The
            learner in turn does not pause for replays: the teacher that its episodes need may
            answer when the student does not.
    """

    spaces: Spaces
    holder: str
    report: LearnerReport
    note: Callable[[BaseException], None]
    must_pause: Callable[[], bool]
    _pause: float = FIRST_PAUSE
    _paused_until: float = 0.0
    _refused: str = ""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look_always(self) -> None:
        """Look at the trials of every namespace, again and again."""
        while True:
            await self.look()
            await asyncio.sleep(TICK)

    async def look(self) -> None:
        """Look at the trials of every namespace once, whatever is wrong with one of them."""
        try:
            for name in await self.spaces.names():
                with self.spaces.by_itself(name):
                    space = self.spaces.of(name)
                    try:
                        _, space.known = await look(
                            space.memory, self.holder, space.known, self.report.steps
                        )
                    finally:
                        self.report.keep_latest()
        except StoreUnavailable as error:
            self.note(error)

    async def replay_always(self) -> None:
        """Replay what waits for evidence, in every namespace, again and again."""
        while True:
            if not await self._round():
                await asyncio.sleep(TICK)

    async def replay_all(self, stopping: asyncio.Event) -> None:
        """Replay until nothing is left, nothing gets an answer, or ``stopping`` is set."""
        # an empty context: the caller's tracing and streaming are none of this work's business
        work = asyncio.create_task(self._rounds(), context=contextvars.Context())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            work.cancel()
            stop.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)

    async def _rounds(self) -> None:
        for space in self.spaces.made():
            space.replayer.reach.reload()  # what was settled out of turn is in it, too
        while await self._round():
            await self.look()

    async def _round(self) -> bool:
        """Replay a few pairs in each namespace; tell whether there may be more to do at once."""
        goes_on = False
        async with self._turn:  # at the end two ask: side by side they would ask for the same pairs
            try:
                for name in await self.spaces.names():
                    if self.must_pause() or time.monotonic() < self._paused_until:
                        return False
                    with self.spaces.by_itself(name):
                        goes_on |= await self._round_of(self.spaces.of(name))
            except StoreUnavailable as error:
                self.note(error)
                return False
        return goes_on

    async def _round_of(self, space: Space) -> bool:
        if await self.spaces.is_over_budget(space):
            return False
        counted = space.replayer.counted
        try:
            done = await space.replayer.replay_some(space.memory.settings.episodes_at_once)
        except ModelError as error:
            self._is_away(error)
            return False
        finally:
            self.report.replayed += space.replayer.counted - counted
        if done.trouble:
            self._is_away(ModelError(f"replays got no answer: {done.trouble}"))
        elif space.replayer.counted > counted:
            self._is_back()
        return done.goes_on

    def _is_away(self, error: ModelError) -> None:
        """Replay nothing for a while, longer each time: the provider refuses or does not answer."""
        if isinstance(error, ModelRefused):
            self.report.refused = self._refused = str(error)
        self.note(error)
        self._paused_until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _is_back(self) -> None:
        """Take back what the report says of a refusal, if it was ours, and the length of pauses."""
        self._pause = FIRST_PAUSE
        if self._refused and self.report.refused == self._refused:
            self.report.refused = ""
        self._refused = ""
