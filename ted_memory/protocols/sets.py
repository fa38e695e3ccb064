"""What is promised of experience sets: how they are read, and changed by commits."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from ted_memory.episodes import Archived
from ted_memory.fields import Frozen
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
from ted_memory.protocols.feed import CommitFeed
from ted_memory.protocols.traffic import EpisodeQueue
from ted_memory.protocols.vectors import VectorStore

ABSENT = -1
"""As an expected rev: the id must not exist."""


class Change(Frozen):
    """One edit worked out for the store: what it expects to find, and what it writes.

    Attributes:
        rejected: why the edit was refused before it reached the store. It travels along so that
            the answer kept under the commit's token is complete.
        expects: ids with the rev that each must have, `ABSENT` for none.
        puts: one with order 0 gets the next place at the end of the set.
        fresh: ids that lose their usage, which belonged to another text.
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

    Attributes:
        counters: what learning from it cost; added to the day's.
        archive: what is kept of it for replays, unless one of its sources is purged, or it alone
            is too large. The newest ``max_archived`` are kept, ``max_archive_bytes`` at most.
    """

    seq: int
    fence: int
    outcome: Literal["learned", "nothing", "set_aside"]
    counters: Mapping[str, int] = {}
    archive: Archived | None = None
    max_archived: int = 0
    max_archive_bytes: int = 0


class CommitRequest(Frozen):
    """Everything that one commit says to the store.

    An ``atomic`` request of which an edit is refused changes nothing and settles nothing.

    Attributes:
        usage: added in the same step when anything is applied, or an episode is settled.
        caps: they initialise a new set. On an existing one only those named in ``stated``
            overwrite the stored ones.
        base: what the caller looked at: epoch, version and stamp. Where the store's history has
            gone another way since, whatever touches an experience is a conflict.
        models: kept with the set when not empty. Without changes, names that differ make a version
            by themselves.
        presentation: the same, when there is one.
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
    """A small durable record of a distillation: what is done is not paid for again."""

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        """Read the records of the distillation that works in this namespace, by key."""
        ...

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        """Keep a JSON-able record, durable for 30 days."""
        ...


class ExperienceStore(Progress, Protocol):
    """Versioned experience sets. All methods raise StoreError and its children only."""

    async def read(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        """Read the set as it is now, in one round trip.

        What is sent is in proportion to what changed since ``known``, which comes back itself when
        nothing is new. None: the namespace does not exist.
        """
        ...

    async def read_fast(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        """Read as `read` does, on an agent's path: one try, which fails soon.

        How long an agent waits for it is the caller's to say (`memory.cache`).
        """
        ...

    def feed(self, namespace: str) -> CommitFeed:
        """Give what tells of commits to the set, but for staging sets; no I/O."""
        ...

    @property
    def episodes(self) -> EpisodeQueue:
        """The traffic that waits to be learned from."""
        ...

    def vectors(self, namespace: str) -> VectorStore:
        """Give the place where the set's vectors are kept; no I/O."""
        ...

    async def prove(self, namespace: str, *, to_learn: bool = False) -> None:
        """Make sure that the server can give what the settings ask for.

        With ``to_learn`` also that it lets its user do all that a learner does.

        Raises:
            StoreError: it cannot; says what it lacks.
            StoreRefused: its user lacks a right.
        """
        ...

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        """Apply the changes in one step; a token seen before gets the answer that it got first.

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
        """Read the usage as it is now."""
        ...

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        """Read the entries of these versions that are still kept, in the order asked for."""
        ...

    async def tombstone(self, namespace: str, *sources: str) -> None:
        """Refuse from now on, as ``purged``, every experience that has one of these sources."""
        ...

    async def tombstoned(self, namespace: str, sources: Iterable[str]) -> frozenset[str]:
        """Tell which of the sources are refused."""
        ...

    async def blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> None:
        """Replace these entries of the log by what ``change`` makes of them.

        Where somebody else replaced one meanwhile, ``change`` is asked again: it is called any
        number of times, and may give back what it got.
        """
        ...

    async def hold(self, namespace: str, name: str, holder: str, seconds: float) -> bool:
        """Hold a lease, or hold it longer; False when another holder has it.

        0 seconds let go of it. It saves double work. It is no lock: it ends while its holder is
        still at work if that takes too long.
        """
        ...

    async def namespaces(self) -> tuple[str, ...]:
        """List all namespaces in which something was committed, sorted, without staging sets."""
        ...

    async def drop(self, namespace: str) -> None:
        """Forget a namespace and all that belongs to it."""
        ...

    async def drop_runs(
        self, namespace: str, sources: Collection[str], runs: Collection[str]
    ) -> int:
        """Forget the staging sets that name one of these sources or runs; tells how many."""
        ...

    async def examine(self, namespace: str) -> Sequence[Finding]:
        """Look whether the server is set up so that nothing is lost, and answers in time."""
        ...

    async def compact(self) -> bool:
        """Have what was deleted leave the disk, too; False where its owner must see to that."""
        ...

    async def aclose(self) -> None:
        """Let go of all connections, of every event loop."""
        ...
