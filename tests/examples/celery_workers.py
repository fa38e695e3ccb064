"""Celery's own processes for tests of `examples/learners_on_celery.py`, and what they learn from.

Each episode is about an item of its own, of which the student knows nothing.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ted_memory import Episode, TedMemory, open_memory
from ted_memory.models import Add, Message
from ted_memory.testing import ScriptedServer, wait_until
from tests.chaos.checks import whole_log

ROOT = Path(__file__).parents[2]
APP = ["-m", "celery", "--app", "examples.learners_on_celery"]
PATIENCE = 90.0  # seconds; a machine with too much to do is no failure
AS_IT_IS = {"verify_calls": 0, "rollouts": 1, "trust": "always", "lease_seconds": 2.0}


def answer(request: dict[str, Any]) -> str:
    """Play the models: the student knows no code, the teacher does."""
    prompt = "\n".join(str(message["content"]) for message in request["messages"])
    if request["model"] == "student":
        return "no idea"
    item = item_in(prompt)
    if '"edits"' not in prompt:
        return f"code-{item}"
    edit = {"op": "add", "ids": [], "when": f"item {item}", "text": f"say code-{item}"}
    return json.dumps({"reason": "a code", "edits": [edit], "helped": [], "hurt": []})


def item_in(prompt: str) -> int:
    return int(re.findall(r"code of item (\d+)\?", prompt)[-1])


def episode(number: int) -> Episode:
    return Episode(
        run_id=f"run-{number}",
        principal=f"user-{number}",
        input=(Message(role="user", content=f"What is the code of item {number}?"),),
        output=(Message(role="assistant", content="no idea"),),
    )


@dataclass
class Place:
    """One store, which is Celery's broker, too, and the models; processes are started in it."""

    url: str
    models: ScriptedServer
    memory: TedMemory
    folder: Path

    async def record(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            await self.memory.record(episode(number))
        await self.memory.flush()

    @contextlib.contextmanager
    def started(
        self, name: str, *arguments: str, **environment: str
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a process of Celery's in a group of its own; none of it is left behind."""
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *APP, *arguments],
                cwd=self.folder,
                env=os.environ | self._environment() | environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()  # Celery's pool dies with it
            process.wait()

    def worker(self, name: str, **environment: str) -> Any:
        options = ["--concurrency", "1", "--hostname", f"{name}@%h", "--loglevel", "INFO"]
        return self.started(name, "worker", *options, **environment)

    def beat(self) -> Any:
        return self.started("beat", "beat", "--schedule", str(self.folder / "schedule"))

    async def ready(self, *names: str) -> None:
        for name in names:
            await self.told(name, "ready.")

    async def told(self, name: str, words: str) -> None:
        """Wait until a process has written these words."""
        await wait_until(
            lambda: words in self.told_by(name), timeout=PATIENCE, what=f"{name}: {words}"
        )

    async def until_tasks_end(self, count: int) -> None:
        """Wait until the workers have ended so many calls of a learner."""
        ended = re.compile(r"Task learn\[[\w-]+\] succeeded")
        logs = lambda: "".join(log.read_text() for log in self.folder.glob("*.log"))  # noqa: E731
        await wait_until(
            lambda: len(ended.findall(logs())) >= count, timeout=PATIENCE, what=f"{count} tasks"
        )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def settled_by(self, name: str) -> int:
        """Return how many episodes a worker has settled, as its tasks told."""
        return sum(map(int, re.findall(r"succeeded in .*'learned': (\d+)", self.told_by(name))))

    def told_by(self, name: str) -> str:
        return self.log(name).read_text()

    async def queue(self) -> tuple[int, int]:
        """Return how many episodes wait, and how many are held."""
        traffic = await self.memory.traffic()
        return traffic.waiting, traffic.claimed

    async def until_queue_is(self, waiting: int, claimed: int) -> None:
        async def is_so() -> bool:
            return await self.queue() == (waiting, claimed)

        await wait_until(is_so, timeout=PATIENCE, what=f"a queue of {waiting}, {claimed} held")

    async def until_held(self, count: int) -> None:
        async def are_held() -> bool:
            return (await self.queue())[1] == count

        await wait_until(are_held, timeout=PATIENCE, what=f"{count} episodes that are held")

    async def learned(self) -> Counter[str]:
        """Return how often a lesson was added for each run."""
        edits = [change.edit for entry in await whole_log(self.memory) for change in entry.changes]
        added = [edit for edit in edits if isinstance(edit, Add)]
        return Counter(source for edit in added for source in edit.sources if "run:" in source)

    def _environment(self) -> Mapping[str, str]:
        models = {f"TED_MEMORY_{role}_BASE_URL": self.models.base_url for role in ROLES}
        names = {f"TED_MEMORY_{role}": role.lower() for role in ROLES}
        settings = {f"TED_MEMORY_{name.upper()}": str(value) for name, value in AS_IT_IS.items()}
        own = {"TED_MEMORY_URL": self.url, "LOOK_EVERY": "1", "PYTHONPATH": str(ROOT)}
        return {**models, **names, **settings, **own}


ROLES = ("TEACHER", "STUDENT")


@contextlib.asynccontextmanager
async def place(
    url: str, folder: Path, script: Any = answer, namespace: str = "items"
) -> AsyncIterator[Place]:
    async with (
        ScriptedServer(script).serve() as models,
        open_memory(url, namespace=namespace) as memory,
    ):
        yield Place(url, models, memory, folder)
