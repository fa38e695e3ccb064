"""Commits a second, beside a script that does the least: count, and write an entry of a log."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

from bench.figures import Figure, Growth, Measured, middle
from bench.measuring import lessons, times
from ted_memory import Add, Rewrite, open_memory

TITLE = "Commits"
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}
PROCESSES = (1, 4, 16)
SECONDS = 4.0
TASKS, EACH = 16, 60
BASES = (20, 200, 2000, 20_000)
LEAST = (
    "redis.call('INCR', KEYS[1]) "
    "return redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'edit', ARGV[1])"
)
# A process that commits, or calls the least script, for some seconds, and prints how often it did.
OURS = """
import asyncio, sys, time
from ted_memory import Add, open_memory
async def main():
    settings = dict(namespace='processes', max_experiences=10**5, token_budget=10**7)
    async with open_memory(sys.argv[1], **settings) as memory:
        await memory.commit([Add(text='warm')], author='bench')
        print('ready', flush=True); sys.stdin.readline()
        count, ends = 0, time.perf_counter() + float(sys.argv[2])
        while time.perf_counter() < ends:
            await memory.commit([Add(text=f'{sys.argv[3]} says {count}.')], author='bench')
            count += 1
        print(count)
asyncio.run(main())
"""
THEIRS = """
import asyncio, redis.asyncio, sys, time
async def main():
    async with redis.asyncio.Redis.from_url(sys.argv[1]) as client:
        script = client.register_script(sys.argv[4])
        await script(keys=['{bench}:n', '{bench}:log'], args=['x' * 300])
        print('ready', flush=True); sys.stdin.readline()
        count, ends = 0, time.perf_counter() + float(sys.argv[2])
        while time.perf_counter() < ends:
            await script(keys=['{bench}:n', '{bench}:log'], args=['x' * 300])
            count += 1
        print(count)
asyncio.run(main())
"""


async def measure(url: str) -> list[Measured]:
    """Measure commits of many processes, of many tasks, and on sets of any size."""
    figures: list[Measured] = []
    beside = "a script of INCR and XADD"
    for count in PROCESSES:
        ours, least = await _processes(OURS, url, count), await _processes(THEIRS, url, count)
        most = 0.5 if count == PROCESSES[-1] else None
        figures.append(
            Figure(f"commits, {count} processes", ours, "/s", beside, least, at_least=most)
        )
    least = await _rate(await _least(url))
    async with open_memory(url, namespace="tasks", **ROOMY) as memory:
        commit = await memory.commit(lessons(TASKS), author="bench")
        ids = [applied.id for applied in commit.applied]

        async def add(task: int, i: int) -> None:
            await memory.commit([Add(text=f"Lesson {task}.{i}.")], author="bench")

        async def rewrite(task: int, i: int) -> None:
            await memory.commit([Rewrite(id=ids[task], text=f"Says {i}.")], author="bench")

        for name, work in (("additions", add), ("rewrites", rewrite)):
            rate = await _rate(work)
            figures.append(
                Figure(
                    f"{name}, {TASKS} tasks of a process", rate, "/s", beside, least, at_least=0.5
                )
            )
    return [*figures, await _on_bases(url)]


async def _processes(program: str, url: str, count: int) -> float:
    """Return what so many processes of this program do in a second."""
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, url, str(SECONDS), str(i), LEAST),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for i in range(count)
    ]
    for one in running:
        assert one.stdout is not None
        await one.stdout.readline()
    done = await asyncio.gather(*(one.communicate(b"go\n") for one in running))
    return sum(int(out) for out, _ in done) / SECONDS


async def _least(url: str) -> Callable[[int, int], Awaitable[None]]:
    client = redis.asyncio.Redis.from_url(url)
    script = client.register_script(LEAST)

    async def call(_task: int, _i: int) -> None:
        await script(keys=["{tasks}:n", "{tasks}:log"], args=["x" * 300])

    return call


async def _rate(work: Callable[[int, int], Awaitable[None]]) -> float:
    """Return how often a second so many tasks of this process do it."""

    async def several(task: int) -> None:
        for i in range(EACH):
            await work(task, i)

    await work(0, 0)
    began = time.perf_counter()
    await asyncio.gather(*map(several, range(TASKS)))
    return TASKS * EACH / (time.perf_counter() - began)


async def _on_bases(url: str) -> Growth:
    """Measure an addition right after so many lessons were imported in one commit."""
    points = []
    for size in BASES:
        async with open_memory(url, namespace=f"base-{size}", **ROOMY) as memory:
            await memory.commit(lessons(size), author="bench")
            await memory.load()
            taken = await times(
                lambda i: memory.commit([Add(text=f"More {i}.")], author="bench"),
                50,
            )
            points.append((size, middle(taken)))
    return Growth("an addition after an import", "us", "lessons", tuple(points), at_most=1.2)
