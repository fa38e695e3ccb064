"""Pages of the review desk over a set of 5,000 lessons: from the request to the last byte."""

from functools import partial
from typing import Any

import httpx

from bench.figures import Figure, Growth, Measured, middle
from bench.measuring import lessons, times
from ted_memory import TedMemory, open_memory
from ted_memory.models import Usage
from ted_memory.web.app import create_app

TITLE = "The review desk"
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}
SIZES = (50, 500, 5000)
ROUNDS = 20
PATIENCE = 300.0  # ms: what a person takes for at once, with some room
BASE = "http://127.0.0.1"
PAGES = {
    "set, sorted by lift": "/set",
    "set, searched": "/set?q=topic4321",
    "set, last page": "/set?page=100",
    "inbox": "/",
    "playground": "/playground?q=What+about+topic1+and+topic2%3F",
    "versions": "/versions",
    "health": "/health",
}


async def measure(url: str) -> list[Measured]:
    """Measure each page at full size, and how the set's page grows."""
    figures: list[Measured] = []
    points = []
    for size in SIZES:
        async with open_memory(url, namespace=f"desk-{size}", **ROOMY) as memory:
            await _fill(memory, size)
            found = await _pages(memory)
            points.append((size, found[0].ours))
            if size == SIZES[-1]:
                figures += found
    return [*figures, Growth("the set's page", "ms", "lessons", tuple(points))]


async def _fill(memory: TedMemory, size: int) -> None:
    """Commit lessons of which each has a lift, and 200 proposals."""
    commit = await memory.commit(lessons(size), author="bench")
    usage = {
        made.id: Usage(n_with=40, successes_with=20 + i % 20, n_without=10, successes_without=5)
        for i, made in enumerate(commit.applied)
    }
    await memory.credit(usage, token="lifts")
    await memory.commit(lessons(200, state="proposed"), author="bench")


async def _pages(memory: TedMemory) -> list[Figure]:
    app = create_app(memory)
    transport = httpx.ASGITransport(app=app)
    token = app.state.desk.doorkeeper.link_token
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        await client.get("/enter", params={"token": token})

        async def ask(path: str, _: int) -> None:
            (await client.get(path)).raise_for_status()

        found = []
        for name, path in PAGES.items():
            taken = await times(partial(ask, path), ROUNDS)
            found.append(
                Figure(
                    name,
                    middle(taken) / 1000,
                    "ms",
                    at_most=PATIENCE,
                    note=f"slowest of {ROUNDS}: {taken[-1] / 1000:,.0f} ms",
                )
            )
    return found
