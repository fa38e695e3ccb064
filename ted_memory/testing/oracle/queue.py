"""What a process's own memory holds of one namespace's traffic, and what a script does to it."""

import time
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ted_memory.episodes import Archived, DeadLetter, Episode, Feedback, Retention
from ted_memory.protocols import TOLD_FIRST, RecordLimits, Settle
from ted_memory.testing.oracle.evidence import Counted, InMemoryEvidence

DAY = 24 * 3600.0  # seconds
FEEDBACKS = 20
"""The latest pieces of feedback on one run that are kept."""


@dataclass
class Run:
    """What is known of one run.

    ``seq`` is that of its episode: None where it has not come, 0 where it was refused.
    """

    seq: int | None = None
    principal: str = ""
    unit: str = ""
    seen: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    told: list[Feedback] = field(default_factory=list)
    version: int = 0
    withhold: float = 0.0
    score: float | None = None
    counted: dict[str, Counted] = field(default_factory=dict)

    def begin(self, episode: Episode) -> None:
        """Note what an outcome of the run will be credited by."""
        self.seq = 0
        self.principal = episode.principal
        self.unit = episode.unit
        self.seen = episode.seen if episode.counted is None else episode.counted
        self.withheld = episode.withheld
        self.version = episode.version
        self.withhold = episode.withhold_share

    def add(self, feedback: Feedback) -> None:
        """Keep feedback with the run."""
        self.told = [*self.told, feedback][-FEEDBACKS:]

    @property
    def heard(self) -> tuple[Feedback, ...]:
        """The feedback that counts for its principal, oldest first."""
        return tuple(said for said in self.told if said.is_heard(self.principal))


@dataclass
class Queue:
    """What one namespace's traffic holds."""

    seq: int = 0
    episodes: dict[int, Episode] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, float] = field(default_factory=dict)
    """By seq, when the episode may be begun (seconds since 1970)."""
    claimed: dict[int, float] = field(default_factory=dict)
    """By seq, when the claim ends (seconds since 1970)."""
    holders: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By seq, the fence of the claim and the number of claims so far."""
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    learners: dict[str, float] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
    evidence: InMemoryEvidence = field(default_factory=InMemoryEvidence)
    archive: dict[int, Archived] = field(default_factory=dict)
    rate: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    spent: Counter[str] = field(default_factory=Counter)
    settled_at: datetime | None = None
    looked_at: float = 0.0
    days: dict[int, int] = field(default_factory=dict)
    """The last episode before each day of traffic."""
    last_error: str = ""

    def take_in(self, episode: Episode, images: Mapping[str, bytes], limits: RecordLimits) -> str:
        """Take in an episode, once for its run; what became of it, as `Recorded` calls it."""
        run = self.runs.setdefault(episode.run_id, Run())
        if run.seq is not None:
            return "repeated"
        run.begin(episode)
        if self.exceeds_rate(f"e:{episode.principal}", limits.rate_limit):
            return "limited"
        held = {digest: images[digest] for digest in episode.images if digest in images}
        size = _size(episode) + 2 * sum(map(len, held.values()))
        if not self._has_room(size, limits):
            return "dropped"
        self._begin_day()
        self.seq += 1
        run.seq = self.seq
        self.images.update(held)
        self.episodes[self.seq] = episode
        self.sizes[self.seq] = size
        self.waiting[self.seq] = time.time() + (-TOLD_FIRST if run.told else limits.wait)
        return "recorded"

    def exceeds_rate(self, what: str, limit: int) -> bool:
        """Count one more; tell whether it is too many for the day."""
        self.rate[what] += 1
        return self.rate[what] > limit

    def _has_room(self, size: int, limits: RecordLimits) -> bool:
        """Tell whether one more may wait. Dead letters take nothing of what may wait."""
        sizes = [size for seq, size in self.sizes.items() if seq not in self.dead]
        return len(sizes) < limits.max_episodes and sum(sizes) + size <= limits.max_bytes

    def wake(self, seq: int) -> None:
        """Let an episode that somebody spoke about go first; a second word changes nothing."""
        if seq in self.waiting:
            self.waiting[seq] = min(self.waiting[seq], time.time() - TOLD_FIRST)

    def bury(self, seq: int, deliveries: int, reason: str, kept: Retention) -> None:
        """Make a dead letter of an episode."""
        episode = self.episodes[seq]
        self.dead[seq] = DeadLetter(
            seq=seq,
            run_id=episode.run_id,
            reason=reason,
            deliveries=deliveries,
            at=datetime.now(UTC),
            episode=episode,
        )
        for place in (self.holders, self.waiting, self.claimed):
            place.pop(seq, None)
        self.counts["dead"] += 1
        self.last_error = reason
        self.forget_dead(kept)

    def forget_dead(self, kept: Retention) -> None:
        """Forget the oldest dead letters: those beyond the bound, and those that are too old."""
        oldest = datetime.now(UTC) - timedelta(days=kept.dead_days)
        for seq in sorted(self.dead):
            if len(self.dead) > kept.max_dead or self.dead[seq].at <= oldest:
                self.take_out(seq)

    def forget_late(self, kept: Retention) -> None:
        """Forget what has waited, or was archived, for too many days.

        A claimed episode stays: it is being learned from.
        """
        last = self._last_before(kept.episode_days)
        for seq in [seq for seq in self.waiting if seq <= last]:
            self.take_out(seq)
            self.counts["expired"] += 1
        last = self._last_before(kept.archive_days)
        for seq in [seq for seq in self.archive if seq <= last]:
            del self.archive[seq]

    def take_out(self, seq: int) -> None:
        """Forget an episode, and the images that no other one has."""
        for place in (self.episodes, self.sizes, self.holders, self.waiting, self.claimed):
            place.pop(seq, None)
        self.dead.pop(seq, None)
        held = {digest for episode in self.episodes.values() for digest in episode.images}
        self.images = {digest: data for digest, data in self.images.items() if digest in held}

    def keep(self, archived: Archived, settle: Settle, purged: Set[str]) -> None:
        """Archive an episode, unless it is from a purged source or too large; the oldest go."""
        if _size(archived) <= settle.max_archive_bytes and not archived.sources & purged:
            self.archive[archived.seq] = archived
        while self.archive and self._archive_is_full(settle):
            del self.archive[min(self.archive)]

    def _archive_is_full(self, settle: Settle) -> bool:
        size = sum(map(_size, self.archive.values()))
        return len(self.archive) > settle.max_archived or size > settle.max_archive_bytes

    def _begin_day(self) -> None:
        """Write down which episode was the last before today."""
        self.days.setdefault(int(time.time() // DAY), self.seq)

    def _last_before(self, days: int) -> int:
        """The last episode that was taken in more than so many days ago; 0: there is none."""
        since = time.time() // DAY - days
        later = [day for day in self.days if day >= since]
        return self.days[min(later)] if later else self.seq


def _size(kept: Episode | Archived) -> int:
    """Bytes that it takes in the store."""
    return len(kept.model_dump_json(exclude_defaults=True).encode())
