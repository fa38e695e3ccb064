"""Replays: the student answers recorded questions again, with a lesson and without it.

No user is part of it, and nothing is done twice in the world: the student's model answers over the
recorded messages and tool results. Each lesson meets each archived episode once, and none that it
came from, or was on trial in. Two lessons take turns: an active one that has new episodes to be
watched on, and the one not active yet that looks best so far. Whose turn it is changes nothing of a
lesson's test, which may be looked at at any time (`ted_memory.experience.evidence`).
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ted_memory import telemetry
from ted_memory.distill.comparison import Comparison, Judge
from ted_memory.distill.context import DistillContext
from ted_memory.distill.scoring import chosen, gather_all
from ted_memory.episodes import Archived, Feedback, word_of
from ted_memory.errors import CorruptData, ModelError, StoreError
from ted_memory.experience.assignment import principals
from ted_memory.experience.trials import loudest, turn, wants_pairs
from ted_memory.learner.allowance import ATTEMPTS, Allowance
from ted_memory.learner.reach import Reach
from ted_memory.llm.calls import METER, Meter, is_final, is_transient, one_line
from ted_memory.llm.messages import rests_on_tools, sample_messages
from ted_memory.llm.work import WORK, Work
from ted_memory.models import Experience, ExperienceSet, Sample
from ted_memory.protocols import KnownEvidence, Pair, Shown

# One learner at a time replays a namespace: two would ask for the same pairs.
LEASE, SECONDS = "replays", 15.0
# Pairs of one speaker, before a lesson is active, where the loudest are left out: more are no use.
MOST_OF_ONE = 100
# Seconds for which lessons share an episode's answers without them: a model may change meanwhile.
SHARED_FOR = 300.0

Verdict = Literal["counted", "repeated", "changed", "no place", "broken", "lost"]
"""What became of a pair: as `protocols.PairVerdict`, or why there is none.

