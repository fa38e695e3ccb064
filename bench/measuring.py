"""A server of our own, and how long calls take there."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ted_memory import Add, TedMemory
from ted_memory.storage.embedded.server import find_server
from ted_memory.testing import wait_until

ROUNDS = 2000
FULL = "TED_MEMORY_BENCH_FULL"
"""The variable of the environment with which growth is measured to its last decade."""

AT_ONCE = 5000  # lessons of one commit: more do not fit into the time that a server has for one

LessonState = Literal["proposed", "trial", "active"]


def sizes(*usual: int, full: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the sizes at which a cost is measured; ``full`` ones only with ``--full``."""
    return (*usual, *full) if os.environ.get(FULL) else usual


@contextlib.asynccontextmanager
async def server(environment: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Start a server on a socket, without persistence and with these variables; give its URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        command = [
            find_server(),
            "--port",
            "0",
            "--unixsocket",
            str(path),
            "--save",
            "",
            "--dir",
            folder,
        ]
        env = {**os.environ, **(environment or {})}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env) as process:  # noqa: ASYNC220 - before it measures
            await wait_until(path.exists)
            try:
                yield f"unix://{path}"
            finally:
                process.kill()


async def times(call: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> list[float]:
    """How long each call took, sorted, in microseconds."""
    taken = []
    for i in range(rounds):
        began = time.perf_counter()
        await call(i)
        taken.append((time.perf_counter() - began) * 1e6)
    return sorted(taken)


def lessons(
    count: int, conditions: Sequence[str] | None = None, *, state: LessonState = "active"
) -> list[Add]:
    """Lessons of two lines, each with a condition of its own."""
    return [
        Add(
            text=f"Lesson {i} says what to do about it, and what not to do.",
            when=conditions[i] if conditions else f"topic{i} is asked about",
            state=state,
        )
        for i in range(count)
    ]


async def fill(memory: TedMemory, adds: Sequence[Add]) -> str:
    """Commit so many lessons in parts; return the id of the first one."""
    first = ""
    for begin in range(0, len(adds), AT_ONCE):
        commit = await memory.commit(adds[begin : begin + AT_ONCE], author="bench")
        first = first or commit.applied[0].id
    return first
