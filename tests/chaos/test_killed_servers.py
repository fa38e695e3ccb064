"""The server is killed again and again under load, also on a disk that forgets unsynced writes."""

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from ted_memory import Add, TedMemory, open_memory
from ted_memory.errors import StoreError
from tests.chaos.checks import check_acknowledged, check_history, check_texts, lost_of, whole_log
from tests.chaos.sizes import FULL, report, size
from tests.chaos.topologies import free_port
from tests.chaos.writer_process import SETTINGS
from tests.conftest import SERVERS, assert_only_known_keys

KILLS = size(3, 50)
POWER_CUTS = size(1, 10)
WRITERS = 3

# Every sync takes its time; what the file held when a completed one began is noted beside it.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
    char link[64], path[PATH_MAX], note[PATH_MAX + 8], text[32];
    struct stat before;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (!strstr(path, ".incr.aof") || fstat(fd, &before)) return real(fd);
    usleep(atoi(getenv("SLOW_SYNC")));
    int result = real(fd);
    snprintf(note, sizeof note, "%s.synced", path);
    snprintf(text, sizeof text, "%020lld", (long long)before.st_size);
    int noted = open(note, O_WRONLY | O_CREAT, 0600);
    if (result || noted < 0 || pwrite(noted, text, 20, 0) != 20) abort();
    close(noted);
    return result;
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that slows the disk down."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: a disk that loses what was not synced cannot be played")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"],
        cwd=folder,
        check=True,
    )
    return folder / "shim.so"


class MortalServer:
    """A server that is killed and comes again on the same port and folder."""

    def __init__(
        self, folder: Path, *options: str, shim: Path | None = None, slow: float = 0
    ) -> None:
        self.folder = folder
        binary = SERVERS["valkey"]
        assert binary is not None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        # no rewrite: it would begin a new file in the middle of a test
        fixed = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--auto-aof-rewrite-percentage",
            "0",
        ]
        self._command = [binary, *fixed, "--dir", str(folder), *options]
        self._env = {**os.environ, "SLOW_SYNC": str(int(slow * 1e6))}
        if shim is not None:
            self._env["LD_PRELOAD"] = str(shim)
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._env)
        deadline = time.monotonic() + 20
        with redis.Redis(port=self.port) as client:
            while True:
                assert self.process.poll() is None, (
                    f"the server ended at its start, see {self.folder / 'log'}"
                )
                with contextlib.suppress(redis.ConnectionError, redis.exceptions.BusyLoadingError):
                    client.ping()
                    return
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def cut_power(self) -> int:
        """Kill it and cut from its files what no completed sync had reached; gives the bytes."""
        self.kill()
        taken = 0
        for file in self.folder.glob("appendonlydir/*.incr.aof"):
            note = Path(f"{file}.synced")
            kept = int(note.read_text()) if note.exists() else 0
            taken += file.stat().st_size - kept
            os.truncate(file, kept)
        return taken


@contextlib.contextmanager
def _gone_at_the_end(server: MortalServer):
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Load:
    """Three tasks that commit; each sends a token again until it is acknowledged."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    acknowledged_at: dict[str, float] = field(default_factory=dict)
    attempted: list[str] = field(default_factory=list)
    failures: int = 0
    ending: bool = False

    async def write(self, memory: TedMemory, name: str) -> None:
        number = 0
        base = await memory.load()
        while not self.ending:
            token = f"{name}-{number}"
            self.attempted.append(token)
            while token not in self.acknowledged:
                try:
                    commit = await memory.commit(
                        [Add(text=text_of(token))], author=name, token=token, base=base
                    )
                except StoreError:
                    self.failures += 1
                    await asyncio.sleep(0.02)
                else:
                    if commit.rejected:  # among thousands of lessons an id of 30 bits may be taken
                        assert [one.reason for one in commit.rejected] == ["conflict"]
                        self.attempted.remove(token)
                        break
                    self.acknowledged[token], self.acknowledged_at[token] = (
                        commit.version,
                        time.monotonic(),
                    )
            number += 1

    async def more(self, count: int) -> None:
        """Wait until so many commits more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def text_of(token: str) -> str:
    return f"Lesson {token}."


@contextlib.asynccontextmanager
async def under_load(url: str, namespace: str, prefix: str = "w") -> AsyncIterator[Load]:
    """Have the writers write. At the end each finishes what it began: the server must be up."""
    load = Load()
    async with contextlib.AsyncExitStack() as stack:
        memories = [
            await stack.enter_async_context(open_memory(url, namespace=namespace, **SETTINGS))
            for _ in range(WRITERS)
        ]
        async with asyncio.TaskGroup() as tasks:
            for number, memory in enumerate(memories):
                tasks.create_task(load.write(memory, f"{prefix}{number}"))
            yield load
            load.ending = True


async def check(url: str, namespace: str, load: Load) -> None:
    """All that was acknowledged is there, once."""
    async with open_memory(url, namespace=namespace, **SETTINGS) as memory:
        held, log = await memory.load(), await whole_log(memory)
        check_acknowledged(log, load.acknowledged, load.attempted)
        check_texts(held, map(text_of, load.attempted))
        check_history(log, held)


