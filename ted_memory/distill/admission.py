"""Which samples may begin while a budget lasts."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from ted_memory.errors import BudgetExceeded
from ted_memory.llm.calls import Calls
from ted_memory.llm.spend import Spend

ENOUGH = 4  # samples whose costs say more than an estimate


class Admission:
    """Lets a sample begin while the budget has room for all that are under way.

    Each of them is expected to take ``each`` calls. A sample that was paid for half is paid for in
    vain. So one that finds no room waits until others have ended, which mostly leave some, and is
    turned away when none is under way. After a few samples the dearest one is the measure.
    """

    def __init__(self, calls: Calls, each: Counter[str]) -> None:
        self._calls = calls
        self._each = each
        self._seen: list[Spend] = []
        self._under_way = 0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def for_one(self) -> AsyncIterator[None]:
        """Hold the room of one sample.

        Raises:
            BudgetExceeded: there is none.
        """
        async with self._changed:
            while not self._is_there():
                await self._changed.wait()
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def saw(self, spend: Spend) -> None:
        """Learn what a sample has cost."""
        self._seen.append(spend)
        if len(self._seen) >= ENOUGH:
            student = max(spend.student.calls for spend in self._seen)
            self._each = Counter(
                student=student, teacher=max(spend.teacher.calls for spend in self._seen)
            )

    def _is_there(self) -> bool:
        if self._under_way and self._calls.budget and not self._calls.spent.student.calls:
            return False  # what a call costs is not known before the first sample
        count = self._under_way + 1
        try:
            self._calls.check_room(
                Counter({role: calls * count for role, calls in self._each.items()})
            )
        except BudgetExceeded:
            if not self._under_way:
                raise
            return False
        return True
