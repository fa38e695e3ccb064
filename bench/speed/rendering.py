"""The block alone, with a warm snapshot: what an agent's call waits for."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from bench.figures import Figure, Growth, Measured, high, middle
from bench.measuring import fill, lessons, sizes, times
from ted_memory import TedMemory, open_memory
from ted_memory.models import SetState, Trial

TITLE = "The block alone"
WORDS = 800
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}
SIZES = sizes(50, 500, 5000, full=[50_000])
LARGE = 5000
TWICE_A_CACHED_BLOCK = 9.2  # us: a block that a cache with an age gives took 4.6 on two such cores


async def measure(url: str) -> list[Measured]:
    """Measure `render` and `expose`."""
    figures: list[Measured] = []
    for selection in ("all", "budget", "relevant"):
        async with open_memory(
            url, namespace=f"render-{selection}", refresh=3600, selection=selection
        ) as memory:
            await memory.commit(lessons(50), author="bench")
            block = await memory.render()

            async def constant(_: int, block: str = block) -> str:
                return block

            ours, least = await times(lambda _: _asked(memory)), await times(constant)
            figures.append(_rendered(selection, ours, least))
    return [*figures, *await _of_many(url), *await _exposed(url)]


def _asked(memory: TedMemory) -> Awaitable[str]:
    return memory.render("What about topic1, topic2 and topic3?")


def _rendered(selection: str, ours: list[float], least: list[float]) -> Figure:
    if selection == "relevant":
        return Figure(
            "render, 50 lessons, relevant",
            middle(ours),
            "us",
            at_most=100,
            note=f"p99 {high(ours):,.0f} us",
        )
    return Figure(
        f"render, 50 lessons, {selection}",
        middle(ours),
        "us",
        at_most=TWICE_A_CACHED_BLOCK,
        note=f"p99 {high(ours):,.1f} us; a function that returns the block {middle(least):.2f} us",
    )


async def _of_many(url: str) -> list[Measured]:
    """Measure how `relevant` grows, with conditions of eight words out of some hundreds."""
    luck, points, slowest = random.Random(1), list[tuple[float, float]](), 0.0
    words = [f"word{i}" for i in range(WORDS)]
    for size in SIZES:
        async with open_memory(
            url, namespace=f"relevant-{size}", refresh=3600, selection="relevant", **ROOMY
        ) as memory:
            conditions = [" ".join(luck.sample(words, 8)) for _ in range(size)]
            await fill(memory, lessons(size, conditions))
            questions = [" ".join(luck.sample(words, 15)) for _ in range(200)]
            await memory.load()
            await memory.render(questions[0])
            taken = await times(_asks(memory, questions), 1000)
            points.append((size, middle(taken)))
            if size == LARGE:
                slowest = high(taken)
    return [
        Growth("render, relevant", "us", "lessons", tuple(points)),
        Figure(f"render, {LARGE:,} lessons, relevant, p99", slowest, "us", at_most=2000),
    ]


def _asks(memory: TedMemory, questions: list[str]) -> Callable[[int], Awaitable[str]]:
    return lambda i: memory.render(questions[i % len(questions)])


async def _exposed(url: str) -> list[Measured]:
    """Measure what a recorded request is shown: 50 lessons, five more on trial."""
    async with open_memory(url, namespace="exposed", refresh=3600) as memory:
        commit = await memory.commit([*lessons(50), *lessons(5, state="proposed")], author="bench")
        on_trial = [applied.id for applied in commit.applied[50:]]
        trial = Trial(bet=0.5)
        await memory.commit(
            [SetState(id=id, state="trial", trial=trial) for id in on_trial], author="bench"
        )
        question = "What about topic1, topic2 and topic3?"
        taken = await times(lambda i: memory.expose(question, unit=f"u{i}"))
    return [
        Figure(
            "expose, 50 lessons and 5 on trial",
            middle(taken),
            "us",
            note=f"p99 {high(taken):,.0f} us",
        )
    ]
