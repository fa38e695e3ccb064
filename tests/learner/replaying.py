"""A learner that has nothing but replays to do: helpers for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ted_memory import TedMemory
from ted_memory.learner import Learner
from ted_memory.testing import wait_until
from tests.distill.scripts import SlowChatModel, follows
from tests.learner.worlds import (
    says_nothing,
    shown,
    sums,
)


class Away(Exception):  # noqa: N818
    """What a provider's client raises that is asked in vain."""

    def __init__(self, status_code: int = 503) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


def slow(seconds: float) -> SlowChatModel:
    return SlowChatModel(script=follows, pause=lambda _: seconds)


@contextlib.asynccontextmanager
async def at_work(memory: TedMemory, model: Any, **options: Any) -> AsyncIterator[Learner]:
    """Let a learner run that has nothing but replays to do."""
    learner = Learner(memory, student=model, teacher=says_nothing(), **options)
    running = asyncio.create_task(learner.run())
    try:
        yield learner
    finally:
        learner.stop()
        await running


async def until_pairs(memory: TedMemory, id: str, count: int) -> None:
    async def there() -> bool:
        return (await sums(memory, id)).pairs >= count

    await wait_until(there, timeout=60, what=f"{count} pairs")


async def check_once(memory: TedMemory, id: str, count: int, *models: SlowChatModel) -> None:
    """Each pair was asked for once, and counted once."""
    asked = sum(len(model.asked) for model in models)
    assert asked == 4 * count, f"{asked} answers for {count} pairs"
    found = await shown(memory, id)
    assert (found.evidence.total.pairs, len(found.done)) == (count, count)