``no place``: the lesson would not stand in this prompt. ``broken``: the episode cannot be answered
or graded. ``lost``: it got no answer now.
"""

_LOG = logging.getLogger("ted_memory")


@dataclass(frozen=True)
class Round:
    """What came of one round of replays.

    Attributes:
        goes_on: there may be more to do at once.
        trouble: why no pair got an answer; "" where one did, or none was asked for.
    """

    goes_on: bool = False
    trouble: str = ""


@dataclass
class Replayer:
    """Replays one namespace's lessons, for one learner.

    Attributes:
        context: the namespace's memory, with the models and the grader.
        holder: the learner's name on the lease.
        is_off: nothing is replayed.
        reach: which episodes are left for each lesson.
        counted: how many pairs were counted.
    """

    context: DistillContext
    holder: str
    is_off: bool = False
    reach: Reach = field(default_factory=Reach)
    counted: int = 0
    _known: KnownEvidence = field(default_factory=dict)
    _comparison: Comparison | None = None
    _compared_since: float = 0.0
    _unsent: dict[tuple[str, int], Pair] = field(default_factory=dict)
    _changed: set[tuple[str, int, int]] = field(default_factory=set)
    _held_at: float = float("-inf")
    _last_error: str = ""
    _allowance: Allowance = field(init=False)

    def __post_init__(self) -> None:
        """Count the calls of this memory's days."""
        self._allowance = Allowance(self.context.memory)

    async def replay_some(self, most: int) -> Round:
        """Replay a round: up to ``most`` pairs, side by side. Call it again when it has returned.

        Raises:
            StoreError: the store cannot be reached; answers that were paid for are counted later.
            ModelError: a model cannot be used at all.
        """
        settings = self.context.settings
        if self.is_off or settings.trust == "always" or not settings.replay_calls:
            return Round()
        if not await self._is_holder():
            self._forget()
            self._allowance.doubt()
            return Round()
        try:
            async with self._held():
                done = await self._replay_some(most)
        except ModelError:
            await self._leave_it_to_others()
            raise
        if done.trouble:
            await self._leave_it_to_others()
        return done

    async def release_lease(self) -> None:
        """Let another learner replay at once.

        Raises:
            StoreError: the lease ends by itself; what was spent is counted later.
        """
        self._forget()
        await self._allowance.pay()
        self._held_at = float("-inf")
        await self._hold(0)

    def _forget(self) -> None:
        """Drop what is held of people's episodes: nothing is replayed here now."""
        self.reach.forget()
        self._comparison = None

    async def _leave_it_to_others(self) -> None:
        """Release the lease, for a learner whose provider may answer."""
        with contextlib.suppress(StoreError):
            await self.release_lease()

    async def _is_holder(self) -> bool:
        """Tell whether this learner is the one that replays.

        The store is asked again when a third of the lease is over.
        """
        now = time.monotonic()
        if now - self._held_at > SECONDS / 3:
            self._held_at = now if await self._hold(SECONDS) else float("-inf")
        return self._held_at > float("-inf")

    async def _hold(self, seconds: float) -> bool:
        memory = self.context.memory
        return await memory.repository.hold(LEASE, self.holder, seconds)

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Extend the lease while the block runs, or another learner would ask a slow model too."""

        async def hold() -> None:
            while True:
                await asyncio.sleep(SECONDS / 3)
                with contextlib.suppress(StoreError):
                    await self._hold(SECONDS)

        holding = asyncio.create_task(hold())
        try:
            yield
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _replay_some(self, most: int) -> Round:
        memory = self.context.memory
        await self._send_all()
        snapshot = await memory.load()
        self._drop_what_is_gone(snapshot)
        lessons = await self._waiting(snapshot)
        if not lessons:
            self._forget()
            return Round()
        await self.reach.refresh(memory)
        self.reach.follow(lessons, self._known)
        most = min(most, await self._allowance.pairs_left())
        if most <= 0:
            return Round()
        has_more = await self.reach.look(memory)
        found = list(self._due(lessons, most))
        if not found:
            self._comparison = None
        fresh = await self._without_stale(found)
        await self._allowance.reserve(len(fresh))
        verdicts = await self._replay_each(fresh, snapshot)
        await self._allowance.pay()
        if verdicts and set(verdicts) == {"lost"}:
            return Round(trouble=self._last_error)
        return Round(goes_on=has_more or bool(found))

    # --- what is due

    async def _waiting(self, snapshot: ExperienceSet) -> list[Experience]:
        """Return the lessons of which replays can still say something new."""
        memory = self.context.memory
        from_traffic = [
            e for e in (*snapshot.active, *snapshot.trial, *snapshot.proposed) if principals(e)
        ]
        self._known = await memory.repository.evidence([e.id for e in from_traffic], self._known)
        return [e for e in from_traffic if wants_pairs(e, self._shown(e).evidence, memory.settings)]

    def _shown(self, lesson: Experience) -> Shown:
        return self._known.get(lesson.id, Shown())

    def _due(
        self, lessons: Sequence[Experience], most: int
    ) -> Iterator[tuple[Experience, Archived]]:
        """Yield up to ``most`` lessons, each with the episode that it is replayed on next.

        Lessons that wait and active ones take turns.
        """
        may_watch = self._allowance.allows_watching
        watched = sorted(
            (e for e in lessons if e.state == "active" and may_watch), key=self._watched
        )
        waiting = sorted(
            (e for e in lessons if e.state != "active"),
            key=lambda e: turn(self._shown(e).evidence, self.context.settings),
        )
        queues = [self._each_in_turn(waiting), self._each_in_turn(watched)]
        while queues and most:
            queue = queues.pop(0)
            if (pair := next(queue, None)) is not None:
                most -= 1
                queues.append(queue)
                yield pair

    def _each_in_turn(self, lessons: Sequence[Experience]) -> Iterator[tuple[Experience, Archived]]:
        """Yield each lesson with an episode, then each with a second one, while there are any."""
        taken: dict[str, set[int]] = {e.id: set() for e in lessons}
        most = {e.id: self._most_of_one(e) for e in lessons}
        while lessons:
            left = []
            for lesson in lessons:
                if (
                    archived := self.reach.next_for(lesson, taken[lesson.id], most[lesson.id])
                ) is not None:
                    taken[lesson.id].add(archived.seq)
                    left.append(lesson)
                    yield lesson, archived
            lessons = left

    def _most_of_one(self, lesson: Experience) -> float:
        return (
            MOST_OF_ONE if lesson.state != "active" and loudest(self.context.settings) else math.inf
        )

    def _watched(self, lesson: Experience) -> float:
        return self._shown(lesson).evidence.total.watched

    # --- pairs

    async def _replay_each(
        self, found: Sequence[tuple[Experience, Archived]], snapshot: ExperienceSet
    ) -> list[Verdict]:
        """Ask for these pairs side by side. An error is raised when all of them have ended."""
        done = await asyncio.gather(
            *(self._replay(lesson, archived, snapshot) for lesson, archived in found),
            return_exceptions=True,
        )
        for error in done:
            if isinstance(error, BaseException):
                raise error
        return [verdict for verdict in done if not isinstance(verdict, BaseException)]

    async def _replay(
        self, lesson: Experience, archived: Archived, snapshot: ExperienceSet
    ) -> Verdict:
        """Ask for one pair and count it."""
        judge = await self._judge(lesson, archived.sample, snapshot)
        if not judge.differs:  # it says nothing of the lesson that others take its place
            self._allowance.owe(Meter())
            self.reach.skip(lesson, archived.seq)
            return "no place"
        meter = Meter()
        METER.set(meter)  # of this pair's task alone; a judge's calls are among them
        of = self.context
        WORK.set(Work("replay", of.memory.namespace, archived.run_id, of.profile.name, lesson.id))
        try:
            score_with, score_without = await self._answers(judge, snapshot)
        except Exception as error:
            # a model that refuses or is away is not paid
            no_answer = is_final(error) or is_transient(error)
            comparison = self._comparison_of(snapshot)
            # on this lesson alone
            chokes = not no_answer and await comparison.answers_without(judge)
            self._allowance.owe(meter, is_paid=not no_answer)
            if is_final(error):
                raise
            self._last_error = one_line(error)
            if is_transient(error):
                self.reach.put_off(archived.seq)
                return "lost"
            if chokes:
                self.reach.skip(lesson, archived.seq)
            else:
                self.reach.give_up(archived.seq)
            _LOG.warning("run %s cannot be replayed: %s", archived.run_id, self._last_error)
            return "broken"
        self._allowance.owe(meter)
        pair = Pair(
            id=lesson.id,
            since=snapshot.version,
            seq=archived.seq,
            speaker=archived.speaker,
            score_with=score_with,
            score_without=score_without,
            floor=self.reach.floor_of(lesson) if lesson.state == "active" else 0,
            on_tools=rests_on_tools(sample_messages(archived.sample)),
        )
        self._unsent[pair.id, pair.seq] = pair
        verdict = await self._send(pair)
        if verdict == "changed":
            self._changed.add((lesson.id, lesson.rev, archived.seq))
        return verdict

    async def _send(self, pair: Pair) -> Verdict:
        """Have a pair counted; where the store is away it is kept, and sent again later."""
        memory = self.context.memory
        verdict = await memory.store.episodes.replayed(memory.namespace, pair)
        self._unsent.pop((pair.id, pair.seq), None)
        self.counted += verdict == "counted"
        telemetry.replayed(verdict)
        return verdict

    async def _send_all(self) -> None:
        """Send what a store that was away has not got yet."""
        for pair in list(self._unsent.values()):
            await self._send(pair)
        await self._allowance.pay()

    def _drop_what_is_gone(self, snapshot: ExperienceSet) -> None:
        """Drop episodes whose pair did not count, though its lesson is as it was: they are gone."""
        for id, rev, seq in self._changed:
            if id in snapshot.by_id and snapshot.by_id[id].rev == rev:
                self.reach.drop(seq)
        self._changed.clear()

    async def _without_stale(
        self, found: Sequence[tuple[Experience, Archived]]
    ) -> list[tuple[Experience, Archived]]:
        """Leave out episodes of which something else was said since they were archived.

        Their reference is no measure any more; they are taken out of the archive.
        """
        memory, episodes = self.context.memory, {archived.run_id: archived for _, archived in found}
        told = await self._told(list(episodes))
        stale = [
            archived.seq
            for archived, said in zip(episodes.values(), told, strict=True)
            if said is None or (said and archived.word and word_of(said) != archived.word)
        ]
        await memory.store.episodes.forget_archived(memory.namespace, stale)
        for seq in stale:
            self.reach.drop(seq)
        return [(lesson, archived) for lesson, archived in found if archived.seq not in stale]

    async def _told(self, runs: Sequence[str]) -> list[tuple[Feedback, ...] | None]:
        """Return what was said of each of these runs; None where that one cannot be read."""
        log, name = self.context.memory.store.episodes, self.context.memory.namespace
        try:
            return [*await log.told(name, runs)]
        except CorruptData:
            if len(runs) < 2:
                return [None]
            return [said for run in runs for said in await self._told([run])]

    async def _judge(self, lesson: Experience, sample: Sample, snapshot: ExperienceSet) -> Judge:
        """Return the episode with what its prompt shows without the lesson and with it."""
        others = [e for e in snapshot.active if e.id != lesson.id]
        with_it = [*others, lesson.model_copy(update={"state": "active"})]
        with_it.sort(key=lambda e: (e.order, e.id))
        return Judge(
            sample,
            sample.reference or "",
            before=await chosen(self.context, sample, snapshot, others),
            after=await chosen(self.context, sample, snapshot, with_it),
        )

    async def _answers(self, judge: Judge, snapshot: ExperienceSet) -> tuple[float, float]:
        """Return the mean scores with the lesson and without it."""
        comparison = self._comparison_of(snapshot)
        pairs = await gather_all(*(comparison.pair(judge, number) for number in range(ATTEMPTS)))
        return sum(p.after for p in pairs) / ATTEMPTS, sum(p.before for p in pairs) / ATTEMPTS

    def _comparison_of(self, snapshot: ExperienceSet) -> Comparison:
        """Return what asks for answers, the same one for `SHARED_FOR` seconds.

        An episode's answers without a lesson serve all lessons that meet it in this time. A lesson
        meets an episode once, so no test of one lesson sees an answer twice. Tests of different
        lessons are not independent: a lucky answer without them counts against all of them.
        """
        placement, now = self.context.memory.presentation(snapshot).placement, time.monotonic()
        held = self._comparison
        if held is None or held.placement != placement or now - self._compared_since > SHARED_FOR:
            held, self._compared_since = Comparison(self.context, placement), now
            self._comparison = held
        return held
