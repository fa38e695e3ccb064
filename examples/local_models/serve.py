"""Serve models on 127.0.0.1 as an OpenAI-compatible API, with xllamacpp.

Each has a child process (server.py) of its own.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from examples.local_models.fetch import LocalModel, fetch

START_TIMEOUT = 120.0  # seconds
ADDRESS_LINE = "serving at "  # what the child says once its model is loaded


class ServeError(Exception):
    """A model's server does not come up; the message says why and what to do."""


@contextlib.contextmanager
def serve(*models: LocalModel | Path, slots: int = 2) -> Iterator[tuple[str, ...]]:
    """Serve models, fetched if they are not there yet, or files.

    Yields a base URL for each, `http://127.0.0.1:N/v1`. `slots` is the number of requests that one
    server works on at a time; further ones wait. Blocks until all servers answer; raises FetchError
    or ServeError. The servers end with the context, or with this process.
    """
    paths = [fetch(model) if isinstance(model, LocalModel) else model for model in models]
    with contextlib.ExitStack() as stack:
        # they load side by side
        children = [stack.enter_context(_child(path, slots)) for path in paths]
        yield tuple(
            _wait_until_up(path, child, log)
            for path, (child, log) in zip(paths, children, strict=True)
        )


@contextlib.contextmanager
def _child(path: Path, slots: int) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    command = [
        sys.executable,
        str(Path(__file__).resolve().with_name("server.py")),
        str(path),
        str(slots),
    ]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
        try:
            yield child, log
        finally:
            child.kill()  # it holds nothing worth saving
            with contextlib.suppress(OSError):
                child.communicate()


def _environment() -> dict[str, str]:
    """Ours, with idle threads asleep: spinning ones would take the processor from others."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}


def _wait_until_up(path: Path, child: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        address = _address(log)
        if address and _is_healthy(address):
            return f"{address}/v1"
        if child.poll() is not None:
            raise ServeError(f"The server for {path.name} ended while starting. {_last_words(log)}")
        time.sleep(0.05)
    raise ServeError(
        f"The server for {path.name} did not answer within {START_TIMEOUT:.0f} s. "
        f"{_last_words(log)}"
    )


def _read(log: IO[bytes]) -> list[str]:
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), size, 0).decode(errors="replace").splitlines()


def _address(log: IO[bytes]) -> str | None:
    lines = [line for line in _read(log) if line.startswith(ADDRESS_LINE)]
    return lines[-1].removeprefix(ADDRESS_LINE).strip() if lines else None


def _last_words(log: IO[bytes]) -> str:
    lines = [line.strip() for line in _read(log) if line.strip()]
    return f"Its last words: {lines[-1]}" if lines else "It said nothing."


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
