"""``langgraph dev`` with graphs of a test's own, in a folder of the test's own."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client

ROOT = Path(__file__).parent.parent
QUIET = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
PATIENCE = 200  # seconds until it answers, on a machine that does much else


def lay_out(folder: Path) -> None:
    """Copy what is deployed: the command leaves a folder of its own where it runs."""
    shutil.copy(ROOT / "langgraph.json", folder)
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    (folder / "pyproject.toml").touch()


@contextlib.asynccontextmanager
async def served(folder: Path, **environment: str) -> AsyncIterator[Any]:
    """Serve the folder's langgraph.json and yield a client; at the end it gets Ctrl-C."""
    process, url = _start(folder, {"TED_MEMORY_HOME": str(folder / "home"), **QUIET, **environment})
    client = get_client(url=url)
    try:
        await _answers(client, process, folder / "log")
        yield client
    finally:
        await client.aclose()
        process.terminate()
        await asyncio.to_thread(process.wait, 60)


def _start(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
    options = ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    return process, f"http://127.0.0.1:{port}"


async def _answers(client: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            assert process.poll() is None, f"the server ended, see {log}"
            with contextlib.suppress(httpx.TransportError):  # it is still starting
                await client.assistants.search()
                return
            await asyncio.sleep(0.2)
