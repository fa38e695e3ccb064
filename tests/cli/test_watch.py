"""`ted-memory status --watch`: a page on a terminal, lines elsewhere, and an end without noise."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import INTERRUPTIBLE, run_cli
from tests.conftest import Server

WATCH = ["status", "--watch", "--interval", "0.2"]
PATIENCE = 60.0  # seconds, on a machine that does much else
ALTERNATE = b"\x1b[?1049"  # h shows the other screen, l comes back


@dataclass
class Terminal:
    """A command on a terminal of its own."""

    process: "subprocess.Popen[bytes]"
    file: int
    shown: bytes = b""

    def wait_for(self, text: bytes, times: int = 1) -> None:
        """Read on until something was shown so many times."""
        end = time.monotonic() + PATIENCE
        while self.shown.count(text) < times:
            assert time.monotonic() < end, self.shown
            if select.select([self.file], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # it has ended
                    self.shown += os.read(self.file, 65536)

    def end(self) -> int:
        """Read until the command has ended."""
        while self.process.poll() is None:
            if select.select([self.file], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.file, 65536)
        return self.process.wait()


@contextlib.contextmanager
def on_a_terminal(*command: str, cwd: Path) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "LINES": "40", "COLUMNS": "150"}
    process = subprocess.Popen(
        [*INTERRUPTIBLE, *command], cwd=cwd, env=environment, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    )  # fmt: skip
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("by", ["q", "Ctrl-C"])
def test_on_a_terminal_the_page_is_shown_anew_and_stays_when_it_ends(
    valkey: Server, namespace: str, tmp_path: Path, by: str
) -> None:
    at = ["-n", namespace, "--url", valkey.url]
    with on_a_terminal(*WATCH, *at, cwd=tmp_path) as terminal:
        terminal.wait_for(b"0 active")
        before = termios.tcgetattr(terminal.file)[3] & termios.ICANON
        run_cli("add", "--text", "Be brief.", *at, cwd=tmp_path)
        terminal.wait_for(b"1 active")
        if by == "q":
            os.write(terminal.file, b"xq")
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
        after = termios.tcgetattr(terminal.file)[3] & termios.ICANON
    assert (bool(before), bool(after)) == (False, True), "keys are read at once, and not afterwards"
    assert terminal.shown.count(ALTERNATE + b"h") == terminal.shown.count(ALTERNATE + b"l") == 1
    last = terminal.shown.split(ALTERNATE + b"l")[1]
    assert b"1 active" in last
    assert b"Traceback" not in terminal.shown


@pytest.mark.parametrize("as_json", [False, True])
def test_without_a_terminal_each_look_is_a_line(
    valkey: Server, namespace: str, tmp_path: Path, *, as_json: bool
) -> None:
    options = ["-n", namespace, "--url", valkey.url, *(["--json"] if as_json else [])]
    process = subprocess.Popen(
        [*INTERRUPTIBLE, *WATCH, *options], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    rest, noise = process.communicate(timeout=PATIENCE)
    assert (process.returncode, noise) == (0, "")
    for line in [*lines, *rest.splitlines(keepends=True)]:
        assert "\x1b" not in line
        if as_json:
            assert json.loads(line)["namespace"] == namespace
        else:
            assert "version 0: 0 waiting, 0 being learned from, 0 dead; 0 learners" in line


def test_a_store_that_is_away_is_looked_for_again(tmp_path: Path) -> None:
    """Nobody who watches wants the watch to end with the trouble that it should show."""
    with on_a_terminal(*WATCH, "--url", "redis://localhost:1/0", cwd=tmp_path) as terminal:
        terminal.wait_for(b"looking again", times=2)
        os.write(terminal.file, b"q")
        assert terminal.end() == 0
