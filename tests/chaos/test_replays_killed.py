"""Learners are killed, crash or freeze in a replay, and a server goes: no pair counts twice."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.learner import beside
from ted_memory.testing import ScriptedChatModel, wait_until
from tests.chaos.learner_process import CRASHED, Job
from tests.chaos.learners import PATIENCE, Watch, started, until_dead
from tests.chaos.replay_process import POINTS, answers, look_at_no_trials, start, wanted
from tests.chaos.sizes import report, size
from tests.chaos.test_killed_servers import MortalServer
from tests.chaos.writer_process import SETTINGS
from tests.conftest import Server, assert_only_known_keys
from tests.learner.worlds import PEOPLE, archived, fill_archive, propose, replayed, shown

THINGS = ("apples", "bananas", "cherries")
EPISODES, FEW = size(60, 1000), 12  # of each thing
CRASHES = size(1, 20)  # at each point
KILLS = size(2, 60)
FREEZES = size(1, 20)
RESTARTS = size(2, 20)
LEASE = 1.0  # seconds


@pytest.fixture(autouse=True)
def _no_trials() -> Iterator[None]:
    look = beside.look
    look_at_no_trials()
    yield
    beside.look = look


def open_(url: str, namespace: str) -> TedMemory:
    given: dict[str, Any] = {"trust": "evidence", "replay_calls": 10**6, "max_archived": 10_000}
    return open_memory(url, namespace=namespace, **SETTINGS, **given)


async def fill(memory: TedMemory, episodes: int = EPISODES) -> dict[str, str]:
    """Archive so many episodes of each thing, and propose a lesson on each; gives ids by thing."""
    speakers = [PEOPLE[i % len(PEOPLE)] for i in range(episodes)]
    for thing in THINGS:
        await fill_archive(memory, speakers, thing)
    return dict(zip(THINGS, await propose(memory, *THINGS), strict=True))


async def met(memory: TedMemory, ids: dict[str, str]) -> int:
    return sum([len((await shown(memory, id)).done) for id in ids.values()])


async def check(memory: TedMemory, ids: dict[str, str], watch: Watch) -> int:
    """Each lesson's sums are those of the episodes that it has met; gives the number of pairs."""
    by_seq = {one.seq: one for one in await archived(memory)}
    pairs = 0
    for thing, id in ids.items():
        known = await shown(memory, id)
        total, voices = known.evidence.total, known.evidence.voices
        seen = [by_seq[seq] for seq in known.done]
        assert total.numbers == pytest.approx(wanted(thing, seen).numbers), f"sums of {thing}"
        of_voices = [
            sum(numbers) for numbers in zip(*(voice.numbers for voice in voices), strict=True)
        ]
        assert of_voices == pytest.approx(total.numbers), (
            "what is said in all is what each has said"
        )
        assert {
            one.seq for one in by_seq.values() if f"code of {thing}?" in one.sample.text
        } <= known.done
        pairs += len(seen)
    today = (await memory.store.episodes.traffic(memory.namespace)).today
    made = len([line for line in watch.look().lines if line.what == "asked"])
    assert today["replay_calls"] >= made, "who is killed has paid for what he asked"
    return pairs


def are_up(watch: Watch, number: int) -> bool:
    return all(watch.count(f"{name}-{number}", "up") > 0 for name in ("learner", "beside"))


async def is_over(process: ForkServerProcess, memory: TedMemory, ids: dict[str, str]) -> bool:
    """Tell whether a learner has ended, or nothing is left in which it could."""
    return process.exitcode is not None or await met(memory, ids) >= len(THINGS) * EPISODES


async def finish(memory: TedMemory) -> None:
    """Replay what is left."""
    await asyncio.sleep(LEASE)  # of a learner that died
    await replayed(memory, ScriptedChatModel(script=answers()))


def a_job(url: str, namespace: str, folder: Path, **fields: Any) -> Job:
    return replace(
        Job(url, namespace, str(folder), "learner", LEASE, at_once=4, pause=0.005), **fields
    )


async def crash(job: Job, memory: TedMemory, ids: dict[str, str]) -> bool:
    """Let a learner replay until it ends where it is to end; tell whether it came so far."""
    with started(job, start) as dying:
        await wait_until(
            lambda: is_over(dying, memory, ids), timeout=PATIENCE, what=f"a crash, {job.point}"
        )
        dying.kill()
        return await until_dead(dying) == CRASHED


