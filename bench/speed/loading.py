"""The first load of a set and a change of it; the least is to GET the same bytes and parse them."""

import asyncio
import gc
import json
import time
from typing import Any

import redis.asyncio

from bench.figures import Figure, Growth, Measured, middle
from bench.measuring import fill, lessons, sizes, times
from ted_memory import Rewrite, TedMemory, open_memory
from ted_memory.storage.redis.keys import Keys

TITLE = "Loading"
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}
SIZES = sizes(50, 500, 5000, full=[50_000])
LARGE = 5000
AT_ONCE = 16
FIXED = 1000.0  # microseconds that a first load may take besides
MANY = 10_000


async def measure(url: str) -> list[Measured]:
    """Measure loads, how long they hold the event loop, and a first call."""
    figures: list[Measured] = []
    points, changed = list[tuple[float, float]](), list[tuple[float, float]]()
    for size in SIZES:
        async with open_memory(url, namespace=f"load-{size}", **ROOMY) as memory:
            first = await fill(memory, lessons(size))
            least = await _least(url, memory)
            ours = await times(lambda _: _anew(memory).load(), 20)
            points.append((size, middle(ours)))
            figures.append(
                Figure(
                    f"first load of {size:,} lessons",
                    middle(ours),
                    "us",
                    "GET of the same bytes and json.loads",
                    least,
                    at_most=round(2 + FIXED / least, 1),
                )
            )
            changed.append((size, await _after_a_change(memory, first)))
            if size == LARGE:
                figures += await _at_once(memory, middle(ours))
    figures.append(Growth("first load", "us", "lessons", tuple(points), exponent_at_most=1.05))
    figures.append(Growth("load after one lesson of all changed", "us", "lessons", tuple(changed)))
    return [*figures, await _first_call(url)]


def _anew(memory: TedMemory) -> TedMemory:
    """Return the same set as a process has it that knows nothing of it."""
    return memory.for_namespace(memory.namespace)


async def _least(url: str, memory: TedMemory) -> float:
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        fields = await client.hgetall(Keys(memory.namespace).experiences)
        await client.set("as-one", json.dumps(fields))

        async def read(_: int) -> None:
            json.loads(await client.get("as-one") or "")

        return middle(await times(read, 20))


async def _after_a_change(memory: TedMemory, id: str) -> float:
    reader, taken = _anew(memory), []
    await reader.load()
    for i in range(30):
        await memory.commit([Rewrite(id=id, text=f"Says {i}.")], author="bench")
        taken += await times(lambda _: reader.load(), 1)
    return middle(taken)


async def _at_once(memory: TedMemory, one: float) -> list[Measured]:
    """Measure 16 tasks of one process that load the same set, and how long the loop stood still."""
    taken, longest = [], 0.0
    for _ in range(5):
        fresh = _anew(memory)
        gc.collect()
        gc.freeze()  # a full pass of the collector is Python's, and any program's
        watching = asyncio.create_task(_longest_stop())
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        await asyncio.gather(*(fresh.load() for _ in range(AT_ONCE)))
        taken.append((time.perf_counter() - began) * 1e6)
        watching.cancel()
        longest = max(longest, await watching)
    return [
        Figure(
            f"{AT_ONCE} loads of {LARGE:,} lessons at once",
            middle(taken),
            "us",
            "one load",
            one,
            at_most=1.2,
        ),
        Figure(
            "longest stop of the event loop meanwhile",
            longest * 1000,
            "ms",
            at_most=10,
            note="without full passes of Python's collector",
        ),
    ]


async def _longest_stop() -> float:
    """Watch the event loop until cancelled; return the longest time (seconds) it stood still."""
    longest, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest


async def _first_call(url: str) -> Measured:
    """Measure a first call with 10,000 lessons: has it any?"""
    async with open_memory(url, namespace="first", **ROOMY) as memory:
        await memory.commit(lessons(MANY), author="bench")
        had = 0
        for _ in range(5):
            fresh = _anew(memory)
            had += bool(await fresh.render("What about topic1?"))
            if not had and fresh.health().version is not None:
                raise RuntimeError("a call that has no lessons says that it has some")
            await fresh.load()
    return Figure(
        f"first calls with {MANY:,} lessons that have them, of 5",
        had,
        "",
        note="one that has none says so in `health().version`, and the next one has them",
    )
