"""How many pairs a day's calls still allow, and what they have cost.

For `learner.replay`. Calls are counted before they are made (`Allowance.reserve`), and those that
were not made come back, so that a learner that is killed again and again keeps to its day.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

from ted_memory.errors import StoreError
from ted_memory.llm.calls import Meter
from ted_memory.memory.client import TedMemory

ATTEMPTS = 2  # answers of each side of a pair
CALLS = 2 * ATTEMPTS  # of the student, for one pair, at most
WATCH_SHARE = 0.5  # of the day's calls, for active lessons: watching alone would use up all
COUNT_AGAIN = 5.0  # seconds after which the calls of the day are read anew


@dataclass
class Allowance:
    """The student calls that replays of one namespace may make on a day (`replay_calls`)."""

    memory: TedMemory
    _calls_today: float = 0.0
    _counted_at: float = float("-inf")
    _owed: Counter[str] = field(default_factory=Counter)

    def doubt(self) -> None:
        """Read the day's calls anew before the next pairs: another learner has made some."""
        self._counted_at = float("-inf")

    async def pairs_left(self) -> int:
        """Return how many pairs the day still has room for.

        Raises:
            StoreError: the day's calls cannot be read.
        """
        now = time.monotonic()
        if now - self._counted_at > COUNT_AGAIN:
            today = (await self.memory.traffic()).today
            self._calls_today = today.get("replay_calls", 0.0) + self._owed["replay_calls"]
            self._counted_at = now
        return int((self.memory.settings.replay_calls - self._calls_today) // CALLS)

    @property
    def allows_watching(self) -> bool:
        """Whether active lessons may still be replayed: they have a share of the day's calls."""
        return self._calls_today < WATCH_SHARE * self.memory.settings.replay_calls

    async def reserve(self, pairs: int) -> None:
        """Count the calls of so many pairs before they are made.

        So a learner that is killed while it asks has paid for them.

        Raises:
            StoreError: nothing may be asked.
        """
        if pairs:
            await self.memory.repository.count({"replay_calls": pairs * CALLS})
            self._calls_today += pairs * CALLS

    def owe(self, meter: Meter, *, is_paid: bool = False) -> None:
        """Note what one pair has cost, for `pay`.

        Of the calls that were reserved for it those that were not made come back. Not so with
        ``is_paid``, where the pair failed and no provider was away: calls that failed are in no
        meter, and the limit of the day has to hold.
        """
        student, teacher = meter.spent.student, meter.spent.teacher
        unused = 0 if is_paid else CALLS - student.calls
        self._calls_today -= unused
        self._owed["replay_calls"] -= unused
        self._owed["replay_tokens"] += student.tokens_in + student.tokens_out
        for role, spend in (("student", student), ("teacher", teacher)):
            for name in ("calls", "tokens_in", "tokens_out"):
                self._owed[f"{role}_{name}"] += getattr(spend, name)

    async def pay(self) -> None:
        """Add what was spent to the day's counters.

        Raises:
            StoreError: it is kept, and added another time.
        """
        owed = {name: count for name, count in self._owed.items() if count}
        self._owed.clear()
        if not owed:
            return
        try:
            await self.memory.repository.count(owed)
        except StoreError:
            self._owed.update(owed)
            raise
