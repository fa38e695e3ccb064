"""The background worker: it claims episodes of live traffic, and has the graph learn from each.

What it does beside that is in `learner.beside`: trials and replays. Any number of learners may work
on one namespace. Each holds what it works on by a lease that it extends (a heartbeat), and whatever
a learner loses or dies over is taken up by another one.
"""

import asyncio
import contextlib
import contextvars
import logging
import secrets
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import Runnable

from ted_memory import telemetry
from ted_memory.distill.profiles import Profile, profile_of
from ted_memory.episodes import Claim
from ted_memory.errors import (
    ClaimLost,
    InvalidInput,
    ModelError,
    ModelRefused,
    NotDurable,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import Judge
from ted_memory.learner.beside import Beside
from ted_memory.learner.episode import NoAnswer, learn_from
from ted_memory.learner.report import LearnerReport
from ted_memory.learner.spaces import Space, SpaceMaker, Spaces
from ted_memory.learner.trials import release_lease
from ted_memory.llm.calls import METER, Calls, Meter, is_transient, one_line
from ted_memory.llm.spend import Budget
from ted_memory.memory.client import TedMemory

Replay = Literal["model", "agent", "none"]

POLL = 0.25  # seconds between looks at a queue that was empty
BEATS = 4  # heartbeats in one lease
# Seconds in which nothing is claimed while the models' provider is down: doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
RETRY_AFTER = 1.0  # seconds before an episode that failed is begun again

_LOG = logging.getLogger("ted_memory")


class Learner:
    """Learns from the traffic of one or many namespaces; any number of processes may do so at once.

    Args:
        memory: the set of one namespace, and the settings for all.
        teacher: chat model; solves and criticises.
        student: the model (or with ``replay="agent"`` the agent) that is to get better.
        grader: see `ted_memory.grading.graders`; live answers in free words want a `Judge`.
        namespaces: ``own``: the memory's; ``all``: those that have traffic; or their names.
        replay: how the student attempts an episode's task again. ``model``: the model answers over
            the recorded tool results, and nothing is done twice in the world; ``agent``: the
            Runnable is run anew, which you declare to be safe; ``none``: not at all, only the live
            run is learned from, and lessons are not tried.
        budget: for each namespace and day (UTC); then episodes wait. Several may pass it a little.
        grade_live: count the grade of a live answer as its outcome where nobody gives feedback.
        profile: how these models are taught; default: what the settings say.

    Raises:
        InvalidInput: ``namespaces`` is another word, or ``replay`` needs a student.
        SettingsError: a prompt of the user's cannot be used.
    """

    report: LearnerReport

    def __init__(
        self,
        memory: TedMemory,
        *,
        teacher: Runnable[Any, Any],
        student: Runnable[Any, Any] | None = None,
        grader: str | Grader = "auto",
        namespaces: Literal["own", "all"] | Sequence[str] = "own",
        replay: Replay = "model",
        budget: Budget | None = None,
        grade_live: bool = True,
        profile: Profile | None = None,
    ) -> None:
        if student is None and replay != "none":
            raise InvalidInput("a learner needs the student, to try lessons with; or replay='none'")
        self.memory = memory
        self.report = LearnerReport()
        self.id = secrets.token_hex(6)
        self._is_judged = isinstance(grader, Judge)
        self._replay = replay
        self._grade_live = grade_live
        make_space = SpaceMaker(
            teacher=teacher,
            student=student if student is not None else teacher,
            grader=grader,
            calls=Calls(memory.settings.concurrency),
            profile=profile or profile_of(memory.settings),
            holder=self.id,
            attempts=replay != "none",
            replays=replay == "model",
        )
        self._spaces = Spaces(memory, namespaces, make_space, budget=budget, note=self._note)
        self._beside = Beside(
            self._spaces, self.id, self.report, self._note, must_pause=self._must_pause
        )
        self._work: dict[asyncio.Task[None], tuple[Space, Claim]] = {}
        self._stopping = asyncio.Event()
        self._turn = 0
        self._pause, self._paused_until = FIRST_PAUSE, 0.0
        self._retry_at = 0.0  # when the last episode that was handed back may be begun again
        self._last_success = 0.0

    def stop(self) -> None:
        """Claim nothing more. `run` returns when what is under way has ended."""
        self._stopping.set()

    async def run(self, *, until_empty: bool = False, grace: float | None = None) -> LearnerReport:
        """Learn until `stop` is called, and return what was done.

        Args:
            until_empty: stop by itself when nothing waits that may be begun now, and what failed
                here was tried again. Or when a provider refuses a model: then ``refused`` of the
                report says which setting to change.
            grace: seconds for which a stop waits for what is under way (default: the lease). What
                is not done by then is given back, and does not count as a failure.

        Raises:
            StoreRefused: the server refuses what a learner does; found out before anything is paid
                for.
            StoreError: the server cannot give what the settings ask for. One that is away is waited
                for.
        """
        self.report.refused = ""
        await self._prove()
        beside = [
            asyncio.create_task(work(), context=contextvars.Context())
            for work in (self._beat_always, self._beside.look_always, self._beside.replay_always)
        ]
        for task in beside:  # neither ends by itself: without heartbeats nothing may go on
            task.add_done_callback(lambda done: None if done.cancelled() else self._stopping.set())
        try:
            await self._claim_always(until_empty=until_empty)
            _raise_if_failed(beside)
            if self._work:
                patience = self.memory.settings.lease_seconds if grace is None else grace
                await asyncio.wait(list(self._work), timeout=patience)
            if until_empty and not self._stopping.is_set():
                await self._beside.replay_all(self._stopping)
                _raise_if_failed(beside)
            # What the last episodes made due. Without it a learner that is only run now and then
            # would never come to it.
            await self._beside.look()
        finally:
            for task in (*beside, *self._work):
                task.cancel()
            await asyncio.gather(*beside, *self._work, return_exceptions=True)
            for space in self._spaces.made():
                with contextlib.suppress(StoreError):
                    await release_lease(space.memory, self.id)
                    await space.replayer.release_lease()
        return self.report

    async def _prove(self) -> None:
        """See that what is learned can be kept, before anything is paid for."""
        try:
            await self._spaces.names()
        except StoreUnavailable as error:  # it is waited for
            self._note(error)

    # --- claiming

    async def _claim_always(self, *, until_empty: bool) -> None:
        """Claim episodes until all is to stop, with ``until_empty`` until none is left to begin."""
        while not self._stopping.is_set():
            if until_empty and self._is_refused():
                return
            try:
                found = await self._claim_some()
            except StoreRefused:  # waiting would not help
                raise
            except StoreError as error:
                self._note(error)
                await self._rest(POLL * BEATS)
                continue
            if not found:
                if until_empty and self._has_nothing_to_wait_for():
                    return
                await self._rest(POLL)

    def _is_refused(self) -> bool:
        """Tell whether a provider has refused a model, and nothing is under way that may go on."""
        return bool(self.report.refused and not self._work)

    def _has_nothing_to_wait_for(self) -> bool:
        return not (self._work or self._must_pause() or time.monotonic() < self._retry_at)

    async def _claim_some(self) -> bool:
        """Begin as many episodes as there is a place for; tell whether to come again at once."""
        if self._must_pause():
            return False
        free = self.memory.settings.episodes_at_once - len(self._work)
        if free <= 0:
            await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED, timeout=POLL)
            return True
        names = await self._spaces.names()
        self._turn += 1  # each namespace is the first one in its turn
        begun = False
        for i in range(len(names)):
            name = names[(self._turn + i) % len(names)]
            with self._spaces.by_itself(name):
                space = self._spaces.of(name)
                if free <= 0 or await self._spaces.is_over_budget(space):
                    continue
                claimed = await self._claim(space, alone=not self._work)
                begun = begun or claimed > 0
                free -= claimed
        return begun

    async def _claim(self, space: Space, *, alone: bool) -> int:
        """Claim one episode of a namespace, and begin it; return how many places that took.

        An episode whose learner died may have killed it (a suspect), so it is worked on alone: only
        where ``alone`` says that nothing else is under way.
        """
        settings, name = self.memory.settings, space.memory.namespace
        claim_one = partial(
            space.memory.store.episodes.claim,
            name,
            self.id,
            lease=settings.lease_seconds,
            count=1,
            max_deliveries=settings.max_deliveries,
        )
        if alone:
            found = await claim_one(alone=True)
            while found.suspects and not found.claims:  # the one before has become a dead letter
                found = await claim_one(alone=True)
            if found.claims:
                await self._begin(space, found.claims[0])
                await self._drain()
                return 1
        found = await claim_one(alone=False)
        for claim in found.claims:
            await self._begin(space, claim)
        if found.suspects and self._work:
            await self._drain()
            return 1  # now their turn has come
        return len(found.claims)

    async def _begin(self, space: Space, claim: Claim) -> None:
        telemetry.claimed(1)
        task = asyncio.create_task(self._one(space, claim), context=contextvars.Context())
        self._work[task] = (space, claim)
        task.add_done_callback(lambda done: self._work.pop(done, None))

    async def _drain(self) -> None:
        """Wait until what is under way has ended, or all is to stop."""
        while self._work and not self._stopping.is_set():
            await asyncio.wait(list(self._work), timeout=POLL)

    # --- one episode

    async def _one(self, space: Space, claim: Claim) -> None:
        """Learn from one episode; its outcome is in the report."""
        with telemetry.learning(space.memory.namespace, claim.episode.run_id) as learned:
            learned.outcome = await self._learn(space, claim)
        self.report.outcomes[learned.outcome] += 1

    async def _learn(self, space: Space, claim: Claim) -> str:
        """Learn from one episode; hand it back where that fails, unless another learner holds it.

        Whatever becomes of it, what it cost is counted.
        """
        meter, began = Meter(), time.monotonic()
        METER.set(meter)
        try:
            outcome = await learn_from(
                claim,
                space,
                with_tools=self._replay == "model",
                judged=self._is_judged,
                grade_live=self._grade_live,
            )
            self._pause, self._last_success, self.report.refused = FIRST_PAUSE, time.monotonic(), ""
        except NotDurable as error:  # it is settled, and what it cost is counted
            self._note(error)
            outcome = "settled"
        except ClaimLost:
            await space.count(meter.spent, "fenced")
            outcome = "fenced"
        except StoreUnavailable as error:  # its claim ends by itself, should the store stay away
            self._note(error)
            await space.count(meter.spent, "released")
            outcome = "released"
            with contextlib.suppress(StoreError):
                await self._hand_back(space, claim, counts=False, reason="", delay=RETRY_AFTER)
        except asyncio.CancelledError:
            await space.count(meter.spent, "released")
            with contextlib.suppress(StoreError):
                outcome = await self._hand_back(space, claim, counts=False, reason="", delay=0)
                self.report.outcomes[outcome] += 1
            raise
        except Exception as error:  # noqa: BLE001 - whatever an episode does, the learner goes on
            await space.count(meter.spent, "failed")
            outcome = await self._failed(space, claim, error, began)
        return outcome

    async def _failed(self, space: Space, claim: Claim, error: Exception, began: float) -> str:
        """Hand an episode back that failed; return what became of it.

        It counts as one of its failures (`max_deliveries` of them make it a dead letter) only where
        it is the episode's own trouble, and not that of a provider or of a setting.
        """
        is_refusal = isinstance(error, ModelRefused)
        if is_refusal:
            self.report.refused = str(error)
            self._note(ModelRefused(f"paused, and no episode is lost: {error}"))
        else:
            self._note(error)
        if isinstance(error, StoreRefused):
            self._spaces.doubt(space.memory.namespace)
        is_away = isinstance(error, NoAnswer | ModelError) or is_transient(error)
        # While other episodes get their answers, a provider that does not answer is no excuse.
        counts = not is_away or (not is_refusal and self._last_success > began)
        # What cannot be settled is not begun again at once either: each time it is paid for.
        if is_away or isinstance(error, StoreError):
            self._pause_claims()
        # Whoever changed the refused setting may begin the episode at once.
        delay = 0.0 if is_refusal else RETRY_AFTER
        try:
            return await self._hand_back(
                space, claim, counts=counts, reason=one_line(error), delay=delay
            )
        except StoreError as store_error:
            self._note(store_error)
            return "released"

    def _pause_claims(self) -> None:
        """Claim nothing for a while, longer each time. What fails meanwhile says nothing new."""
        if not self._must_pause():
            self._paused_until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _hand_back(
        self, space: Space, claim: Claim, *, counts: bool, reason: str, delay: float
    ) -> str:
        """Give an episode back to the queue; return what became of it (see `LearnerReport`).

        ``counts``: as one of its failures. It may be begun again after ``delay`` seconds.
        """
        state = await space.memory.store.episodes.return_claim(
            space.memory.namespace,
            claim,
            counts=counts,
            reason=reason,
            delay=delay,
            max_deliveries=self.memory.settings.max_deliveries,
        )
        # not before the answer: the server counts the delay from when it was asked
        if state in {"released", "failed"}:
            self._retry_at = max(self._retry_at, time.monotonic() + delay)
        return state

    async def _beat_always(self) -> None:
        """Extend the leases of what is under way; stop work on what another learner holds now."""
        lease = self.memory.settings.lease_seconds
        while True:
            await asyncio.sleep(lease / BEATS)
            for space in self._spaces.made():
                work = [(task, claim) for task, (of, claim) in self._work.items() if of is space]
                claims = [claim for _, claim in work]
                try:
                    lost = await space.memory.store.episodes.extend_lease(
                        space.memory.namespace, self.id, claims, lease=lease
                    )
                except StoreError as error:
                    self._note(error)
                    continue
                for task, claim in work:
                    if claim.seq in lost:
                        task.cancel()

    def _must_pause(self) -> bool:
        return time.monotonic() < self._paused_until

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _note(self, error: BaseException) -> None:
        told = one_line(error)
        if told != self.report.last_error:
            _LOG.warning("learner: %s", told)
        self.report.last_error = told


def _raise_if_failed(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        if task.done():
            task.result()
