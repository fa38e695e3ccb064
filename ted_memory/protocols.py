"""What storage promises. Everything above `storage` knows only this."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
from ted_memory.findings import Finding
from ted_memory.models import (
    Caps,
    Commit,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    Presentation,
    Usage,
)

ABSENT = -1
# seconds by which an episode that somebody spoke about goes before others
TOLD_FIRST = 30 * 24 * 3600.0
"""As an expected rev: the id must not exist."""


class Change(Frozen):
    """One edit worked out for the store: what it expects, what it writes.

    ``rejected`` is set when the edit broke a rule before it reached the store; it travels along so
    that the answer kept under the commit's token is complete. ``fresh`` ids lose their usage: it
    belonged to another text. Of ``puts``, one with order 0 gets the next place at the end of the
    set.
    """

    edit: Edit
    id: str = ""
    rejected: str = ""
    expects: tuple[tuple[str, int], ...] = ()
    puts: tuple[Experience, ...] = ()
    deletes: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()


class Settle(Frozen):
    """Take an episode out of the queue in the same step as a commit, if its claim still holds.

    ``counters`` are added to the day's: what learning from it cost. ``archive``: what is kept of it
    for replays, unless one of its sources is purged, or it alone is too large; of these the newest
    ``max_archived``, and at most ``max_archive_bytes``.
    """

    seq: int
    fence: int
    outcome: Literal["learned", "nothing", "set_aside"]
    counters: Mapping[str, int] = {}
    archive: Archived | None = None
    max_archived: int = 0
    max_archive_bytes: int = 0


class CommitRequest(Frozen):
    """Everything that one commit says to the store. ``usage`` is added in the same step, when anything is applied.

    Of ``caps`` those that are ``stated`` take the place of the set's own; the others are for a new
    set. ``base`` is what the caller looked at: (epoch, version, stamp). Where the store's history
    has gone another way since, what touches an experience is a conflict, whatever its rev.
    ``models`` is kept with the set when not empty, ``presentation`` when there is one; without
    changes, one that differs makes a version by itself. With ``settle`` usage is added also when
    nothing is applied; an ``atomic`` request of which an edit is refused settles nothing.
    """

    changes: tuple[Change, ...]
    usage: Mapping[str, Usage] = {}
    author: str
    why: str = ""
    token: str
    atomic: bool = False
    expect_version: int | None = None
    caps: Caps
    stated: tuple[Literal["max_experiences", "token_budget"], ...] = ()
    history: int = Field(ge=1)
    base: tuple[str, int, str] = ("", 0, "")
    models: Mapping[str, str] = {}
    presentation: Presentation | None = None
    settle: Settle | None = None


class Progress(Protocol):
    """A small durable record of a run: what is done is not paid for again."""

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the records of the run that works in this namespace, by key."""
        ...

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        """Keep a JSON-able record, durable for 30 days."""
        ...


class VectorHead(Frozen):
    """Which model a set's vectors are from, and how many numbers each of them has (0: not known yet)."""

    model: str
    dimension: int = 0


