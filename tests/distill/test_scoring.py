"""Work side by side."""

import asyncio
import contextlib

import pytest

from ted_memory.distill.scoring import map_bounded


async def test_a_worker_that_lost_its_cancellation_begins_nothing_new() -> None:
    """Python 3.11's wait_for loses a cancellation that comes in the very step in which it is done.

    Every command of redis-py waits by it.
    """
    begun: list[int] = []

    async def work(task: int) -> None:
        begun.append(task)
        if task == 0:
            raise RuntimeError("the model cannot be used")
        with contextlib.suppress(asyncio.CancelledError):  # lost
            await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match="cannot be used"):
        await map_bounded(work, list(range(50)), 2)
    assert begun == [0, 1]
