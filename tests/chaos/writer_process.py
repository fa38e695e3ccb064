"""A process that commits lessons and writes down what it is about to do and what it was told.

Killed and started again, it sends what was not answered once more, under the same token, and goes
on.

Usage: python -m tests.chaos.writer_process JSON, with the fields of `Job`.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from ted_memory import TedMemory, open_memory
from ted_memory.errors import StoreUnavailable
from ted_memory.models import Add, Caps, Commit, Edit, ExperienceSet, Remove, Rewrite

T = TypeVar("T")
EDIT: TypeAdapter[Edit] = TypeAdapter(Edit)
SETTINGS: dict[str, Any] = {
    "max_experiences": 100_000,
    "token_budget": 10**7,
    "history_versions": 100_000,
}


@dataclass(frozen=True)
class Job:
    """What a writer does. It makes NAME.ready when it is up, then waits for the file "go"."""

    url: str
    namespace: str
    folder: str
    name: str
    commits: int
    looks: int = 1
    """Read the set again after so many commits; 1 is what `commit` does by itself."""
    dies_after: int = -1
    """This commit's answer is forgotten: the process kills itself before it writes it down."""
    in_flight: int = 1
    """Commits under way together, as with several episodes. Not for one that is to be killed."""
    small: bool = False
    """Keep the set as small as real ones are: remove as many lessons as are added."""
    fresh_tokens: bool = False
    """The fault that tokens prevent: an unanswered commit is sent again under another token."""

    @property
    def ledger(self) -> Path:
        return Path(self.folder) / f"{self.name}.ledger"

    @property
    def ready(self) -> Path:
        return Path(self.folder) / f"{self.name}.ready"

    @property
    def go(self) -> Path:
        return Path(self.folder) / "go"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.chaos.writer_process", json.dumps(asdict(self))]


@dataclass
class Ledger:
    """What stands in a writer's file."""

    about: dict[str, Edit] = field(default_factory=dict)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    """The writer's lessons as they should be now: id -> text."""
    rejected: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def pending(self) -> str | None:
        """The token that was not answered."""
        last = next(reversed(self.about), None)
        return None if last in self.done else last

    def take(self, line: dict[str, Any]) -> None:
        """Take a line into account."""
        token = line["token"]
        if "edit" in line:
            self.about[token] = EDIT.validate_python(line["edit"])
            return
        self.done[token] = line
        self.rejected += line["rejected"]
        edit = self.about[token]
        if isinstance(edit, Remove):
            self.own.pop(line["id"], None)
        elif isinstance(edit, Add | Rewrite) and not line["rejected"]:
            self.own[line["id"]] = edit.text


def read_ledger(path: Path) -> Ledger:
    """Return what a writer wrote down; a line that its end cut short does not count."""
    ledger = Ledger()
    written = path.read_text() if path.exists() else ""
    ledger.complete = written == "" or written.endswith("\n")
    for line in written.split("\n")[:-1]:
        with contextlib.suppress(json.JSONDecodeError):
            ledger.take(json.loads(line))
    return ledger


class Writer:
    """One run of a job, from where the ledger ends."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ledger = read_ledger(job.ledger)
        self._base = ExperienceSet(job.namespace, "", 0, Caps(max_experiences=1, token_budget=1))
        self._busy: set[str] = set()
        """Lessons that commits under way are about."""
        self._file = job.ledger.open("a")
        if not self.ledger.complete:
            self._file.write("\n")

    def note(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def begin(self, token: str, edit: Edit) -> None:
        self.note({"token": token, "edit": EDIT.dump_python(edit, mode="json")})
        self.ledger.about[token] = edit

    def edit(self, number: int) -> Edit:
        """What commit `number` does: one in ten rewrites, one in ten removes, the others add.

        With `small` a third each, as far as this writer has lessons.
        """
        return self._edit(number, number * 10 + (0, 5, 8)[number % 3] if self.job.small else number)

    def _edit(self, number: int, kind: int) -> Edit:
        if kind % 10 in {5, 8} and (id := self._untouched()):
            return (
                Remove(id=id)
                if kind % 10 == 8
                else Rewrite(id=id, text=f"Lesson {self.job.name}-{number} again.")
            )
        return Add(text=f"Lesson {self.job.name}-{number}.")

    def _untouched(self) -> str | None:
        """A lesson of this writer that is as it last saw it: others would conflict with itself."""
        held, own = self._base.by_id, reversed(self.ledger.own.items())
        found = (
            id for id, text in own if id in held and held[id].text == text and id not in self._busy
        )
        id = next(found, None)
        if id is not None:
            self._busy.add(id)
        return id

    async def run(self) -> None:
        job = self.job
        async with contextlib.aclosing(
            open_memory(job.url, namespace=job.namespace, **SETTINGS)
        ) as memory:
            await with_retries(memory.load)
            job.ready.touch()
            while not job.go.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            if job.in_flight > 1:
                await self._several_at_once(memory)
                return
            first = len(self.ledger.done)
            for number in range(first, job.commits):
                if (number - first) % job.looks == 0:
                    self._base = await with_retries(memory.load)
                self._busy.clear()
                token = self.ledger.pending
                if token is None:
                    token = f"{job.name}-{number}"
                    self.begin(token, self.edit(number))
                elif job.fresh_tokens:
                    edit = self.ledger.about.pop(token)
                    token += "-again"
                    self.begin(token, edit)
                edit = self.ledger.about[token]
                began = time.perf_counter()
                commit = await with_retries(
                    partial(memory.commit, [edit], author=job.name, token=token, base=self._base)
                )
                if number == job.dies_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.answered(token, commit, time.perf_counter() - began)

    async def _several_at_once(self, memory: TedMemory) -> None:
        for number in range(0, self.job.commits, self.job.in_flight):
            if number % self.job.looks == 0:
                self._base = await with_retries(memory.load)
            self._busy.clear()
            numbers = range(number, min(number + self.job.in_flight, self.job.commits))
            await asyncio.gather(
                *(self._one(memory, f"{self.job.name}-{n}", self.edit(n)) for n in numbers)
            )

    async def _one(self, memory: TedMemory, token: str, edit: Edit) -> None:
        self.begin(token, edit)
        began = time.perf_counter()
        commit = await with_retries(
            partial(memory.commit, [edit], author=self.job.name, token=token, base=self._base)
        )
        self.answered(token, commit, time.perf_counter() - began)

    def answered(self, token: str, commit: Commit, seconds: float) -> None:
        line = {
            "token": token,
            "version": commit.version,
            "id": commit.applied[0].id if commit.applied else "",
            "rejected": [rejected.reason for rejected in commit.rejected],
            "repeated": commit.repeated,
            "ms": round(seconds * 1000, 2),
        }
        self.note(line)
        self.ledger.take(line)


async def with_retries(call: Callable[[], Awaitable[T]]) -> T:
    """Call until there is an answer: a busy machine may outlast the memory's own patience."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(Writer(Job(**json.loads(sys.argv[1]))).run())
