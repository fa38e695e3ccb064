"""``make bench``: measure on a real server of our own, and print a table. Nothing is asserted here.

``python -m bench retrieval`` measures what finds the lessons instead (`bench.retrieval`), ``python
-m bench evidence`` what keys take in the server, and our own work for a replayed pair
(`bench.evidence`).
"""

import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from bench import evidence, method, retrieval
from bench.measuring import ROUNDS, quantiles, server, times
from ted_memory import Add, Rewrite, open_memory
from ted_memory.integrations.live_run import LiveRun
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.models import SetState, Trial

ROOMY: dict[str, Any] = {"max_experiences": 100_000, "token_budget": 10**7}

Row = tuple[str, str, str]


async def render(url: str) -> Row:
    """An agent's call with a warm snapshot of 50 lessons, against doing nothing."""
    async with open_memory(url, namespace="render", refresh=3600) as memory:
        await memory.commit(
            [Add(text=f"Lesson {i} says what to do.") for i in range(50)], author="bench"
        )
        await memory.render()
        ours = await times(lambda _: memory.render())
    least = await times(lambda _: asyncio.sleep(0))
    return "render, warm, 50 lessons", quantiles(ours), f"a switch of tasks: {quantiles(least)}"


async def recording(url: str) -> list[Row]:
    """What it costs an agent's call to be recorded, and to be shown what is on trial."""
    lessons = [Add(text=f"Lesson {i} says what to do.", when=f"topic{i}") for i in range(50)]
    trials = [Add(text=f"Trial {i}.", when=f"topic{i}", state="proposed") for i in range(5)]
    async with open_memory(
        url, namespace="recording", refresh=3600, buffer_episodes=10**6
    ) as memory:
        commit = await memory.commit([*lessons, *trials], author="bench")
        on_trial = Trial(bet=0.5)
        ids = [applied.id for applied in commit.applied[50:]]
        await memory.commit(
            [SetState(id=id, state="trial", trial=on_trial) for id in ids], author="bench"
        )
        shown = await memory.expose("What about topic1, topic2, topic3?", unit="u")
        asked, said = [HumanMessage("What about topic1?", id="1")], [AIMessage("That.", id="2")]

        async def record(i: int) -> None:
            run = LiveRun(memory, f"run-{i}", "thread", "anna", asked, shown)
            run.begun()
            run.finish(said)

        rows = [
            (
                "recording a run, on the agent's path",
                quantiles(await times(record)),
                "at most 50 us",
            )
        ]
        taken = await times(
            lambda i: memory.expose("What about topic1, topic2, topic3?", unit=f"u{i}")
        )
        plain = await times(lambda _: memory.render("What about topic1, topic2, topic3?"))
        rows.append(
            ("expose, 50 lessons and 5 on trial", quantiles(taken), f"render: {quantiles(plain)}")
        )
    return rows


async def refresh(url: str, size: int) -> Row:
    """A load after one lesson of many changed, against a load of all."""
    async with (
        open_memory(url, namespace=f"refresh-{size}", **ROOMY) as writer,
        open_memory(url, namespace=f"refresh-{size}") as reader,
    ):
        commit = await writer.commit(
            [Add(text=f"Lesson {i} says what to do.") for i in range(size)], author="bench"
        )
        id = commit.applied[0].id
        await reader.load()
        taken, whole = [], []
        for i in range(100):
            await writer.commit([Rewrite(id=id, text=f"Says {i}.")], author="bench")
            taken += await times(lambda _: reader.load(), 1)
            whole += await times(lambda _: writer.for_namespace(writer.namespace).load(), 1)
    return (
        f"load, 1 of {size} changed",
        quantiles(sorted(taken)),
        f"all of it: {quantiles(sorted(whole))}",
    )


async def commits(url: str, tasks: int) -> Row:
    """Commits of one addition each, against a script that does nothing."""
    async with open_memory(url, namespace=f"commits-{tasks}", **ROOMY) as memory:

        async def write(task: int) -> None:
            for i in range(ROUNDS // tasks):
                await memory.commit([Add(text=f"Lesson {task}.{i}.")], author="bench")

        ours = await rate(write, tasks)
    async with redis.asyncio.Redis.from_url(url) as client:
        script = client.register_script("return 1")

        async def nothing(_: int) -> None:
            for _i in range(ROUNDS // tasks):
                await script(keys=["ted:{bench}:meta"])

        least = await rate(nothing, tasks)
    return (
        f"commits, {tasks} at once, 1 process",
        f"{ours:,.0f} a second",
        f"an empty script: {least:,.0f} a second",
    )


async def rate(work: Callable[[int], Awaitable[None]], tasks: int) -> float:
    """Rounds a second of so many tasks."""
    began = time.perf_counter()
    await asyncio.gather(*(work(task) for task in range(tasks)))
    return ROUNDS / (time.perf_counter() - began)


async def puts(url: str) -> list[Row]:
    """The BaseStore, against LangGraph's own in memory."""
    settings = {**ROOMY, "trust": "always"}
    rows = []
    async with open_memory(url, namespace="store", **settings) as memory:
        ours, theirs = TedMemoryStore(memory), InMemoryStore()
        for name, call in (("aput", put), ("aget", get)):
            mine = await times(functools.partial(call, ours), 500)
            peer = await times(functools.partial(call, theirs), 500)
            rows.append(
                (f"TedMemoryStore.{name}", quantiles(mine), f"InMemoryStore: {quantiles(peer)}")
            )
    return rows


async def put(store: TedMemoryStore | InMemoryStore, i: int) -> None:
    """Put one of a hundred lessons."""
    await store.aput(("bench",), f"k{i % 100}", {"text": f"Lesson {i}."})


async def get(store: TedMemoryStore | InMemoryStore, i: int) -> None:
    """Get one of a hundred lessons."""
    await store.aget(("bench",), f"k{i % 100}")


async def main() -> None:
    """Run all benchmarks."""
    table = Table(
        "what", "ted-memory", "beside it", title="on one server of our own, over a unix socket"
    )
    async with server() as url:
        rows = [
            await render(url),
            *await recording(url),
            *[await refresh(url, n) for n in (10, 100, 1000)],
        ]
        rows += [await commits(url, 1), await commits(url, 16), *await puts(url)]
        rows += [*await method.throughput(url), *await method.costs()]
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    others = {"retrieval": retrieval.main, "evidence": evidence.main}
    asyncio.run(others.get(" ".join(sys.argv[1:]), main)())
