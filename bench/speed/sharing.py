"""How soon a commit of one process is seen by another one's agents."""

import asyncio
import re
import sys
import time
from typing import Any

import redis.asyncio

from bench.figures import Figure, Measured, middle
from bench.measuring import lessons, times
from ted_memory import TedMemory, open_memory
from ted_memory.storage.redis.keys import Keys

TITLE = "Sharing"
ROUNDS = 20
LISTENERS = 500
WRITER = (
    "import asyncio, sys, time\n"
    "from ted_memory import Rewrite, open_memory\n"
    "async def main():\n"
    "    async with open_memory('{url}', namespace='sharing') as memory:\n"
    "        for i in range({rounds}):\n"
    "            await asyncio.sleep(1.0 + 0.037 * (i % 10))\n"
    "            edit = Rewrite(id='{id}', text=f'Says {{i}} now.')\n"
    "            await memory.commit([edit], author='writer')\n"
    "            print(time.time(), flush=True)\n"
    "asyncio.run(main())"
)


async def measure(url: str) -> list[Measured]:
    """Measure from a commit's answer to the first call of another process that shows it."""
    async with open_memory(url, namespace="sharing") as memory:
        commit = await memory.commit(lessons(50), author="bench")
        program = WRITER.format(url=url, rounds=ROUNDS, id=commit.applied[0].id)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        watching = asyncio.create_task(_seen_at(memory))
        committed = [float(await process.stdout.readline()) for _ in range(ROUNDS)]
        await process.wait()
        seen = await watching
        trip = middle(await times(lambda _: memory.store.tombstoned("sharing", ["x"]), 200))
        look = await _of_the_server(url, memory)
        listening, telling = await _of_those_who_listen(url)
    delays = [max(at - done, 0.0) * 1000 for at, done in zip(seen, committed, strict=True)]
    return [
        Figure(
            "a commit is seen by another process",
            middle(delays),
            "ms",
            at_most=20,
            note=f"longest {max(delays):,.0f} ms; a round trip takes {trip:,.0f} us",
        ),
        Figure("the server's time for a look that finds nothing new", look, "us"),
        Figure("the server's memory for a process that listens", listening, "kB"),
        Figure(f"the server's time to tell one of {LISTENERS} processes", telling, "us"),
    ]


async def _of_the_server(url: str, memory: TedMemory) -> float:
    """Return the microseconds that the server takes for a load where nothing has changed."""
    await memory.load()
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.config_resetstat()
        await times(lambda _: memory.load(), 1000)
        stats = await client.info("commandstats")
    return float(stats["cmdstat_evalsha_ro"]["usec_per_call"])


async def _of_those_who_listen(url: str) -> tuple[float, float]:
    """Return kB of the server for a connection that listens, and microseconds to tell it once."""
    channel = Keys("sharing").commits
    client: Any = redis.asyncio.Redis.from_url(url)
    async with client:
        before = await client.info("memory")
        listeners = [client.connection_pool.make_connection() for _ in range(LISTENERS)]
        for one in listeners:
            await one.connect()
            await one.send_command("SSUBSCRIBE", channel, check_health=False)
            await one.read_response(push_request=True)
        after = await client.info("memory")
        began = await _processor(client)
        for version in range(ROUNDS):
            await client.execute_command("SPUBLISH", channel, f"{'e' * 16} {version}")
            for one in listeners:
                await one.read_response(push_request=True)
        took = await _processor(client) - began
        for one in listeners:
            await one.disconnect()
    kilobytes = (after["used_memory"] - before["used_memory"]) / LISTENERS / 1000
    return kilobytes, took / ROUNDS / LISTENERS * 1e6


async def _processor(client: redis.asyncio.Redis) -> float:
    """Return the seconds of processor that the server has taken."""
    used = await client.info("cpu")
    return float(used["used_cpu_sys"]) + float(used["used_cpu_user"])


async def _seen_at(memory: TedMemory) -> list[float]:
    """Return when each of the changes was in the block first, as an agent that asks often sees."""
    seen = list[float]()
    while len(seen) < ROUNDS:
        found = re.search(r"Says (\d+) now", await memory.render())
        if found:
            seen += [time.time()] * (int(found[1]) + 1 - len(seen))
        await asyncio.sleep(0.001)
    return seen
