"""The supervisor's two narrow moments, which a race between real processes shows too rarely."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ted_memory.storage.embedded import supervisor


@pytest.fixture
def locks() -> Iterator[list[int]]:
    """Descriptors of locks that a test takes; they are let go of at its end."""
    held: list[int] = []
    yield held
    for descriptor in held:
        os.close(descriptor)


def take(path: Path, operation: int, locks: list[int]) -> int:
    """Take a lock as another process would: descriptors of their own exclude each other."""
    descriptor = supervisor.lock_file(path)
    locks.append(descriptor)
    assert supervisor.try_lock(descriptor, operation)
    return descriptor


class Server:
    """Runs for a few looks, then ends by itself; remembers whether it was stopped."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.stopped = False

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks >= 0 else 0

    def terminate(self) -> None:
        self.stopped = True

    def wait(self, timeout: float | None = None) -> int:
        return 0


def watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let a supervisor look three times; return whether it stopped its server."""
    monkeypatch.setattr(supervisor, "PERIOD", 0.0)
    server: Any = Server(looks=3)
    supervisor.watch(folder, server)
    return server.stopped


def test_a_server_that_nobody_uses_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watch(tmp_path, monkeypatch)


def test_a_server_that_somebody_uses_is_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: list[int]
) -> None:
    take(tmp_path / "users.lock", fcntl.LOCK_SH, locks)
    assert not watch(tmp_path, monkeypatch)


def test_a_server_is_not_stopped_while_somebody_is_arriving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: list[int]
) -> None:
    take(tmp_path / "start.lock", fcntl.LOCK_EX, locks)
    assert not watch(tmp_path, monkeypatch)


def test_a_user_who_arrives_between_the_supervisors_two_looks_keeps_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: list[int]
) -> None:
    take_lock = supervisor.try_lock
    taken: list[int] = []

    def arrive_before_the_start_lock(descriptor: int, operation: int) -> bool:
        taken.append(descriptor)
        if len(taken) == 2:  # after `users` was free, before `start` is asked for
            user = supervisor.lock_file(tmp_path / "users.lock")
            locks.append(user)
            assert take_lock(user, fcntl.LOCK_SH)
        return take_lock(descriptor, operation)

    monkeypatch.setattr(supervisor, "try_lock", arrive_before_the_start_lock)
    assert not watch(tmp_path, monkeypatch)
    assert len(taken) > 2


async def test_a_new_supervisor_waits_for_the_one_whose_server_has_died(
    tmp_path: Path, locks: list[int]
) -> None:
    old = take(tmp_path / "guard.lock", fcntl.LOCK_EX, locks)
    new = supervisor.lock_file(tmp_path / "guard.lock")
    locks.append(new)
    succeeding = asyncio.create_task(asyncio.to_thread(supervisor.succeed, new))
    await asyncio.sleep(supervisor.PERIOD)
    fcntl.flock(old, fcntl.LOCK_UN)
    assert await succeeding


def test_a_new_supervisor_gives_up_when_another_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: list[int]
) -> None:
    monkeypatch.setattr(supervisor, "PERIOD", 0.01)
    take(tmp_path / "guard.lock", fcntl.LOCK_EX, locks)
    new = supervisor.lock_file(tmp_path / "guard.lock")
    locks.append(new)
    assert not supervisor.succeed(new)
