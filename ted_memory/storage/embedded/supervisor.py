"""Run one embedded server for as long as anybody uses its folder.

Executed as a script, with the standard library only.

Every process that has the folder open holds a shared lock on ``users.lock``; the kernel lets go of
it when the process ends, however it ends. The supervisor tries for the exclusive lock. When it gets
it, it stops the server and goes; it holds ``start.lock`` meanwhile, so that nobody can arrive.
Usage: supervisor.py FOLDER SERVER-COMMAND...
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PERIOD = 0.2  # seconds between looks; the longest that a server outlives its last user
STOP_TIMEOUT = 20.0  # seconds for a clean stop, which writes what is still buffered


def lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(descriptor: int, operation: int) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def die_with_parent() -> None:
    """On Linux, have the server end when its supervisor is killed: it would stay for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


def detach(log: Path) -> None:
    """Leave the process that started us: its end, its terminal and its pipes are not ours."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, target)


def stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def watch(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    """Wait until the server has ended: by itself, or because nobody uses it any more."""
    users, start = lock_file(folder / "users.lock"), lock_file(folder / "start.lock")
    while server.poll() is None:
        if try_lock(users, fcntl.LOCK_EX):
            # before asking for `start`: its holder may wait for `users`
            fcntl.flock(users, fcntl.LOCK_UN)
            if try_lock(start, fcntl.LOCK_EX):  # else somebody is arriving
                if try_lock(users, fcntl.LOCK_EX):
                    stop(server)
                    return
                fcntl.flock(start, fcntl.LOCK_UN)
        time.sleep(PERIOD)


def succeed(lock: int) -> bool:
    """Take the supervisor's lock; one whose server has died needs a moment to notice and go."""
    deadline = time.monotonic() + 5 * PERIOD
    while not try_lock(lock, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def main(folder: Path, command: list[str]) -> None:
    detach(folder / "server.log")
    if succeed(lock_file(folder / "guard.lock")):
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        ) as server:
            watch(folder, server)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
