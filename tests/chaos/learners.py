"""Learner processes of a test: their journal as it grows, and what must be true at the end."""

import asyncio
import contextlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from ted_memory import TedMemory
from ted_memory.models import Add, Remove
from ted_memory.testing import wait_until
from tests.chaos.checks import check_history, whole_log
from tests.chaos.learner_process import SEED, Job, episode, start

PATIENCE = 600.0  # seconds; a machine with too much to do is no failure


@dataclass(frozen=True)
class Line:
    """One line of the journal; ``at`` by the clock that all processes of a machine share."""

    at: float
    who: str
    what: str
    seq: int


@dataclass
class Watch:
    """Reads what all learners of one test write down."""

    path: Path
    lines: list[Line] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _offset: int = 0

    def look(self) -> "Watch":
        """Read what is new."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            for raw in whole.splitlines():
                line = Line(**json.loads(raw))
                self.lines.append(line)
                self.counts[line.who, line.what] += 1
        return self

    def count(self, who: str, what: str) -> int:
        return self.look().counts[who, what]

    def total(self, what: str) -> int:
        """Return the sum of the numbers that stand beside these lines: of outcomes."""
        return sum(line.seq for line in self.look().lines if line.what == what)

    def held(self, who: str) -> set[int]:
        """Return what a learner has begun and not ended."""
        mine = [line for line in self.look().lines if line.who == who]
        return {x.seq for x in mine if x.what == "begun"} - {
            x.seq for x in mine if x.what == "ended"
        }

    def recoveries(self, deaths: Iterable[tuple[str, float]]) -> list[float]:
        """Seconds that the episodes of each dead learner waited until another one began them."""
        begun: defaultdict[int, list[Line]] = defaultdict(list)
        for line in self.look().lines:
            if line.what == "begun":
                begun[line.seq].append(line)
        waits = []
        for who, at in deaths:
            for seq in self.held(who):
                again = [line.at - at for line in begun[seq] if line.at > at and line.who != who]
                waits += again[:1]  # none: it was settled just before the end
        return sorted(waits)


async def until_dead(process: ForkServerProcess) -> int:
    """Return the exit code of a process that ends by itself."""
    await wait_until(
        lambda: process.exitcode is not None, timeout=PATIENCE, what="the end of a learner"
    )
    assert process.exitcode is not None
    code = process.exitcode
    process.close()
    return code


@contextlib.contextmanager
def started(
    job: Job, start: Callable[[Job], ForkServerProcess] = start
) -> Iterator[ForkServerProcess]:
    """Start a learner, of whichever kind, and leave none behind."""
    process = start(job)
    try:
        yield process
    finally:
        with contextlib.suppress(ValueError):  # it was closed: it is gone
            process.kill()
            process.join()
            process.close()


async def record_all(memory: TedMemory, count: int, poison: Collection[int] = ()) -> str:
    """Make a lesson that is there from the beginning, and episodes; return the lesson's id."""
    commit = await memory.commit([Add(text=SEED)], author="operator")
    seed = commit.applied[0].id
    for number in range(count):
        await memory.record(episode(number, seen=(seed,), poison=number in poison))
        if number % 500 == 499:
            await memory.flush()
    await memory.flush()
    return seed


async def none_left(memory: TedMemory) -> bool:
    traffic = await memory.store.episodes.traffic(memory.namespace)
    return traffic.waiting == traffic.claimed == 0


async def work_is_done(memory: TedMemory) -> None:
    """Wait until no episode waits and none is held."""
    deadline = time.monotonic() + PATIENCE
    while not await none_left(memory):
        assert time.monotonic() < deadline, "the learners do not come to an end"
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def gardened(memory: TedMemory) -> AsyncIterator[None]:
    """Remove what was learned again and again.

    It stands in the log all the same, and a large set only costs time.
    """

    async def tend() -> None:
        while True:
            now = await memory.load()
            learned = [Remove(id=e.id) for e in now if e.text != SEED]
            if learned:
                await memory.commit(learned, author="gardener", base=now)
            await asyncio.sleep(0.2)

    tending = asyncio.create_task(tend())
    try:
        yield
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def check_learned(
    memory: TedMemory, seed: str, runs: Collection[str], *, dead: int = 0
) -> None:
    """Each of these runs was learned from once, and nothing else."""
    log = await whole_log(memory)
    edits = [change.edit for entry in log for change in entry.changes]
    sources = Counter(
        s for edit in edits if isinstance(edit, Add) for s in edit.sources if s.startswith("run:")
    )
    wanted = Counter(f"run:{run}" for run in runs)
    twice, lost = sources - wanted, wanted - sources
    assert not twice, f"{len(twice)} episodes learned twice, such as {sorted(twice)[:5]}"
    assert not lost, f"{len(lost)} episodes never learned, such as {sorted(lost)[:5]}"
    traffic = await memory.store.episodes.traffic(memory.namespace)
    assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, dead), (
        f"something is left: {traffic}"
    )
    settled = {name: traffic.counts[name] for name in ("learned", "nothing", "set_aside")}
    assert settled == {"learned": len(runs), "nothing": 0, "set_aside": 0}, f"settled: {settled}"
    assert traffic.today["learned"] == len(runs), f"counted for the day: {traffic.today}"
    helped = (await memory.usage())[seed].helped
    assert helped == len(runs), (
        f"what the critic said is counted once for each episode, not {helped} times"
    )
    check_history(log, await memory.load())
