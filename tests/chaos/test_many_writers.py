"""Processes write to one set, are killed and come again: nothing is lost, nothing is doubled."""

import asyncio
import contextlib
import random
import subprocess
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from ted_memory import TedMemory, open_memory
from ted_memory.models import Remove, Rewrite
from tests.chaos.checks import check_acknowledged, check_history, check_texts, whole_log
from tests.chaos.sizes import FULL, report, size
from tests.chaos.writer_process import SETTINGS, Job, Ledger, read_ledger
from tests.conftest import Server, assert_only_known_keys

ROOT = Path(__file__).parents[2]
WRITERS, COMMITS = size((4, 50), (16, 500))
KILLS = size(1, 5)  # of each writer
IN_FLIGHT = 4  # commits of one writer that are under way together, where speed is measured
# commits between two looks at the set: a look may walk 256 versions, else it fetches everything
LOOKS = 12
BYTES_PER_COMMIT = 180  # two lines of a ledger, at least
WANTED = 1000  # commits per second, over all writers


def jobs(
    server: Server, namespace: str, folder: Path, count: int, commits: int, **options: object
) -> list[Job]:
    made = (
        Job(server.url, namespace, str(folder), f"w{number}", commits) for number in range(count)
    )
    return [replace(job, **options) for job in made]  # type: ignore[arg-type]


def start(job: Job) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(job.command, cwd=ROOT)


@contextlib.asynccontextmanager
async def running(all_jobs: Sequence[Job]) -> AsyncIterator[dict[Job, "subprocess.Popen[bytes]"]]:
    """Start writers, and let them go when the last is up."""
    processes = {job: start(job) for job in all_jobs}
    try:
        while not all(job.ready.exists() for job in all_jobs):
            assert all(process.poll() is None for process in processes.values()), (
                "a writer ended at its start"
            )
            await asyncio.sleep(0.01)
        all_jobs[0].go.touch()
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


async def ended(processes: dict[Job, "subprocess.Popen[bytes]"]) -> None:
    for process in processes.values():
        assert await asyncio.to_thread(process.wait) == 0


