"""The episode log in a process's own memory: for tests, and the executable statement of what the scripts do."""

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

FEEDBACKS = 20  # on one run are kept, the latest
HOUR = 3600.0  # seconds between looks at what is too old

Held = Callable[[str], Mapping[str, Experience]]
Credit = Callable[[str, Mapping[str, Usage], float], None]


class InMemoryEpisodeQueue:
    """An `EpisodeQueue` beside an in-memory store, which tells what is held and counts what is credited."""

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
            run = queue.runs[episode.run_id]
            if run.seq is None and run.told:
                early.append(episode.run_id)
            outcome = self._take_in(queue, episode, images, limits)
            done[outcome] += 1
            queue.counts[outcome] += 1
        return Recorded(**done), tuple(early)

    def _take_in(
        self, queue: Queue, episode: Episode, images: Mapping[str, bytes], limits: RecordLimits
    ) -> str:
        run = queue.runs[episode.run_id]
        if run.seq is not None:
            return "repeated"
        size = len(episode.model_dump_json(exclude_defaults=True).encode())
        size += sum(2 * len(images.get(digest, b"")) for digest in episode.images)
        run.seq, run.principal, run.unit, run.withheld = (
            0,
            episode.principal,
            episode.unit,
            episode.withheld,
        )
        run.version, run.withhold = episode.version, episode.withhold_share
        run.seen = episode.seen if episode.counted is None else episode.counted
        queue.rate[f"e:{episode.principal}"] += 1
        if queue.rate[f"e:{episode.principal}"] > limits.rate_limit:
            return "limited"
        sizes = [size for seq, size in queue.sizes.items() if seq not in queue.dead]
        if len(sizes) >= limits.max_episodes or sum(sizes) + size > limits.max_bytes:
            return "dropped"
        queue.begin_day()
        queue.seq += 1
        run.seq = queue.seq
        queue.images.update(
            {digest: images[digest] for digest in episode.images if digest in images}
        )
        queue.episodes[run.seq], queue.sizes[run.seq] = episode, size
        queue.waiting[run.seq] = time.time() + (-TOLD_FIRST if run.told else limits.wait)
        return "recorded"

    async def feedback(
        self,
        namespace: str,
        run_id: str,
        feedback: Feedback | None,
        score: float | None,
        rules: CreditRules,
    ) -> Verdict:
        queue = self._queue(namespace)
        run = queue.runs[run_id]
        # else its reply was lost
        fresh = None if feedback == next(reversed(run.told), None) else feedback
        if fresh is not None:
            queue.rate[f"o:{fresh.principal}"] += 1
            if queue.rate[f"o:{fresh.principal}"] > rules.rate_limit:
                return "limited"
        said = feedback or Feedback(
            run_id=run_id, principal=rules.speaker or ANONYMOUS, reviewer=rules.reviewer
        )
        if not said.is_heard(run.principal):
            return "foreign"
        if fresh is not None:
            run.told = [*run.told, fresh][-FEEDBACKS:]
        if run.seq is None:
            return "unknown"
        if feedback is not None and run.seq in queue.waiting:
            queue.waiting[run.seq] = min(queue.waiting[run.seq], time.time() - TOLD_FIRST)
        if score is None:
            return "kept"
        if run.score is not None and (rules.first or run.score == score):
            return "repeated"
        # who speaks of another's run speaks for himself; where he corrects another one, the
        # difference is his
        voice = run.principal if said.principal == ANONYMOUS else said.principal
        return self._count(namespace, run, voice, score, rules)

    def _count(
        self, namespace: str, run: Run, speaker: str, score: float, rules: CreditRules
    ) -> Verdict:
        held, before, counted = self._held(namespace), run.score, dict[str, Counted]()
        evidence = self._queue(namespace).evidence
        for ids, names in (
            (run.seen, ("n_with", "successes_with")),
            (run.withheld, ("n_without", "successes_without")),
        ):
            for id in ids:
                if id not in held or not self._is_open(run, held[id]):
                    continue
                outcome = Outcome(speaker, run.unit, score, before, ids is run.seen, run.withhold)
                counted[id] = evidence.outcome(held[id], outcome, run.counted.get(id))
                added = dict(
                    zip(names, (float(before is None), score - (before or 0.0)), strict=True)
                )
                fading = held[id].state == "active" and before is None
                self._credit(namespace, {id: Usage(**added)}, rules.kept if fading else 1.0)
        run.score, run.counted = score, counted
        return "credited" if before is None else "corrected"

    @staticmethod
    def _is_open(run: Run, lesson: Experience) -> bool:
        """Tell whether the lesson is still what the run was assigned under: once it has moved on, it is too late."""
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
        """Return the evidence that commits of the store beside it change."""
        return self._queue(namespace).evidence

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        runs = [self._queue(namespace).runs[run_id] for run_id in run_ids]
        return tuple(
            tuple(said for said in run.told if said.is_heard(run.principal)) for run in runs
        )

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
        if now > queue.looked_at + HOUR:
            queue.looked_at = now
            self._let_go_of_dead(queue)
            self._let_go_of_late(queue)
        found = queue.claimed if alone else queue.waiting
        ready = sorted((due, seq) for seq, due in found.items() if due <= now)[:count]
        claims = []
        for _, seq in ready:
            deliveries = queue.holders.get(seq, (0, 0))[1]
            if alone and deliveries >= max_deliveries:
                reason = f"begun {deliveries} times, and each time its learner ended or froze"
                self._bury(queue, seq, deliveries, reason)
                continue
            self._fence += 1
            queue.holders[seq] = (self._fence, deliveries + 1)
            queue.waiting.pop(seq, None)
            queue.claimed[seq] = now + lease
            episode = queue.episodes[seq]
            told = tuple(
                said for said in queue.runs[episode.run_id].told if said.is_heard(episode.principal)
            )
            claim = Claim(
                seq=seq,
                fence=self._fence,
                deliveries=deliveries + 1,
                episode=episode,
                feedback=told,
            )
            claims.append(claim)
        suspects = sum(due <= now for due in queue.claimed.values())
        return Claims(claims=tuple(claims), suspects=suspects)

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
            self._bury(queue, claim.seq, deliveries, reason)
            return "dead"
        deliveries -= not counts
        del queue.claimed[claim.seq], queue.holders[claim.seq]
        if deliveries:
            queue.holders[claim.seq] = (0, deliveries)
        told = not deliveries and queue.runs[claim.episode.run_id].told
        due = time.time() + (-TOLD_FIRST if told else delay)
        (queue.claimed if deliveries else queue.waiting)[claim.seq] = due
        queue.counts["retried"] += counts
        return "failed" if counts else "released"

    def _bury(self, queue: Queue, seq: int, deliveries: int, reason: str) -> None:
        episode, now = queue.episodes[seq], datetime.now(UTC)
        queue.dead[seq] = DeadLetter(
            seq=seq,
            run_id=episode.run_id,
            reason=reason,
            deliveries=deliveries,
            at=now,
            episode=episode,
        )
        for place in (queue.holders, queue.waiting, queue.claimed):
            place.pop(seq, None)
        queue.counts["dead"] += 1
        queue.last_error = reason
        self._let_go_of_dead(queue)

    def _let_go_of_dead(self, queue: Queue) -> None:
        """Forget the oldest dead letters: those beyond the bound, and those that are too old."""
        oldest = datetime.now(UTC) - timedelta(days=self._kept.dead_days)
        for seq in sorted(queue.dead):
            if len(queue.dead) > self._kept.max_dead or queue.dead[seq].at <= oldest:
                self._take_out(queue, seq)

    def _let_go_of_late(self, queue: Queue) -> None:
        """Forget what has waited, or was archived, for more days than is kept; a claimed one is being learned from."""
        for seq in [
            seq for seq in queue.waiting if seq <= queue.last_before(self._kept.episode_days)
        ]:
            self._take_out(queue, seq)
            queue.counts["expired"] += 1
        for seq in [
            seq for seq in queue.archive if seq <= queue.last_before(self._kept.archive_days)
        ]:
            del queue.archive[seq]

    def check(self, namespace: str, settle: Settle) -> None:
        """Make sure that a commit may settle this episode."""
        if self._queue(namespace).holders.get(settle.seq, (0, 0))[0] != settle.fence:
            raise ClaimLost("another learner has taken over this episode; nothing was written")

    def settle(self, namespace: str, settle: Settle, purged: Set[str]) -> None:
        """Take an episode out, as a part of its commit; what comes from a purged source is not archived."""
        queue = self._queue(namespace)
        self._take_out(queue, settle.seq)
        if settle.archive is not None:
            self._keep(queue, settle.archive, settle, purged)
        queue.counts[settle.outcome] += 1
        queue.spent.update(settle.counters)
        queue.settled_at = datetime.now(UTC)

    @staticmethod
    def _keep(queue: Queue, archived: Archived, settle: Settle, purged: Set[str]) -> None:
        def size(*episodes: Archived) -> int:
            return sum(len(one.model_dump_json(exclude_defaults=True).encode()) for one in episodes)

        if size(archived) <= settle.max_archive_bytes and not archived.sources & purged:
            queue.archive[archived.seq] = archived
        while queue.archive and (
            len(queue.archive) > settle.max_archived
            or size(*queue.archive.values()) > settle.max_archive_bytes
        ):
            del queue.archive[min(queue.archive)]

    @staticmethod
    def _take_out(queue: Queue, seq: int) -> None:
        for place in (
            queue.episodes,
            queue.sizes,
            queue.holders,
            queue.waiting,
            queue.claimed,
            queue.dead,
        ):
            place.pop(seq, None)
        held = {digest for episode in queue.episodes.values() for digest in episode.images}
        queue.images = {digest: data for digest, data in queue.images.items() if digest in held}

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
            self._take_out(queue, seq)
        return len(found)

    async def runs_of(self, namespace: str, subject: Subject) -> frozenset[str]:
        queue = self._queue(namespace)
        known = queue.runs.items()
        return frozenset(
            run_id for run_id, run in known if subject.owns_record(run_id, run.principal, run.unit)
        )

    async def erase(self, namespace: str, subject: Subject) -> Erased:
        queue = self._queue(namespace)
        gone = {
            seq: episode.run_id for seq, episode in queue.episodes.items() if subject.owns(episode)
        }
        for seq in gone:
            self._take_out(queue, seq)
        runs, words = set(gone.values()), 0
        for run_id, run in list(queue.runs.items()):
            if subject.owns_record(run_id, run.principal, run.unit):
                runs.add(run_id)
                words += len(queue.runs.pop(run_id).told)
            elif subject.kind == "principal":
                others = [said for said in run.told if said.principal != subject.name]
                words += len(run.told) - len(others)
                run.told = others
        if subject.kind == "principal":
            for kind in "eo":
                queue.rate.pop(f"{kind}:{subject.name}", None)
        queue.last_error = ""
        return Erased(episodes=len(gone), runs=tuple(sorted(runs)), words=words)

    async def traffic(self, namespace: str) -> Traffic:
        queue, now = self._queue(namespace), datetime.now(UTC)
        alive = [queue.episodes[seq].started_at for seq in (*queue.waiting, *queue.claimed)]
        names = (
            "recorded",
            "learned",
            "nothing",
            "set_aside",
            "dead",
            "dropped",
            "limited",
            "expired",
            "retried",
        )
        hours = [f"hour:{now - ago:%H}" for ago in (timedelta(0), timedelta(hours=1))]
        return Traffic(
            waiting=len(queue.waiting),
            claimed=len(queue.claimed),
            dead=len(queue.dead),
            archived=len(queue.archive),
            bytes=sum(queue.sizes.values()),
            oldest=max(0.0, (now - min(alive)).total_seconds()) if alive else None,
            counts={name: queue.counts[name] for name in names},
            today={
                name: float(n) for name, n in queue.spent.items() if not name.startswith("hour:")
            },
            hour=sum(queue.spent[name] for name in hours),
            last_settled=queue.settled_at,
            last_error=queue.last_error,
            learners=sum(until > time.time() for until in queue.learners.values()),
        )

    async def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, queue in self._queues.items() if queue.counts))
