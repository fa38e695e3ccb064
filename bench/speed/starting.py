"""Imports, each in a process of its own, in turn with what they are compared with."""

import subprocess
import sys
import time

from bench.figures import Figure, Measured, middle

TITLE = "Starting"
ROUNDS = 11

OPEN = (
    "import asyncio, time\n"
    "from ted_memory import open_memory\n"
    "async def main():\n"
    "    began = time.perf_counter()\n"
    "    async with open_memory('{url}', namespace='starting'):\n"
    "        print(time.perf_counter() - began)\n"
    "asyncio.run(main())"
)


def measure(url: str) -> list[Measured]:
    """Measure imports, and what the first memory of a process takes."""
    core, package = _in_turn("import langchain_core.messages", "import ted_memory")
    agents, middleware = _in_turn(
        "import langchain.agents", "import ted_memory.integrations.middleware"
    )
    opened = [float(_output(OPEN.format(url=url))) for _ in range(ROUNDS)]
    redis_before = "import ted_memory, sys; print(int('redis' in sys.modules))"
    return [
        Figure(
            "import ted_memory",
            package,
            "s",
            "langchain_core.messages, which it needs",
            core,
            at_most=1.10,
        ),
        Figure(
            "import ted_memory.integrations.middleware",
            middleware,
            "s",
            "langchain.agents, which it needs",
            agents,
            at_most=1.05,
        ),
        Figure("the first open_memory of a process", middle(opened), "s"),
        Figure(
            "modules of redis that are imported before the first use",
            float(_output(redis_before)),
            "",
            at_most=0,
        ),
    ]


def _in_turn(*programs: str) -> list[float]:
    taken: list[list[float]] = [[] for _ in programs]
    for _ in range(ROUNDS):
        for program, seconds in zip(programs, taken, strict=True):
            began = time.perf_counter()
            _output(program)
            seconds.append(time.perf_counter() - began)
    return [middle(seconds) for seconds in taken]


def _output(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
