"""Serve models on 127.0.0.1 as an OpenAI-compatible API, with xllamacpp: one child process for each model.

Run as a script, this file is that child process. It ends when its standard input does, so it never outlives the
process that started it, however that one dies.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

START_TIMEOUT = 120.0  # seconds
CONTEXT_TOKENS = 8192  # shared by all slots
THREADS = 2


class ServeError(Exception):
    """A model's server does not come up; the message says why and what to do."""


@contextlib.contextmanager
def serve(*paths: Path, slots: int = 4) -> Iterator[tuple[str, ...]]:
    """Serve model files (what `fetch` answers); yields one base URL for each, `http://127.0.0.1:N/v1`.

    `slots` is the number of requests that one server works on at a time; further ones wait. Blocks until all servers
    answer; raises ServeError. The servers end with the context, or with this process.
    """
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(path, slots)) for path in paths]  # they load side by side
        yield tuple(_wait_until_up(path, child, log) for path, (child, log) in zip(paths, children, strict=True))


@contextlib.contextmanager
def _child(path: Path, slots: int) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    command = [sys.executable, str(Path(__file__).resolve()), str(path), str(slots)]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=_environment()
        )
        try:
            yield child, log
        finally:
            child.kill()  # it holds nothing worth saving
            with contextlib.suppress(OSError):
                child.communicate()


def _environment() -> dict[str, str]:
    """Ours, with idle threads asleep: spinning ones would take the processor from the other server."""
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
    raise ServeError(f"The server for {path.name} did not answer within {START_TIMEOUT:.0f} s. {_last_words(log)}")


def _read(log: IO[bytes]) -> list[str]:
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), size, 0).decode(errors="replace").splitlines()


ADDRESS_LINE = "serving at "


def _address(log: IO[bytes]) -> str | None:
    """What the child says once the model is loaded."""
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


def _end_with_parent() -> None:
    """End this process as soon as the parent closes the pipe, which the system does when it dies."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def _run(path: str, slots: int) -> None:
    """The child process: load the model, serve until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import xllamacpp
    except ImportError:
        sys.exit("xllamacpp is missing: pip install xllamacpp, or use models of your own with --student-base-url")
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel, params.kv_unified = CONTEXT_TOKENS, slots, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
    params.cache_ram_mib = 512
    server = xllamacpp.Server(params)
    print(f"\n{ADDRESS_LINE}{server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
