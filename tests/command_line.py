"""The real command line in a process of its own, without importing everything anew each time.

The processes are forked from a server that has the imports behind it. Single tests
(`tests.cli.test_commands`) start the interpreter anew, as a user's shell does.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 120.0
INTERRUPTIBLE = [
    sys.executable,
    "-c",
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('ted_memory', run_name='__main__', alter_sys=True)",
]
"""Wraps a command so that it hears Ctrl-C: what a shell starts in the background ignores SIGINT."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        __name__,
        "langchain.chat_models",
        "langchain_openai",
        "rich",
        "ted_memory.distill",
        "ted_memory.evaluation",
        "ted_memory.learner",
        "ted_memory.storage.redis.addresses",
        "ted_memory.wiring",
        "typer",
    ]
)


def run_cli(*args: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run one command, with ``env`` beside this process's environment; it may take two minutes."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _FORKS.Process(
            target=_run, args=(args, cwd, {**os.environ, "COLUMNS": "200", **env}, out, err)
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(args), SECONDS, out.read_bytes(), err.read_bytes())
        written, said = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(list(args), process.exitcode, written, said)


def _run(args: tuple[str, ...], cwd: Path, env: dict[str, str], out: Path, err: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), stream.fileno())
    sys.argv = ["ted-memory", *args]
    # not before: its consoles look at the environment when they are made
    from ted_memory.cli import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # a forked process ends without them
        sys.stdout.flush()
        sys.stderr.flush()
