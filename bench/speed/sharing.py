"""How soon a commit of one process is seen by another one's agents."""

import asyncio
import statistics
import sys
import time

from bench.figures import Figure, Measured, middle
from bench.measuring import lessons, times
from ted_memory import TedMemory, open_memory

TITLE = "Sharing"
ROUNDS = 30
WRITER = (
    "import asyncio, sys, time\n"
    "from ted_memory import Rewrite, open_memory\n"
    "async def main():\n"
    "    async with open_memory('{url}', namespace='sharing') as memory:\n"
    "        for i in range({rounds}):\n"
    "            await asyncio.sleep(0.3 + 0.037 * (i % 10))\n"
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
        delays = []
        for i in range(ROUNDS):
            seen = asyncio.create_task(_seen(memory, f"Says {i} now."))
            committed = float(await process.stdout.readline())
            delays.append(max(await seen - committed, 0.0) * 1000)
        await process.wait()
        trip = middle(await times(lambda _: memory.store.tombstoned("sharing", ["x"]), 200))
    return [
        Figure(
            "a commit is seen by another process, p50",
            statistics.median(delays),
            "ms",
            at_most=20,
            note=f"longest {max(delays):,.0f} ms; a round trip takes {trip:,.0f} us",
        )
    ]


async def _seen(memory: TedMemory, text: str) -> float:
    """Return the time at which the block has this text, as an agent that asks often sees it."""
    while text not in await memory.render():
        await asyncio.sleep(0.001)
    return time.time()
