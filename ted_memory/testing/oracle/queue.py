"""What a process's own memory holds of one namespace's traffic."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from ted_memory.episodes import Archived, DeadLetter, Episode, Feedback
from ted_memory.testing.oracle.evidence import Counted, InMemoryEvidence

DAY = 24 * 3600.0  # seconds


@dataclass
class Run:
    """What is known of one run."""

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


@dataclass
class Queue:
    """What one namespace's traffic holds."""

    seq: int = 0
    episodes: dict[int, Episode] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, float] = field(default_factory=dict)
    claimed: dict[int, float] = field(default_factory=dict)
    holders: dict[int, tuple[int, int]] = field(default_factory=dict)
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    learners: dict[str, float] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=lambda: defaultdict(Run))
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

    def begin_day(self) -> None:
        """Write down which episode was the last before today."""
        self.days.setdefault(int(time.time() // DAY), self.seq)

    def last_before(self, days: int) -> int:
        """Return the last episode that was taken in more than so many days ago, 0 if there is none."""
        since = time.time() // DAY - days
        later = [day for day in self.days if day >= since]
        return self.days[min(later)] if later else self.seq
