"""What is promised of traffic: episodes that wait, who works on them, what is said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import Field

from ted_memory.episodes import (
    Archived,
    Claim,
    Claims,
    DeadLetter,
    Episode,
    Erased,
    Feedback,
    Principal,
    Recorded,
    Subject,
    Traffic,
    Verdict,
)
from ted_memory.experience.evidence import Evidence
from ted_memory.fields import Frozen, Id

TOLD_FIRST = 30 * 24 * 3600.0
"""Seconds by which an episode that somebody spoke about goes before others."""


class RecordLimits(Frozen):
    """What holds when episodes are taken in.

    Attributes:
        wait: seconds for which each waits for feedback before it may be claimed.
        max_episodes: that wait at most; then new ones are dropped.
        max_bytes: of all that wait.
        rate_limit: episodes of one principal that are taken in on one day.
    """

    wait: float = 0.0
    max_episodes: int
    max_bytes: int
    rate_limit: int


class CreditRules(Frozen):
    """What holds when an outcome is counted.

    Attributes:
        rate_limit: outcomes of one principal that count on one day.
        kept: the share of an active lesson's older usage that is left.
        first: count only where nothing was counted for the run yet.
        speaker: whose word a score is that comes without feedback ("": its run's principal's).
        reviewer: whether the speaker may speak of others' runs.
    """

    rate_limit: int
    kept: float = 1.0
    first: bool = False
    speaker: str = ""
    reviewer: bool = False


PairVerdict = Literal["counted", "repeated", "changed"]
"""What became of a pair: ``changed`` if its lesson or its episode has changed or gone since."""


class Pair(Frozen):
    """Mean scores of answers to the archived episode ``seq``, with a lesson and without it.

    Attributes:
        id: of the lesson.
        since: the version that the lesson was read at.
        speaker: whose word the episode's reference rests on.
        floor: an active lesson is watched on episodes after this one.
        on_tools: both answers rest on recorded results of tools.
    """

    id: Id
    since: int
    seq: int
    speaker: Principal
    score_with: float = Field(ge=0, le=1)
    score_without: float = Field(ge=0, le=1)
    floor: int = 0
    on_tools: bool = False


@dataclass(frozen=True)
class Shown:
    """What is known of one lesson.

    Attributes:
        change: the number of its latest change.
        evidence: what pairs and outcomes have shown.
        done: the latest episodes that it was replayed on.
        done_to: this one and all before it count as done: the list of those that were is bounded.
        floor: an active one is watched on episodes after this one; None: it was not watched yet.
    """

    change: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    done: frozenset[int] = frozenset()
    done_to: int = 0
    floor: int | None = None


KnownEvidence = Mapping[str, Shown]
"""By the lesson's id."""


class EpisodeQueue(Protocol):
    """Episodes that wait, who works on them, and what is said of their runs.

    An episode is taken in once for its run. One learner at a time holds it, for a lease; who held
    it before can no longer settle it. It leaves by a commit that settles it, or as a dead letter,
    never in another way. All methods raise StoreError and its children only.
    """

    async def record(
        self,
        namespace: str,
        episodes: Sequence[Episode],
        images: Mapping[str, bytes],
        limits: RecordLimits,
    ) -> tuple[Recorded, tuple[str, ...]]:
        """Take in episodes; tells what became of them, and which runs were spoken about before."""
        ...

    async def feedback(
        self,
        namespace: str,
        run_id: str,
        feedback: Feedback | None,
        score: float | None,
        rules: CreditRules,
    ) -> Verdict:
        """Keep feedback with its run, wake its episode, and credit the score.

        It is credited to the lessons that the run had seen or missed. A later score takes the place
        of an earlier one. Of a run that is not known yet the feedback is kept. The score is the
        word of whoever gave the feedback, without feedback that of the rules' speaker; of the run's
        principal where nobody is named.
        """
        ...

    async def archived(self, namespace: str, after: int = 0) -> tuple[Archived, ...]:
        """Read the archived episodes that came after this one, oldest first."""
        ...

    async def forget_archived(self, namespace: str, seqs: Sequence[int]) -> int:
        """Take episodes out of the archive; tells how many there were."""
        ...

    async def replayed(self, namespace: str, pair: Pair) -> PairVerdict:
        """Count a pair of answers, once for each lesson and episode."""
        ...

    async def evidence(
        self, namespace: str, ids: Sequence[str], known: KnownEvidence | None = None
    ) -> KnownEvidence:
        """Read what is known of these lessons; what has not changed since ``known`` is not sent."""
        ...

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        """Read what was said of each of these runs, oldest first."""
        ...

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
        """Claim episodes for `lease` seconds.

        With ``alone`` only those whose claim ended without an answer: what killed a learner is not
        begun again beside others. One that was begun `max_deliveries` times becomes a dead letter
        instead.
        """
        ...

    async def extend_lease(
        self, namespace: str, learner: str, claims: Sequence[Claim], *, lease: float
    ) -> frozenset[int]:
        """Hold claims for another lease; gives the seqs of those that another learner has now.

        One that is gone is not among them: its holder has settled it, and may be about to hear it.
        """
        ...

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
        """Let go of a claim, and say why; it may be claimed again after ``delay`` seconds.

        Where it ``counts`` as a failure, the last of ``max_deliveries`` makes a dead letter of the
        episode.
        """
        ...

    async def count(self, namespace: str, counters: Mapping[str, int]) -> None:
        """Add to this day's counters: what was spent without a result."""
        ...

    async def images(self, namespace: str, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Read the images that are still there, by their hashes."""
        ...

    async def dead_letters(self, namespace: str, limit: int) -> tuple[DeadLetter, ...]:
        """Read the newest dead letters."""
        ...

    async def retry_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        """Put dead letters back; tells how many there were."""
        ...

    async def drop_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        """Forget dead letters; tells how many there were."""
        ...

    async def runs_of(self, namespace: str, subject: Subject) -> frozenset[str]:
        """Find the ids of a subject's runs that wait or are known still."""
        ...

    async def erase(self, namespace: str, subject: Subject) -> Erased:
        """Forget a subject's episodes, run records, feedback and counts.

        Also what is claimed goes, and dead letters. What it meant for lessons stays: sums, in which
        nobody is named.
        """
        ...

    async def traffic(self, namespace: str) -> Traffic:
        """Count what waits, and read the counters."""
        ...

    async def namespaces(self) -> tuple[str, ...]:
        """List all namespaces that have recorded episodes, sorted."""
        ...