async def kill_and_restart(processes: dict[Job, "subprocess.Popen[bytes]"], times: int) -> int:
    """Kill each writer so often, at places drawn with a fixed seed; gives the number of kills."""
    draw, killed = random.Random(3), 0
    places = {job: sorted(draw.sample(range(1, job.commits * 9 // 10), times)) for job in processes}
    while any(places.values()):
        for job, left in places.items():
            written = job.ledger.stat().st_size if job.ledger.exists() else 0
            if left and written >= left[0] * BYTES_PER_COMMIT:
                left.pop(0)
                processes[job].kill()
                if processes[job].wait() != 0:  # else it was faster than the kill
                    killed += 1
                processes[job] = start(job)
        await asyncio.sleep(0.001)
    return killed


def texts_of(ledgers: Iterable[Ledger]) -> list[str]:
    return [text for ledger in ledgers for text in ledger.own.values()]


async def check(memory: TedMemory, all_jobs: Sequence[Job]) -> list[Ledger]:
    """All that was acknowledged is there, once; return the ledgers."""
    ledgers = [read_ledger(job.ledger) for job in all_jobs]
    for job, ledger in zip(all_jobs, ledgers, strict=True):
        assert len(ledger.done) == job.commits
        assert ledger.pending is None
    held, log = await memory.load(), await whole_log(memory)
    acknowledged = {
        token: line["version"]
        for ledger in ledgers
        for token, line in ledger.done.items()
        if not line["rejected"]
    }
    check_history(log, held)
    check_acknowledged(log, acknowledged, [token for ledger in ledgers for token in ledger.about])
    check_texts(held, texts_of(ledgers))
    return ledgers


async def test_writers_that_are_killed_and_come_again_lose_nothing_and_double_nothing(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    all_jobs = jobs(valkey, namespace, tmp_path, WRITERS, COMMITS, looks=LOOKS)
    async with running(all_jobs) as processes:
        killed = await kill_and_restart(processes, KILLS)
        await ended(processes)
    async with open_memory(valkey.url, namespace=namespace, **SETTINGS) as memory:
        ledgers = await check(memory, all_jobs)
    again = sum(line["repeated"] for ledger in ledgers for line in ledger.done.values())
    assert killed > 0
    report(
        f"many writers: {WRITERS} x {COMMITS} commits, {killed} kills, 0 lost, 0 doubled; "
        f"{again} were in when their writer was killed before it knew"
    )
    await assert_only_known_keys(valkey.url)


async def test_sixteen_writers_make_a_thousand_commits_a_second(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    """Measured by the server's clock from the first to the last commit; asserted at full size only.

    The set stays as large as sets are; in the test above it grows to thousands of lessons. Each
    writer has some commits under way at a time, as one that works on several episodes has.
    """
    all_jobs = jobs(
        valkey, namespace, tmp_path, WRITERS, COMMITS, looks=LOOKS, small=True, in_flight=IN_FLIGHT
    )
    with redis.Redis(port=valkey.port) as client:
        before = client.info("cpu")
        async with running(all_jobs) as processes:
            await ended(processes)
        after = client.info("cpu")
    async with open_memory(valkey.url, namespace=namespace, **SETTINGS) as memory:
        ledgers = await check(memory, all_jobs)
        log = await whole_log(memory)
    await assert_only_known_keys(valkey.url)
    busy = sum(
        float(after[name]) - float(before[name]) for name in ("used_cpu_user", "used_cpu_sys")
    )
    rate = (len(log) - 1) / (log[-1].at - log[0].at).total_seconds()
    waits = sorted(line["ms"] for ledger in ledgers for line in ledger.done.values())
    report(
        f"many writers: {rate:.0f} commits/s over {WRITERS} writers (wanted: {WANTED}); "
        f"one takes {waits[len(waits) // 2]:.1f} ms in the middle, "
        f"{waits[len(waits) * 99 // 100]:.1f} ms at the 99th percentile; "
        f"the server worked {busy / len(log) * 1e6:.0f} us on each"
    )
    touching = [
        edit
        for ledger in ledgers
        for edit in ledger.about.values()
        if isinstance(edit, Rewrite | Remove)
    ]
    conflicts = sum(ledger.rejected.count("conflict") for ledger in ledgers)
    report(f"many writers: {conflicts} conflicts in {len(touching)} commits that change a lesson")
    assert touching
    assert conflicts * 20 <= len(touching)
    assert conflicts == sum(len(ledger.rejected) for ledger in ledgers), (
        "nothing is refused for another reason"
    )
    if FULL:
        assert rate >= WANTED


# --- controls: each mechanism switched off, the checks find it


async def run_to_its_end(job: Job) -> None:
    """Run a writer that dies once, and start it again."""
    async with running([job]) as processes:
        assert await asyncio.to_thread(processes[job].wait) != 0
        processes[job] = start(replace(job, dies_after=-1))
        await ended(processes)


async def test_a_writer_that_dies_before_it_knows_sends_the_same_token_and_has_one_effect(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    [job] = jobs(valkey, namespace, tmp_path, 1, 12, dies_after=5)
    await run_to_its_end(job)
    async with open_memory(valkey.url, namespace=namespace, **SETTINGS) as memory:
        [ledger] = await check(memory, [job])
    assert [token for token, line in ledger.done.items() if line["repeated"]] == ["w0-5"]
    await assert_only_known_keys(valkey.url)


async def test_a_writer_that_makes_a_fresh_token_for_the_same_commit_is_found_out(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    [job] = jobs(valkey, namespace, tmp_path, 1, 12, dies_after=3, fresh_tokens=True)
    await run_to_its_end(job)
    async with open_memory(valkey.url, namespace=namespace, **SETTINGS) as memory:
        with pytest.raises(AssertionError, match="1 lessons doubled"):
            await check(memory, [job])
    await assert_only_known_keys(valkey.url)


async def test_an_entry_that_is_gone_from_the_log_is_found_out(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    [job] = jobs(valkey, namespace, tmp_path, 1, 12)
    async with running([job]) as processes:
        await ended(processes)
    async with open_memory(valkey.url, namespace=namespace, **SETTINGS) as memory:
        await check(memory, [job])
        with redis.Redis(port=valkey.port) as client:
            client.hdel(f"ted:{{{namespace}}}:log", "7")
        with pytest.raises(AssertionError, match=r"gaps in the log: \[7\]"):
            await check(memory, [job])
    await assert_only_known_keys(valkey.url)
