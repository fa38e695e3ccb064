"""How many bytes things take in Redis, beside what they say, as JSON. `bench evidence` has all."""

from typing import Any

import redis.asyncio

from bench.figures import Figure, Measured
from bench.measuring import lessons
from ted_memory import Rewrite, open_memory
from ted_memory.episodes import Episode
from ted_memory.models import Message
from ted_memory.storage.redis.keys import Keys

TITLE = "Bytes in Redis"
COUNT = 500
ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7, "rate_limit": 10**6}
TEXT = "Which code does this ticket get? It is about an order that came late. " * 14


async def measure(url: str) -> list[Measured]:
    """Measure a lesson that was added and rewritten once, and an episode that waits."""
    async with (
        open_memory(url, namespace="bytes", **ROOMY) as memory,
        redis.asyncio.Redis.from_url(url) as client,
    ):
        keys = Keys("bytes")
        ids = []
        for start in range(0, COUNT, 50):
            commit = await memory.commit(lessons(50), author="bench", why=f"part {start}")
            ids += [applied.id for applied in commit.applied]
        added = await _bytes(client, keys.experiences, keys.log)
        said = sum(len(e.model_dump_json(exclude_defaults=True)) for e in await memory.load())
        for id in ids:
            await memory.commit([Rewrite(id=id, text=f"Lesson {id} says more now.")], author="b")
        rewritten = await _bytes(client, keys.log)
        episodes = [_episode(i) for i in range(COUNT)]
        for episode in episodes:
            await memory.record(episode)
        await memory.flush()
        recorded = sum(len(e.model_dump_json(exclude_defaults=True)) for e in episodes)
        waiting = await _bytes(client, keys.episodes, keys.waiting)
    return [
        Figure(
            "a lesson with the log of its addition",
            added / COUNT,
            "B",
            "the lesson as JSON",
            said / COUNT,
            at_most=2,
        ),
        Figure("an entry of the log for one rewrite", rewritten / COUNT, "B"),
        Figure(
            "an episode that waits",
            waiting / COUNT,
            "B",
            "the episode as JSON",
            recorded / COUNT,
            at_most=2,
        ),
    ]


async def _bytes(client: "redis.asyncio.Redis", *keys: str) -> float:
    return float(sum([await client.memory_usage(key, samples=0) or 0 for key in keys]))


def _episode(i: int) -> Episode:
    return Episode(
        run_id=f"run-{i}",
        principal=f"p{i % 50}",
        input=(Message(role="user", content=TEXT),),
        output=(Message(role="assistant", content="c001"),),
    )
