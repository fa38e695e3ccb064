"""One read for all that ask for it at the same time: fresh for each, and gone with the last."""

import asyncio

import pytest

from ted_memory.memory.shared_read import SharedRead


class Counter:
    """Reads a number that goes up, when it is let."""

    def __init__(self) -> None:
        self.value = self.reads = self.cancelled = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.reads += 1
        seen = self.value
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return seen


async def soon() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_is_under_way_shares_the_next_one() -> None:
    counter = Counter()
    read = SharedRead(counter)
    first = asyncio.create_task(read())
    await soon()
    counter.value = 1  # after the first one has begun: nobody who asks now may miss it
    others = [asyncio.create_task(read()) for _ in range(15)]
    await soon()
    assert counter.reads == 1
    counter.may_end.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 15
    assert counter.reads == 2


async def test_a_read_that_others_wait_for_outlives_who_asked_first() -> None:
    counter = Counter()
    read = SharedRead(counter)
    under_way = asyncio.create_task(read())
    await soon()
    first, second = (asyncio.create_task(read()) for _ in range(2))
    await soon()
    first.cancel()
    await soon()
    counter.may_end.set()
    assert await under_way == await second == 0
    assert (counter.reads, counter.cancelled) == (2, 0)


async def test_a_read_alone_is_made_by_who_asks() -> None:
    """Without a task of its own, which would let others come between."""
    tasks = []

    async def read_here() -> None:
        tasks.append(asyncio.current_task())

    await SharedRead(read_here)()
    assert tasks == [asyncio.current_task()]


async def test_a_read_that_nobody_waits_for_ends_at_once() -> None:
    counter = Counter()
    read = SharedRead(counter)
    alone = asyncio.create_task(read())
    await soon()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert counter.cancelled == 1
    counter.may_end.set()
    assert await read() == 0


async def test_who_gives_up_waiting_for_his_turn_takes_nothing_with_him() -> None:
    counter = Counter()
    read = SharedRead(counter)
    first = asyncio.create_task(read())
    await soon()
    waiting = asyncio.create_task(read())
    await soon()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    counter.may_end.set()
    assert await first == 0
    assert await read() == 0


async def test_a_read_that_somebody_else_cancels_is_made_again() -> None:
    counter = Counter()
    read = SharedRead(counter)
    first = asyncio.create_task(read())
    await soon()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(read())
    await soon()
    [made] = asyncio.all_tasks() - before - {waiting}
    made.cancel()
    await soon()
    counter.may_end.set()
    assert await first == await waiting == await read() == 0


async def test_all_who_wait_are_told_of_an_error() -> None:
    async def fails() -> None:
        raise OSError("away")

    read = SharedRead(fails)
    told = await asyncio.gather(*(read() for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in told] == ["away"] * 3


def test_each_event_loop_reads_by_itself() -> None:
    reads = []

    async def read_once() -> int:
        reads.append(1)
        return len(reads)

    read = SharedRead(read_once)
    assert [asyncio.run(read()), asyncio.run(read())] == [1, 2]
