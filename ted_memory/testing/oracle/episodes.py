"""The episode queue in a process's own memory: it states what the scripts do."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Literal

from ted_memory.episodes import (
    ANONYMOUS,
    Archived,
    Claim,
    Claims,
    DeadLetter,
    Episode,
    Erased,
    Feedback,
    Recorded,
    Retention,
    Subject,
    Traffic,
    Verdict,
)
from ted_memory.errors import ClaimLost
from ted_memory.models import Experience, Usage
from ted_memory.protocols import (
    TOLD_FIRST,
    CreditRules,
    KnownEvidence,
    Pair,
    PairVerdict,
    RecordLimits,
    Settle,
)
from ted_memory.testing.oracle.evidence import Counted, InMemoryEvidence, Outcome
from ted_memory.testing.oracle.queue import Queue, Run

HOUR = 3600.0  # seconds between looks at what is too old

COUNTS = (
    *("recorded", "learned", "nothing", "set_aside", "dead"),
    *("dropped", "limited", "expired", "retried"),
)
"""What `Traffic` counts since the beginning."""

Held = Callable[[str], Mapping[str, Experience]]
Credit = Callable[[str, Mapping[str, Usage], float], None]


class InMemoryEpisodeQueue:
    """An `EpisodeQueue` that ends with the process.

    The store beside it says which lessons it holds (``held``), and counts what they are credited
    with (``credit``).
    """

    def __init__(self, held: Held, credit: Credit, kept: Retention | None = None) -> None:
        self._kept = kept or Retention()
        self._held = held
        self._credit = credit
        self._queues: dict[str, Queue] = {}
        self._fence = 0  # outlives a namespace: who held a claim in it may come late

    def _queue(self, namespace: str) -> Queue:
        return self._queues.setdefault(namespace, Queue())

    def forget(self, namespace: str) -> None:
        """Forget all traffic of a namespace."""
        self._queues.pop(namespace, None)

    async def record(
        self,
        namespace: str,
        episodes: Sequence[Episode],
        images: Mapping[str, bytes],
        limits: RecordLimits,
    ) -> tuple[Recorded, tuple[str, ...]]:
        queue = self._queue(namespace)
        done: Counter[str] = Counter()
        early = []
        for episode in episodes:
            run = queue.runs.get(episode.run_id)
            if run is not None and run.seq is None and run.told:
                early.append(episode.run_id)
            outcome = queue.take_in(episode, images, limits)
            done[outcome] += 1
            queue.counts[outcome] += 1
        return Recorded(**done), tuple(early)

    async def feedback(
        self,
        namespace: str,
        run_id: str,
        feedback: Feedback | None,
        score: float | None,
        rules: CreditRules,
    ) -> Verdict:
        queue = self._queue(namespace)
        run = queue.runs.get(run_id, Run())
        # what was said last comes again where the reply to it was lost
        is_new = feedback is not None and feedback not in run.told[-1:]
        said = feedback or Feedback(
            run_id=run_id, principal=rules.speaker or ANONYMOUS, reviewer=rules.reviewer
        )
        if is_new and queue.exceeds_rate(f"o:{said.principal}", rules.rate_limit):
            return "limited"
        if not said.is_heard(run.principal):
            return "foreign"
        if is_new:
            run.add(said)
            queue.runs[run_id] = run
        if run.seq is None:
            return "unknown"
        if feedback is not None:
            queue.wake(run.seq)
        return self._judge(namespace, run, said, score, rules)

    def _judge(
        self, namespace: str, run: Run, said: Feedback, score: float | None, rules: CreditRules
    ) -> Verdict:
        """Count a score of a run that is known, unless it says nothing new."""
        if score is None:
            return "kept"
        if run.score is not None and (rules.first or run.score == score):
            return "repeated"
        # Who speaks of another's run speaks for himself. Where he corrects what another one had
        # said, the difference is his.
        voice = run.principal if said.principal == ANONYMOUS else said.principal
        before = run.score
        self._count(namespace, run, voice, score, rules)
        return "credited" if before is None else "corrected"

    def _count(
        self, namespace: str, run: Run, voice: str, score: float, rules: CreditRules
    ) -> None:
        """Count a score for all lessons that the run saw or missed, in place of an earlier one."""
        held, counted = self._held(namespace), dict[str, Counted]()
        evidence = self._queue(namespace).evidence
        assigned = [(id, True) for id in run.seen] + [(id, False) for id in run.withheld]
        for id, shown in assigned:
            lesson = held.get(id)
            if lesson is None or not self._is_open(run, lesson):
                continue
            outcome = Outcome(voice, run.unit, score, run.score, shown, run.withhold)
            counted[id] = evidence.outcome(lesson, outcome, run.counted.get(id))
            fades = lesson.state == "active" and outcome.is_first
            self._credit(namespace, {id: outcome.usage}, rules.kept if fades else 1.0)
        run.score, run.counted = score, counted

    @staticmethod
    def _is_open(run: Run, lesson: Experience) -> bool:
        """Tell whether the lesson is still the one that the run was assigned under.

        Once it has moved on, an outcome of the run comes too late for it.
        """
        if lesson.state not in {"trial", "active"}:
            return False
        if run.score is None:
            return not run.version or lesson.rev <= run.version
        known = run.counted.get(lesson.id)
        return known is not None and known.rev == lesson.rev

    async def archived(self, namespace: str, after: int = 0) -> tuple[Archived, ...]:
        archive = self._queue(namespace).archive
        return tuple(archive[seq] for seq in sorted(archive) if seq > after)

    async def forget_archived(self, namespace: str, seqs: Sequence[int]) -> int:
        archive = self._queue(namespace).archive
        return sum(archive.pop(seq, None) is not None for seq in seqs)

    async def replayed(self, namespace: str, pair: Pair) -> PairVerdict:
        queue = self._queue(namespace)
        return queue.evidence.replayed(
            self._held(namespace).get(pair.id), pair, is_there=pair.seq in queue.archive
        )

    async def evidence(
        self,
        namespace: str,
        ids: Sequence[str],
        known: KnownEvidence | None = None,  # noqa: ARG002 - all is at hand
    ) -> KnownEvidence:
        found = {id: self._queue(namespace).evidence.of(id) for id in ids}
        return {id: shown for id, shown in found.items() if shown is not None}

    def evidence_of(self, namespace: str) -> InMemoryEvidence:
        """The evidence that commits of the store beside it change."""
        return self._queue(namespace).evidence

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        runs = self._queue(namespace).runs
        return tuple(runs.get(run_id, Run()).heard for run_id in run_ids)

    async def claim(
        self,
        namespace: str,
        learner: str,
        *,
        lease: float,
        count: int,
        max_deliveries: int,
        alone: bool,
    ) -> Claims:
        queue, now = self._queue(namespace), time.time()
        queue.learners[learner] = now + lease
        self._forget_what_is_too_old(queue, now)
        candidates = queue.claimed if alone else queue.waiting
        ready = sorted((due, seq) for seq, due in candidates.items() if due <= now)
        claims = []
        for _, seq in ready[:count]:
            _, deliveries = queue.holders.get(seq, (0, 0))
            if alone and deliveries >= max_deliveries:
                reason = f"begun {deliveries} times, and each time its learner ended or froze"
                queue.bury(seq, deliveries, reason, self._kept)
            else:
                claims.append(self._claim_one(queue, seq, until=now + lease))
        suspects = sum(due <= now for due in queue.claimed.values())
        return Claims(claims=tuple(claims), suspects=suspects)

    def _claim_one(self, queue: Queue, seq: int, *, until: float) -> Claim:
        _, deliveries = queue.holders.get(seq, (0, 0))
        self._fence += 1
        queue.holders[seq] = (self._fence, deliveries + 1)
        queue.waiting.pop(seq, None)
        queue.claimed[seq] = until
        episode = queue.episodes[seq]
        return Claim(
            seq=seq,
            fence=self._fence,
            deliveries=deliveries + 1,
            episode=episode,
            feedback=queue.runs.get(episode.run_id, Run()).heard,
        )

    def _forget_what_is_too_old(self, queue: Queue, now: float) -> None:
        """Look for it, once an hour."""
        if now > queue.looked_at + HOUR:
            queue.looked_at = now
            queue.forget_dead(self._kept)
            queue.forget_late(self._kept)

    async def extend_lease(
        self, namespace: str, learner: str, claims: Sequence[Claim], *, lease: float
    ) -> frozenset[int]:
        queue, now = self._queue(namespace), time.time()
        queue.learners[learner] = now + lease
        lost = set()
        for claim in claims:
            if queue.holders.get(claim.seq, (0, 0))[0] == claim.fence:
                queue.claimed[claim.seq] = now + lease
            elif claim.seq in queue.holders:
                lost.add(claim.seq)
        return frozenset(lost)

    async def return_claim(
        self,
        namespace: str,
        claim: Claim,
        *,
        counts: bool,
        reason: str,
        delay: float,
        max_deliveries: int,
    ) -> Literal["released", "failed", "dead", "fenced"]:
        queue = self._queue(namespace)
        fence, deliveries = queue.holders.get(claim.seq, (0, 0))
        if fence != claim.fence:
            return "fenced"
        queue.last_error = reason or queue.last_error
        if counts and deliveries >= max_deliveries:
            queue.bury(claim.seq, deliveries, reason, self._kept)
            return "dead"
        deliveries -= not counts
        del queue.claimed[claim.seq], queue.holders[claim.seq]
        due = time.time() + delay
        if deliveries:  # begun before: it stays a suspect, without a holder
            queue.holders[claim.seq] = (0, deliveries)
            queue.claimed[claim.seq] = due
        else:
            told = queue.runs.get(claim.episode.run_id, Run()).told
            queue.waiting[claim.seq] = time.time() - TOLD_FIRST if told else due
        queue.counts["retried"] += counts
        return "failed" if counts else "released"

    def check(self, namespace: str, settle: Settle) -> None:
        """Make sure that a commit may settle this episode.

        Raises:
            ClaimLost: another learner holds it.
        """
        if self._queue(namespace).holders.get(settle.seq, (0, 0))[0] != settle.fence:
            raise ClaimLost("another learner has taken over this episode; nothing was written")

    def settle(self, namespace: str, settle: Settle, purged: Set[str]) -> None:
        """Take an episode out, as a part of its commit."""
        queue = self._queue(namespace)
        queue.take_out(settle.seq)
        if settle.archive is not None:
            queue.keep(settle.archive, settle, purged)
        queue.counts[settle.outcome] += 1
        queue.spent.update(settle.counters)
        queue.settled_at = datetime.now(UTC)

    async def count(self, namespace: str, counters: Mapping[str, int]) -> None:
        self._queue(namespace).spent.update(counters)

    async def images(self, namespace: str, digests: Sequence[str]) -> Mapping[str, bytes]:
        images = self._queue(namespace).images
        return {digest: images[digest] for digest in digests if digest in images}

    async def dead_letters(self, namespace: str, limit: int) -> tuple[DeadLetter, ...]:
        dead = self._queue(namespace).dead
        return tuple(dead[seq] for seq in sorted(dead, reverse=True)[:limit])

    async def retry_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        queue = self._queue(namespace)
        found = [seq for seq in seqs if queue.dead.pop(seq, None)]
        queue.waiting.update(dict.fromkeys(found, time.time() - TOLD_FIRST))
        return len(found)

    async def drop_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        queue = self._queue(namespace)
        found = {seq for seq in seqs if seq in queue.dead}
        for seq in found:
            queue.take_out(seq)
        return len(found)

    async def runs_of(self, namespace: str, subject: Subject) -> frozenset[str]:
        known = self._queue(namespace).runs.items()
        return frozenset(run_id for run_id, run in known if _owns(subject, run_id, run))

    async def erase(self, namespace: str, subject: Subject) -> Erased:
        queue = self._queue(namespace)
        gone = [seq for seq, episode in queue.episodes.items() if subject.owns(episode)]
        runs = {queue.episodes[seq].run_id for seq in gone}
        for seq in gone:
            queue.take_out(seq)
        words = 0
        for run_id, run in list(queue.runs.items()):
            if _owns(subject, run_id, run):
                runs.add(run_id)
                words += len(queue.runs.pop(run_id).told)
        if subject.kind == "principal":
            words += _erase_principal(queue, subject.name)
        queue.last_error = ""
        return Erased(episodes=len(gone), runs=tuple(sorted(runs)), words=words)

    async def traffic(self, namespace: str) -> Traffic:
        queue, now = self._queue(namespace), datetime.now(UTC)
        alive = [queue.episodes[seq].started_at for seq in (*queue.waiting, *queue.claimed)]
        hours = [f"hour:{now - ago:%H}" for ago in (timedelta(0), timedelta(hours=1))]
        return Traffic(
            waiting=len(queue.waiting),
            claimed=len(queue.claimed),
            dead=len(queue.dead),
            archived=len(queue.archive),
            bytes=sum(queue.sizes.values()),
            oldest=max(0.0, (now - min(alive)).total_seconds()) if alive else None,
            counts={name: queue.counts[name] for name in COUNTS},
            today={name: float(n) for name, n in queue.spent.items() if name[:5] != "hour:"},
            hour=sum(queue.spent[name] for name in hours),
            last_settled=queue.settled_at,
            last_error=queue.last_error,
            learners=sum(until > time.time() for until in queue.learners.values()),
        )

    async def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, queue in self._queues.items() if queue.counts))


def _owns(subject: Subject, run_id: str, run: Run) -> bool:
    return subject.owns_record(run_id, run.principal, run.unit)


def _erase_principal(queue: Queue, principal: str) -> int:
    """Forget what a principal said of others' runs, and his rates; how many words he said."""
    words = 0
    for run in queue.runs.values():
        others = [said for said in run.told if said.principal != principal]
        words += len(run.told) - len(others)
        run.told = others
    for kind in "eo":
        queue.rate.pop(f"{kind}:{principal}", None)
    return words
