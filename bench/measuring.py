"""A server of our own, and how long calls take there."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ted_memory import Add
from ted_memory.storage.embedded.server import find_server
from ted_memory.testing import wait_until

ROUNDS = 2000

LessonState = Literal["proposed", "trial", "active"]


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
