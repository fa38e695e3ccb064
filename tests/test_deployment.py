"""What users deploy: the graph under `langgraph dev`, which refuses anything that blocks its loop, and the Redis."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from langgraph_sdk import get_client

from ted_memory import Add, open_memory
from tests.cli.helpdesk import serve_in_thread
from tests.conftest import SERVERS, Server

ROOT = Path(__file__).parent.parent


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[str]:
    """Serve langgraph.json with its memory in an embedded server of this test's own; yields the URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "TED_MEMORY_HOME": str(tmp_path / "home")}
    # a copy: the command leaves a folder of its own where it runs
    shutil.copy(ROOT / "langgraph.json", tmp_path)
    shutil.copytree(ROOT / "graphs", tmp_path / "graphs")
    (tmp_path / "pyproject.toml").touch()
    command = [str(Path(sys.executable).parent / "langgraph"), "dev"]
    options = ["--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], cwd=tmp_path, env={**os.environ, **quiet}, stdout=log, stderr=log
        )
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(20)


async def test_a_deployed_graph_learns_a_sample(deployed: str, tmp_path: Path) -> None:
    client = get_client(url=deployed)
    async with asyncio.timeout(60):
        while True:
            try:
                assistants = await client.assistants.search()
                break
            except httpx.TransportError:  # it is still starting
                await asyncio.sleep(0.2)
        assert [a["graph_id"] for a in assistants] == ["distillation"]
        with serve_in_thread() as url:
            models = {"student": "student", "student_base_url": url, "teacher": "teacher", "teacher_base_url": url}
            out = await client.runs.wait(
                None,
                "distillation",
                input={
                    "sample": {
                        "id": "1",
                        "input": "What is the colour of apples?",
                        "reference": "red",
                        "choices": ["red", "blue"],
                    }
                },
                config={"configurable": {**models, "namespace": "deployed", "trust": "operator"}},
            )
        form = await client.assistants.get_schemas(assistants[0]["assistant_id"])
        assert "sample" in form["input_schema"]["properties"], "Studio makes its form of it"  # type: ignore[index]
        refused: Any = await client.runs.wait(
            None, "distillation", input={"messages": [{"role": "user", "content": "Hi"}]}, raise_error=False
        )
        assert "learns from one sample" in refused["__error__"]["message"]
        await client.aclose()
    assert isinstance(out, dict)
    assert out["status"] == "learned"
    async with open_memory(home=str(tmp_path / "home"), namespace="deployed") as memory:
        assert [e.text for e in await memory.load()] == ["say red"]


async def test_the_redis_of_docker_compose_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Its command line on a Redis of its version; an image cannot be run everywhere that tests are."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    assert service["image"] == "redis:8"
    name, *options = service["command"]
    binary = SERVERS["redis8"]
    assert name == "redis-server"
    if binary is None:
        pytest.skip("redis8 is not installed")
    for i in range(2):
        server = Server(binary, tmp_path, *options)
        async with open_memory(server.url, namespace="compose") as memory:
            assert len(await memory.load()) == i
            await memory.commit([Add(text="Be brief.")], author="me")
        await asyncio.sleep(1.5)  # appendfsync everysec
        server.stop()  # SIGKILL
