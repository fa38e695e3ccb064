"""Commands and scripts in a process of their own, without importing everything anew each time.

The processes are forked from a server that has the imports behind it. Single tests
(`tests.cli.test_commands`) start the interpreter anew, as a user's shell does.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
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
        "langchain.agents",
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
    return _in_a_fork(_command, ["ted-memory", *args], cwd, env)


def run_script(name: str, *args: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the file of this name, or the module, as ``python name`` and ``python -m name`` do."""
    return _in_a_fork(_script, [name, *args], cwd, env)


def _in_a_fork(
    target: Callable[[str], None], argv: list[str], cwd: Path, env: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _FORKS.Process(
            target=_run, args=(target, argv, cwd, {**os.environ, "COLUMNS": "200", **env}, out, err)
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(argv, SECONDS, out.read_bytes(), err.read_bytes())
        written, said = out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(argv, process.exitcode, written, said)


def _run(
    target: Callable[[str], None],
    argv: list[str],
    cwd: Path,
    env: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), stream.fileno())
    sys.argv = argv
    try:
        target(argv[0])
    finally:
        atexit._run_exitfuncs()  # a forked process ends without them
        sys.stdout.flush()
        sys.stderr.flush()


def _command(_: str) -> None:
    # not before: its consoles look at the environment when they are made
    from ted_memory.cli import main

    main()


def _script(name: str) -> None:
    if name.endswith(".py"):
        runpy.run_path(name, run_name="__main__")
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
