"""Many namespaces in one process: nothing that is kept may be of a fixed size."""

import gc
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.figures import Figure, Growth, Measured, middle
from bench.measuring import lessons, sizes
from ted_memory import TedMemory, open_memory
from ted_memory.settings import Selection

TITLE = "Many namespaces in one process"
SIZES = sizes(1, 10, 100, 1000, 5000, full=[10_000])
LESSONS = 5
CALLS = 4000
QUESTION = "What about topic1, topic2 and topic3?"

Way = Callable[[TedMemory], Awaitable[Any]]
WAYS: dict[str, tuple[Selection, Way]] = {
    "render, all": ("all", lambda memory: memory.render(QUESTION)),
    "render, budget": ("budget", lambda memory: memory.render(QUESTION)),
    "render, relevant": ("relevant", lambda memory: memory.render(QUESTION)),
    "expose": ("relevant", lambda memory: memory.expose(QUESTION, unit="u")),
}


async def measure(url: str) -> list[Measured]:
    """Measure each way to show lessons, with more and more namespaces in turn."""
    figures: list[Measured] = []
    bytes_each = 0.0
    for name, (selection, way) in WAYS.items():
        async with open_memory(url, namespace="t0", refresh=3600, selection=selection) as first:
            memories, points = list[TedMemory](), list[tuple[float, float]]()
            before = _resident()
            for size in SIZES:
                memories += [first.for_namespace(f"t{i}") for i in range(len(memories), size)]
                await _fill(memories, way)
                points.append((size, await _each(memories, way)))
            # later ways take memory that earlier ones have let go of
            bytes_each = bytes_each or (_resident() - before) / SIZES[-1]
            figures.append(Growth(name, "us", "namespaces", tuple(points), at_most=1.2))
            del memories
            gc.collect()
    figures.append(Figure(f"memory of a namespace with {LESSONS} lessons", bytes_each / 1000, "kB"))
    return figures


async def _fill(memories: list[TedMemory], way: Way) -> None:
    for memory in memories:
        if not await memory.load():
            await memory.commit(lessons(LESSONS), author="bench")
        await way(memory)


async def _each(memories: list[TedMemory], way: Way) -> float:
    """Return the microseconds (p50) of a call, of namespaces in random order."""
    order = random.Random(1).choices(range(len(memories)), k=CALLS)
    gc.collect()
    taken = []
    for i in order:
        began = time.perf_counter()
        await way(memories[i])
        taken.append((time.perf_counter() - began) * 1e6)
    return middle(taken)


def _resident() -> float:
    """Return the bytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
