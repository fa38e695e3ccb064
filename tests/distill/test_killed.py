"""A run whose process is killed, on a real server."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from ted_memory import TedMemory
from ted_memory.testing import wait_until
from tests.conftest import Server


def _start(server: Server, memory: TedMemory, journal: Path) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-m",
        "tests.distill.killed_run",
        server.url,
        memory.namespace,
        str(journal),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def _lines(journal: Path) -> list[str]:
    return journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []


def _begun(journal: Path) -> set[str]:
    """The samples that a model was asked about; two are under way at a time."""
    return {line.split()[1] for line in _lines(journal)}


async def test_a_process_that_is_killed_has_not_worked_for_nothing(
    valkey: Server, memory: TedMemory, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    process = _start(valkey, memory, first)
    try:
        await wait_until(lambda: len(_begun(first)) >= 6, timeout=30, what="six samples begun")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert (await memory.load()).version == 0

    second = tmp_path / "second"
    process = _start(valkey, memory, second)
    out, _ = process.communicate(timeout=60)
    report = json.loads(out)
    assert process.returncode == 0
    assert report["promoted"]
    assert report["resumed"] >= 2
    solved_before, solved_again = (
        Counter(x for x in _lines(j) if x.startswith("teacher ")) for j in (first, second)
    )
    assert len(solved_again) == report["samples"] - report["resumed"]
    assert len(solved_before & solved_again) <= 2, "paid twice only for the two that were in flight"
    assert [entry.version for entry in await memory.log()] == [1]
    assert len(await memory.load()) >= 4
