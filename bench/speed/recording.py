"""Recording: on an agent's path, and how many runs a second one process can send in all."""

import asyncio
import time

import redis.asyncio
from langchain_core.messages import AIMessage, HumanMessage

from bench.figures import Figure, Measured, middle
from bench.measuring import lessons, times
from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Exposure
from ted_memory.integrations.live_run import LiveRun

TITLE = "Recording"
RUNS = 6000
ASKED = ("What about topic1, and when does it come? " * 12)[:500]
SAID = ("It comes on Monday, unless somebody changes it. " * 12)[:500]


async def measure(url: str) -> list[Measured]:
    """Measure the recording of runs of 1 kB."""
    async with open_memory(url, namespace="recording", buffer_episodes=10**6) as memory:
        await memory.commit(lessons(50), author="bench")
        shown = await memory.expose(ASKED, unit="u")

        async def record(i: int) -> None:
            _record(memory, f"run-{i}", shown)

        on_path = await times(record)
        await memory.flush()
    least = await _least(url)
    figures: list[Measured] = [
        Figure("recording a run, on the agent's path", middle(on_path), "us", at_most=15)
    ]
    for name, hook, part in (("with redaction", None, 0.3), ("without", str, 0.5)):
        async with open_memory(
            url,
            namespace=f"sustained-{part}",
            redact=hook,
            buffer_episodes=10**6,
            max_episodes=10**6,
            rate_limit=10**6,
        ) as memory:
            began, worked = time.perf_counter(), time.process_time()
            for i in range(RUNS):
                _record(memory, f"run-{i}", shown)
                if i % 50 == 0:
                    await asyncio.sleep(0)
            await memory.flush()
            seconds, cpu = time.perf_counter() - began, time.process_time() - worked
            if memory.health().recorded != RUNS:
                raise RuntimeError(f"not all were recorded: {memory.health()}")
        figures.append(
            Figure(
                f"runs recorded, sustained, {name}",
                RUNS / seconds,
                "/s",
                "XADD of the same bytes in a pipeline",
                least,
                at_least=part,
                note=f"processor {cpu / RUNS * 1e6:,.0f} us a run",
            )
        )
    return figures


def _record(memory: TedMemory, run_id: str, shown: Exposure) -> None:
    asked, said = [HumanMessage(ASKED, id="1")], [AIMessage(SAID, id="2")]
    run = LiveRun(memory, run_id, "thread", "anna", asked, shown)
    run.begun()
    run.finish(said)


async def _least(url: str) -> float:
    body = (ASKED + SAID)[:1000]
    async with redis.asyncio.Redis.from_url(url) as client:
        began = time.perf_counter()
        for _ in range(RUNS // 100):
            pipeline = client.pipeline(transaction=False)
            for _ in range(100):
                pipeline.xadd("least", {"run": body})
            await pipeline.execute()
        return RUNS / (time.perf_counter() - began)
