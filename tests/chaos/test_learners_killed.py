"""Learners are killed, crash at any point, freeze, or are poisoned: nothing is lost or doubled."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from ted_memory import TedMemory
from ted_memory.testing import wait_until
from tests.chaos.learner_process import CRASHED, POINTS, POISONED, Job, episode, learning
from tests.chaos.learners import (
    PATIENCE,
    Watch,
    check_learned,
    gardened,
    none_left,
    record_all,
    started,
    until_dead,
    work_is_done,
)
from tests.chaos.sizes import FULL, report, size
from tests.conftest import Server, assert_only_known_keys

LEARNERS = 4
EPISODES = {"always": size(150, 5000), "evidence": size(60, 1000)}
KILLS = {"always": size(8, 200), "evidence": size(3, 40)}
CRASHES = {"always": size(1, 25), "evidence": size(0, 5)}  # at each point
FREEZES, TOGETHER = size(5, 50), 5
POISONED_EPISODES, ALL_EPISODES = size((3, 60), (20, 1000))
LEASE = 1.5  # seconds
WITHIN = LEASE + 2.0
# deliveries: a random kill may hit the same episode any number of times, which is not its own fault
MANY = 1000


def a_job(server: Server, namespace: str, folder: Path, **fields: object) -> Job:
    job = Job(server.url, namespace, str(folder), "learner", LEASE, max_deliveries=MANY)
    return replace(job, **fields)  # type: ignore[arg-type]


# --- killed


@dataclass(frozen=True)
class Life:
    """How a learner ends.

    Either at a point, when it gets there for the `passes`-th time, or by a kill after it has begun
    so many episodes.
    """

    point: str
    passes: int


def lives_of(trust: str) -> list[Life]:
    draw = random.Random(11)
    lives = [Life("", draw.randrange(1, 11)) for _ in range(KILLS[trust])]
    for point in POINTS:
        most = {"beating": 2, "handing back": 1}.get(point, 8)
        lives += [Life(point, draw.randrange(1, most + 1)) for _ in range(CRASHES[trust])]
    draw.shuffle(lives)
    return lives


class Cemetery:
    """Lets learners live and die, some at a time, and knows when each of them died."""

    def __init__(self, job: Job, lives: list[Life], watch: Watch) -> None:
        self.job, self.lives, self.watch = job, lives, watch
        self.deaths: list[tuple[str, float]] = []
        self.killed = 0
        self.gave_back: set[str] = set()
        self.closed = False
        self._draw = random.Random(12)
        self._born = 0

    async def live_and_die(self) -> None:
        """One learner after the other, each with an end of its own."""
        while self.lives:
            life = self.lives.pop()
            gives_back = life.point == "handing back"
            pause = 0.3 if gives_back else 0.0  # else it may be done with it
            with started(
                replace(self.next_job(), point=life.point, passes=life.passes, pause=pause)
            ) as process:
                name = f"learner-{self._born}"
                if life.point:
                    self.gave_back |= {name} if gives_back else set()
                    assert await until_dead(process) == CRASHED
                    continue
                begun = lambda name=name, n=life.passes: self.watch.count(name, "begun") >= n  # noqa: E731
                await wait_until(begun, timeout=PATIENCE, what="episodes that are begun")
                await asyncio.sleep(self._draw.random() * 0.05)
                self.deaths.append((name, time.monotonic()))
                process.kill()
                self.killed += 1
                assert await until_dead(process) == -signal.SIGKILL

    def next_job(self) -> Job:
        self._born += 1
        return replace(self.job, name=f"learner-{self._born}")

    async def live_on(self, memory: TedMemory) -> None:
        """A learner that is asked to end when all is done."""
        with started(self.next_job()) as process:
            name = f"learner-{self._born}"
            await wait_until(
                lambda: self.watch.count(name, "up") > 0, timeout=PATIENCE, what="a learner"
            )
            await work_is_done(memory)
            process.terminate()
            assert await until_dead(process) == 0

    def all_deaths(self) -> list[tuple[str, float]]:
        """Return who died when."""
        crashed = [
            (line.who, line.at) for line in self.watch.look().lines if line.what == "crashed"
        ]
        return [*self.deaths, *crashed]


async def feed(memory: TedMemory, seed: str, first: int, cemetery: Cemetery) -> int:
    """Record episodes for as long as some learner is still to die; gives how many there were."""
    while not cemetery.closed:
        if (await memory.store.episodes.traffic(memory.namespace)).waiting < 50:
            for number in range(first, first + 50):
                await memory.record(episode(number, seen=(seed,)))
            await memory.flush()
            first += 50
        await asyncio.sleep(0.05)
    return first


async def side_by_side(work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as slots:
        for _ in range(LEARNERS):
            slots.create_task(work())


@pytest.mark.parametrize("trust", ["always", "evidence"])
async def test_learners_that_are_killed_at_any_moment_lose_nothing_and_double_nothing(
    server: Server, namespace: str, tmp_path: Path, trust: str
) -> None:
    job, watch, began = (
        a_job(server, namespace, tmp_path, trust=trust),
        Watch(tmp_path / "journal"),
        time.monotonic(),
    )
    cemetery = Cemetery(job, lives_of(trust), watch)
    async with learning(job, rate_limit=100_000) as memory:
        seed = await record_all(memory, EPISODES[trust])
        async with gardened(memory):
            feeding = asyncio.create_task(feed(memory, seed, EPISODES[trust], cemetery))
            try:
                await side_by_side(cemetery.live_and_die)
            finally:
                cemetery.closed = True
                count = await feeding
            await side_by_side(lambda: cemetery.live_on(memory))
        await check_learned(memory, seed, [f"run-{i}" for i in range(count)])
        credited = (await memory.usage())[seed].n_with
    deaths = cemetery.all_deaths()
    assert credited <= count, "an outcome counts once"
    assert count - credited <= len(deaths) * job.at_once, (
        "only a death between settling and crediting leaves it out"
    )
    assert (cemetery.killed, len(deaths)) == (
        KILLS[trust],
        KILLS[trust] + CRASHES[trust] * len(POINTS),
    )
    # what was given back waits for its turn
    waits = watch.recoveries([death for death in deaths if death[0] not in cemetery.gave_back]) or [
        0.0
    ]
    half, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    report(
        f"killed learners, {trust}: {count} episodes, {LEARNERS} learners, "
        f"{cemetery.killed} kills, {CRASHES[trust]} crashes at each of {len(POINTS)} points: "
        f"0 lost, 0 twice; {len(waits)} were begun again, {half:.2f} s after the death in the "
        f"middle, {p99:.2f} s at the 99th percentile (lease {LEASE} s), {waits[-1]:.2f} s at most; "
        f"{count - credited:.0f} outcomes not credited; {time.monotonic() - began:.0f} s"
    )
    if FULL:
        assert p99 <= WITHIN
    await assert_only_known_keys(server.url)


async def test_a_lesson_and_its_settling_in_two_steps_are_found_out(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    """The control: a learner that dies between the two makes the next one learn the same again."""
    job, watch = a_job(server, namespace, tmp_path, without="one step"), Watch(tmp_path / "journal")
    async with learning(job) as memory:
        seed = await record_all(memory, 8)
        cemetery = Cemetery(job, [Life("between", 1)], watch)
        await cemetery.live_and_die()
        await cemetery.live_on(memory)
        with pytest.raises(AssertionError, match="episodes learned twice"):
            await check_learned(memory, seed, [f"run-{i}" for i in range(8)])


# --- frozen


async def freeze_and_thaw(
    job: Job, memory: TedMemory, watch: Watch, points: list[str], first: int
) -> int:
    """Freeze a learner at each point until another has done its work; gives the episodes held."""
    jobs = [
        replace(job, name=f"frozen-{first + i}", point=point, freezes=True, at_once=2)
        for i, point in enumerate(points)
    ]
    processes = []
    with contextlib.ExitStack() as stack:
        for one in jobs:
            processes.append(stack.enter_context(started(one)))
        for one in jobs:
            await wait_until(
                lambda one=one: watch.count(one.name, "frozen") > 0,
                timeout=PATIENCE,
                what=f"frost at {one.point}",
            )
        held = [seq for one in jobs for seq in watch.held(one.name)]
        healthy = stack.enter_context(started(replace(job, name=f"healthy-{first}", without="")))
        await work_is_done(memory)
        for process in processes:
            os.kill(process.pid or 0, signal.SIGCONT)
        for one, process in zip(jobs, processes, strict=True):
            await wait_until(
                lambda one=one: not watch.held(one.name),
                timeout=PATIENCE,
                what="the end of what was frozen",
            )
            process.terminate()
        healthy.terminate()
        assert [await until_dead(process) for process in (*processes, healthy)] == [0] * (
            len(jobs) + 1
        )
    return len(held)


async def test_learners_that_freeze_past_their_lease_write_nothing_when_they_thaw(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    job, watch = a_job(server, namespace, tmp_path), Watch(tmp_path / "journal")
    places = ["sending", "attempted", "criticised", "recalled", "claimed"]
    each, held, began = 3 * TOGETHER, 0, time.monotonic()
    async with learning(job, rate_limit=10_000) as memory:
        seed = await record_all(memory, 0)
        for first in range(0, FREEZES, TOGETHER):
            for number in range(first * 3, first * 3 + each):
                await memory.record(episode(number, seen=(seed,)))
            await memory.flush()
            held += await freeze_and_thaw(job, memory, watch, places, first)
        await check_learned(memory, seed, [f"run-{i}" for i in range(3 * FREEZES)])
    fenced = watch.total("outcome fenced")
    assert held >= FREEZES
    assert fenced >= held, "each of them was told that it came too late"
    report(
        f"frozen learners: {FREEZES} freezes past the lease, "
        f"{held} episodes taken over and fenced, 0 twice; "
        f"{time.monotonic() - began:.0f} s"
    )
    await assert_only_known_keys(server.url)


async def test_without_the_fence_a_learner_that_thaws_is_found_out(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    """The control: what was taken over is written twice."""
    job, watch = a_job(server, namespace, tmp_path, without="fence"), Watch(tmp_path / "journal")
    async with learning(job) as memory:
        seed = await record_all(memory, 8)
        await freeze_and_thaw(job, memory, watch, ["sending"], 0)
        with pytest.raises(AssertionError, match="episodes learned twice"):
            await check_learned(memory, seed, [f"run-{i}" for i in range(8)])


# --- poisoned


async def work_on_poison(job: Job, memory: TedMemory, learners: int) -> int:
    """Start learners again whenever one dies, until nothing is left; return how many died."""
    deaths = 0

    async def over(process: ForkServerProcess) -> bool:
        return process.exitcode is not None or await none_left(memory)

    async def slot(number: int) -> None:
        nonlocal deaths
        while not await none_left(memory):
            with started(replace(job, name=f"learner-{number}-{deaths}")) as process:
                await wait_until(
                    lambda p=process: over(p),
                    timeout=PATIENCE,
                    what="the end of a learner or of the work",
                )
                process.terminate()
                code = await until_dead(process)
                assert code in {0, POISONED, -signal.SIGTERM}
                deaths += code == POISONED

    async with asyncio.TaskGroup() as slots:
        for number in range(learners):
            slots.create_task(slot(number))
    return deaths


async def check_poison(
    memory: TedMemory, seed: str, count: int, poison: set[int], deaths: int
) -> None:
    """What kills is dead, with the reason, and nothing else is."""
    dead = await memory.store.episodes.dead_letters(memory.namespace, count)
    innocent = {letter.run_id for letter in dead} - {f"run-{i}" for i in poison}
    assert not innocent, (
        f"{len(innocent)} innocent episodes died with it, such as {sorted(innocent)[:5]}"
    )
    assert sorted(letter.run_id for letter in dead) == sorted(f"run-{i}" for i in poison)
    assert {letter.reason for letter in dead} == {
        "begun 3 times, and each time its learner ended or froze"
    }
    assert {letter.deliveries for letter in dead} == {3}
    assert deaths <= 3 * len(poison)
    await check_learned(
        memory, seed, [f"run-{i}" for i in range(count) if i not in poison], dead=len(poison)
    )


async def test_an_episode_that_kills_its_learner_takes_no_other_one_with_it(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    began, poison = (
        time.monotonic(),
        set(random.Random(13).sample(range(ALL_EPISODES), POISONED_EPISODES)),
    )
    job = a_job(server, namespace, tmp_path, max_deliveries=3, lease=2.0)
    async with learning(job, rate_limit=ALL_EPISODES) as memory:
        seed = await record_all(memory, ALL_EPISODES, poison)
        async with gardened(memory):
            deaths = await work_on_poison(job, memory, LEARNERS)
        await check_poison(memory, seed, ALL_EPISODES, poison, deaths)
    report(
        f"poison: {POISONED_EPISODES} of {ALL_EPISODES} episodes kill their learner: "
        f"{deaths} deaths, "
        f"{POISONED_EPISODES} dead letters, all others learned; {time.monotonic() - began:.0f} s"
    )
    await assert_only_known_keys(server.url)


async def test_without_isolation_innocent_episodes_die_with_a_deadly_one(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    """The control: claimed together each time, they are suspected together."""
    job = a_job(server, namespace, tmp_path, max_deliveries=3, without="isolation", pause=0.3)
    async with learning(job) as memory:
        seed = await record_all(memory, 4, {2})
        deaths = await work_on_poison(job, memory, 1)
        with pytest.raises(AssertionError, match="3 innocent episodes died with it"):
            await check_poison(memory, seed, 4, {2}, deaths)