async def kill_under_load(server: MortalServer, namespace: str, times: int, *, power: bool) -> Load:
    """Kill the server so often, each time after some commits, a number drawn with a fixed seed."""
    draw = random.Random(5)
    async with under_load(server.url, namespace) as load:
        for _ in range(times):
            await load.more(draw.randrange(3, 40))
            await asyncio.sleep(draw.random() * 0.01)
            await asyncio.to_thread(server.cut_power if power else server.kill)
            await asyncio.to_thread(server.start)
        await load.more(5)
    return load


async def test_a_server_that_syncs_always_loses_nothing_when_it_is_killed(
    namespace: str, tmp_path: Path
) -> None:
    server = MortalServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    with _gone_at_the_end(server):
        load = await kill_under_load(server, namespace, KILLS, power=False)
        await check(server.url, namespace, load)
        await assert_only_known_keys(server.url)
    assert load.failures + len(load.acknowledged) > KILLS
    report(
        f"killed servers: always, {KILLS} kills, {len(load.acknowledged)} commits, "
        "0 lost, 0 doubled"
    )


async def test_a_server_that_syncs_always_loses_nothing_in_a_power_cut(
    namespace: str, tmp_path: Path, shim: Path
) -> None:
    server = MortalServer(
        tmp_path, "--appendonly", "yes", "--appendfsync", "always", shim=shim, slow=0.01
    )
    with _gone_at_the_end(server):
        load = await kill_under_load(server, namespace, KILLS, power=True)
        await check(server.url, namespace, load)
        await assert_only_known_keys(server.url)
    report(
        f"killed servers: always, {KILLS} power cuts, {len(load.acknowledged)} commits, "
        "0 lost, 0 doubled"
    )


async def test_a_server_that_syncs_every_second_loses_a_moment_in_a_power_cut_and_memories_tell(
    namespace: str, tmp_path: Path, shim: Path
) -> None:
    server = MortalServer(
        tmp_path, "--appendonly", "yes", "--appendfsync", "everysec", shim=shim, slow=0.7
    )
    with _gone_at_the_end(server):
        for number in range(POWER_CUTS):
            lost, oldest = await lose_a_moment(server, f"{namespace}-{number}")
            report(
                f"killed servers: everysec, slow disk: {lost} acknowledged commits lost, "
                f"the last {oldest:.2f} s"
            )
            assert lost > 0, "else the disk was not slow"
            if FULL:
                assert oldest <= 2
        await assert_only_known_keys(server.url)


async def lose_a_moment(server: MortalServer, namespace: str) -> tuple[int, float]:
    """Cut the power under load; gives the acknowledged commits lost, and the age of the oldest."""
    async with open_memory(
        server.url, namespace=namespace, read_timeout=1, refresh=0, **SETTINGS
    ) as reader:
        async with under_load(server.url, namespace) as load:
            await asyncio.sleep(2.5)  # more than two syncs
            await reader.load()
            acknowledged, at, now = (
                dict(load.acknowledged),
                dict(load.acknowledged_at),
                time.monotonic(),
            )
            load.ending = True
            held = reader.health().version
            await asyncio.to_thread(server.cut_power)
            await asyncio.to_thread(server.start)
        assert held is not None
        async with open_memory(server.url, namespace=namespace, **SETTINGS) as fresh:
            log = await whole_log(fresh)
            check_history(log, await fresh.load())
        lost = lost_of({entry.token: entry.version for entry in log}, acknowledged)
        await assert_told(reader, held)
        return len(lost), max((now - at[token] for token in lost), default=0.0)


async def assert_told(reader: TedMemory, held: int) -> None:
    """The memory that saw the newer version says that the store went back."""
    async with asyncio.timeout(5):
        while reader.health().last_reset is None:
            await reader.render()
            await asyncio.sleep(0.05)
    reset = reader.health().last_reset
    assert reset is not None
    assert reset.kind
    assert reset.version_before == held
    assert reset.version_after < held
    assert reader.health().version == reset.version_after


async def test_a_server_that_keeps_nothing_loses_all_and_the_check_says_so(
    namespace: str, tmp_path: Path
) -> None:
    """The control."""
    server = MortalServer(tmp_path, "--appendonly", "no")
    with _gone_at_the_end(server):
        async with under_load(server.url, namespace) as load:
            await load.more(20)
        await check(server.url, namespace, load)
        server.kill()
        server.start()
        with pytest.raises(
            AssertionError, match=f"{len(load.acknowledged)} acknowledged commits lost"
        ):
            await check(server.url, namespace, load)


async def test_a_power_cut_takes_what_was_not_synced_and_the_check_says_so(
    namespace: str, tmp_path: Path, shim: Path
) -> None:
    """The control: the disk of the tests above does lose what a server leaves to it."""
    server = MortalServer(tmp_path, "--appendonly", "yes", "--appendfsync", "no", shim=shim)
    with _gone_at_the_end(server):
        async with under_load(server.url, namespace) as load:
            await load.more(20)
        assert server.cut_power() > 0
        server.start()
        with pytest.raises(AssertionError, match="acknowledged commits lost"):
            await check(server.url, namespace, load)