async def kill_two(job: Job, number: int, watch: Watch, luck: random.Random) -> None:
    """Let two learners begin, of whom one replays, and kill both."""
    with started(job, start) as one, started(replace(job, name=f"beside-{number}"), start) as other:
        await wait_until(lambda: are_up(watch, number), timeout=PATIENCE, what="two learners")
        await asyncio.sleep(luck.random() * 0.3)
        for process in (one, other):
            process.kill()
            assert await until_dead(process) == -signal.SIGKILL


async def test_learners_that_are_killed_or_crash_while_they_replay_count_each_pair_once(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    job, watch, luck = (
        a_job(server.url, namespace, tmp_path),
        Watch(tmp_path / "journal"),
        random.Random(5),
    )
    lives = [point for point in POINTS for _ in range(CRASHES)] + [""] * KILLS
    luck.shuffle(lives)
    async with open_(server.url, namespace) as memory:
        ids, crashed = await fill(memory), 0
        for number, point in enumerate(lives):
            one = replace(job, name=f"learner-{number}", point=point, passes=luck.randint(1, 3))
            if point:
                crashed += await crash(one, memory, ids)
            else:
                await kill_two(one, number, watch, luck)
        before = await met(memory, ids)
        await finish(memory)
        pairs = await check(memory, ids, watch)
        report(
            f"replays, {crashed} learners crashed at {len(POINTS)} points, "
            f"{KILLS} times two of them killed: {pairs} pairs of answers, each counted once; "
            f"{before} of them before the last one finished the work"
        )
        assert crashed >= len(POINTS)
    await assert_only_known_keys(server.url)


async def freeze(job: Job, memory: TedMemory, watch: Watch) -> None:
    """Freeze a learner that has its answers, let another one count the same pairs, and thaw it."""
    with started(replace(job, point="answered", freezes=True), start) as frozen:
        await wait_until(
            lambda: watch.count(job.name, "frozen") > 0, timeout=PATIENCE, what="frost"
        )
        await finish(memory)
        os.kill(frozen.pid or 0, signal.SIGCONT)
        late = lambda: watch.count(job.name, "repeated") + watch.count(job.name, "counted") > 0  # noqa: E731
        await wait_until(late, timeout=PATIENCE, what="the answers of a learner that thawed")
        frozen.terminate()
        assert await until_dead(frozen) == 0


async def test_answers_of_a_learner_that_froze_come_too_late(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    for number in range(FREEZES):
        name, folder = f"{namespace}-{number}", tmp_path / str(number)
        folder.mkdir()
        job, watch = a_job(server.url, name, folder), Watch(folder / "journal")
        async with open_(server.url, name) as memory:
            ids = await fill(memory, FEW)
            await freeze(job, memory, watch)
            await check(memory, ids, watch)
            assert watch.count("learner", "repeated") > 0
            assert watch.count("learner", "counted") == 0
    report(
        f"replays, {FREEZES} learners frozen with answers in hand: "
        "what others had counted meanwhile was refused"
    )


async def test_control_without_the_list_of_what_was_met_a_frozen_learners_pairs_count_twice(
    server: Server, namespace: str, tmp_path: Path
) -> None:
    job, watch = a_job(server.url, namespace, tmp_path, without="once"), Watch(tmp_path / "journal")
    async with open_(server.url, namespace) as memory:
        ids = await fill(memory, FEW)
        await freeze(job, memory, watch)
        with pytest.raises(AssertionError, match="sums of"):
            await check(memory, ids, watch)


async def test_a_server_that_is_killed_while_two_learners_replay_loses_and_doubles_nothing(
    namespace: str, tmp_path: Path
) -> None:
    server = MortalServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    watch, luck = Watch(tmp_path / "journal"), random.Random(6)
    jobs = [
        a_job(server.url, namespace, tmp_path, name=f"learner-{i}", pause=0.02) for i in range(2)
    ]
    try:
        async with open_(server.url, namespace) as memory:
            ids = await fill(memory)
            with started(jobs[0], start) as one, started(jobs[1], start) as two:
                counted = lambda: sum(watch.count(job.name, "counted") for job in jobs)  # noqa: E731
                for number in range(RESTARTS):
                    so_far = counted()
                    more = lambda least=so_far: counted() > least  # noqa: E731
                    if await met(memory, ids) < len(THINGS) * EPISODES:
                        await wait_until(
                            more, timeout=PATIENCE, what=f"pairs after restart {number}"
                        )
                    await asyncio.sleep(luck.random() * 0.05)
                    server.kill()
                    server.start()
                one.terminate()
                two.terminate()
                assert [await until_dead(one), await until_dead(two)] == [0, 0]
            await finish(memory)
            pairs = await check(memory, ids, watch)
            report(
                f"replays, the server killed {RESTARTS} times under two learners: "
                f"{pairs} pairs, each counted once"
            )
    finally:
        server.kill()