class VectorStore(Protocol):
    """Where one set keeps the vectors of its lessons, by names that their texts give."""

    async def head(self) -> VectorHead | None:
        """Return which model the kept vectors are from; None where there are none."""
        ...

    async def load(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Return those of these vectors that are there."""
        ...

    async def save(
        self, head: VectorHead, vectors: Mapping[str, bytes], keep: Collection[str]
    ) -> VectorHead:
        """Keep vectors, and forget all others but those in `keep`. Return the head that is kept.

        It is another one where another model's vectors are there: nothing is written then.
        """
        ...

    async def drop(self) -> None:
        """Forget all vectors and their head."""
        ...


class ExperienceStore(Progress, Protocol):
    """Versioned experience sets. All methods raise StoreError and its children only."""

    async def read(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        """Return the set now; `known` itself when nothing is new; None when the namespace does not exist.

        One round trip, with data in proportion to what changed since `known`.
        """
        ...

    async def read_fast(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        """Do the same on the agent's path: one try, `read_timeout` seconds at most."""
        ...

    @property
    def episodes(self) -> "EpisodeQueue":
        """The traffic that waits to be learned from."""
        ...

    def vectors(self, namespace: str) -> VectorStore:
        """Return where the set's vectors are kept; no I/O."""
        ...

    async def prove(self, namespace: str, *, to_learn: bool = False) -> None:
        """Make sure that the server can give what the settings ask for; ``to_learn``: and lets a learner do its work.

        Raises:
            StoreError: it cannot; says what it lacks.
            StoreRefused: its user lacks a right.
        """
        ...

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        """Apply the changes in one step; a token seen before answers what it answered first.

        What the edits said is not kept with the answer, so that a purge need not look for it: a
        repeat that brings other edits gets the first ones back empty.
        """
        ...

    async def credit(
        self, namespace: str, usage: Mapping[str, Usage], token: str, *, kept: float = 1.0
    ) -> bool:
        """Add to the usage of experiences that still exist; False when the token was used before.

        Of what was known of each of them, only the share `kept` is left: the newest counts most.
        """
        ...

    async def usage(self, namespace: str) -> Mapping[str, Usage]:
        """Return the usage as it is now."""
        ...

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        """Return the entries of these versions that are still kept, in the order asked for."""
        ...

    async def tombstone(self, namespace: str, source: str) -> None:
        """Refuse from now on, as ``purged``, every experience that carries this source."""
        ...

    async def tombstoned(self, namespace: str, sources: Iterable[str]) -> frozenset[str]:
        """Return those of the sources that are refused."""
        ...

    async def blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> None:
        """Replace these entries of the log, where `change` returns another one."""
        ...

    async def hold(self, namespace: str, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease, or hold it longer; False when another holder has it. 0 seconds let go of it.

        It saves double work. It is no lock: it ends while its holder is still at work if that takes
        too long.
        """
        ...

    async def namespaces(self) -> tuple[str, ...]:
        """Return all namespaces in which something was committed, sorted; no staging sets."""
        ...

    async def drop(self, namespace: str) -> None:
        """Forget a namespace and all that belongs to it."""
        ...

    async def drop_runs(
        self, namespace: str, sources: Collection[str], runs: Collection[str]
    ) -> int:
        """Forget the staging sets in which one of these sources or runs is named; return how many."""
        ...

    async def examine(self, namespace: str) -> Sequence[Finding]:
        """Look whether the server is set up so that nothing is lost, and answers in time."""
        ...

    async def compact(self) -> bool:
        """Have what was deleted leave the disk, too; False where that is the server's owner's to do."""
        ...

    async def aclose(self) -> None:
        """Let go of all connections, of every event loop."""
        ...


class RecordLimits(Frozen):
    """What holds when episodes are taken in. ``wait``: seconds for which each waits for feedback."""

    wait: float = 0.0
    max_episodes: int
    max_bytes: int
    rate_limit: int


class CreditRules(Frozen):
    """What holds when an outcome is counted.

    ``kept`` is the share of an active lesson's older usage that is left. Of one principal
    ``rate_limit`` outcomes count a day. ``first``: only where nothing was counted for the run yet.
    ``speaker``: whose word a score is that comes without feedback ("": its run's principal's),
    ``reviewer`` whether that one may speak of others' runs.
    """

    rate_limit: int
    kept: float = 1.0
    first: bool = False
    speaker: str = ""
    reviewer: bool = False


PairVerdict = Literal["counted", "repeated", "changed"]
"""What became of a pair: counted; counted before; its lesson or its episode has changed or gone since."""


class Pair(Frozen):
    """Mean scores of answers to the archived episode ``seq``, with a lesson and without it.

    ``since`` is the version that the lesson was read at, ``speaker`` whose word the episode's
    reference rests on. An active lesson is watched on episodes after ``floor``. ``on_tools``: both
    answers rest on recorded results of tools.
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
"""By lesson."""


class EpisodeQueue(Protocol):
    """Episodes that wait, who works on them, and what is said of their runs. Raises StoreError and its children only.

    An episode is taken in once for its run. One learner at a time holds it, for a lease; who held
    it before can no longer settle it. It leaves by a commit that settles it, or as a dead letter,
    never in another way.
    """

    async def record(
        self,
        namespace: str,
        episodes: Sequence[Episode],
        images: Mapping[str, bytes],
        limits: RecordLimits,
    ) -> tuple[Recorded, tuple[str, ...]]:
        """Take in episodes; return what became of them, and the runs for which feedback had come before."""
        ...

    async def feedback(
        self,
        namespace: str,
        run_id: str,
        feedback: Feedback | None,
        score: float | None,
        rules: CreditRules,
    ) -> Verdict:
        """Keep feedback with its run, wake its episode, and credit the score to what the run had seen or missed.

        A later score takes the place of an earlier one. Of a run that is not known yet the feedback
        is kept. The score is the word of whoever gave the feedback, without feedback that of the
        rules' speaker; of the run's principal where nobody is named.
        """
        ...

    async def archived(self, namespace: str, after: int = 0) -> tuple[Archived, ...]:
        """Return the archived episodes that came after this one, oldest first."""
        ...

    async def forget_archived(self, namespace: str, seqs: Sequence[int]) -> int:
        """Take episodes out of the archive; return how many there were."""
        ...

    async def replayed(self, namespace: str, pair: Pair) -> PairVerdict:
        """Count a pair of answers, once for each lesson and episode."""
        ...

    async def evidence(
        self, namespace: str, ids: Sequence[str], known: KnownEvidence | None = None
    ) -> KnownEvidence:
        """Return what is known of these lessons; only what has changed since `known` is read."""
        ...

    async def told(
        self, namespace: str, run_ids: Sequence[str]
    ) -> tuple[tuple[Feedback, ...], ...]:
        """Return what was said of each of these runs, oldest first."""
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
        """Hold claims for another lease; return the seqs of those that are lost to another learner.

        One that is gone was settled by its holder, who may be about to hear of it.
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
        """Let go of a claim. Where it ``counts``, the last of `max_deliveries` makes a dead letter of the episode."""
        ...

    async def count(self, namespace: str, counters: Mapping[str, int]) -> None:
        """Add to this day's counters: what was spent without a result."""
        ...

    async def images(self, namespace: str, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Return the images that are still there, by their hashes."""
        ...

    async def dead_letters(self, namespace: str, limit: int) -> tuple[DeadLetter, ...]:
        """Return the newest dead letters."""
        ...

    async def retry_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        """Put dead letters back; return how many there were."""
        ...

    async def drop_dead(self, namespace: str, seqs: Sequence[int]) -> int:
        """Forget dead letters; return how many there were."""
        ...

    async def runs_of(self, namespace: str, subject: Subject) -> frozenset[str]:
        """Return the ids of a subject's runs that wait or are known still."""
        ...

    async def erase(self, namespace: str, subject: Subject) -> Erased:
        """Forget a subject's episodes, also those that are claimed or dead letters, run records, feedback, and counts.

        What it meant for lessons stays: sums, in which nobody is named.
        """
        ...

    async def traffic(self, namespace: str) -> Traffic:
        """Return what waits, and the counters."""
        ...

    async def namespaces(self) -> tuple[str, ...]:
        """Return all namespaces that have recorded episodes, sorted."""
        ...
