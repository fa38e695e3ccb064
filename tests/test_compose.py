"""docker-compose.yml: what it says is run without containers, with its commands and environment."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from langgraph_sdk import get_client

from ted_memory import open_memory
from ted_memory.cli import COMMANDS
from tests.cli.helpdesk import serve_in_thread
from tests.conftest import SERVERS, Server
from tests.dev_server import QUIET, ROOT
from tests.test_deployed_graphs import ask, chat

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES = COMPOSE["services"]
PATIENCE = 200  # seconds until a service answers, on a machine that does much else
HAS_DESK = any("desk" in group for group in COMMANDS.values())


def interpolated(text: str, outside: dict[str, str]) -> str:
    """Put the environment into a value, as Compose does for ``${NAME:-default}``."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: outside.get(found[1]) or found[2], text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Services:
    """The services of the file, as processes of this machine."""

    def __init__(self, folder: Path, redis: str, outside: dict[str, str]) -> None:
        self.folder, self.outside = folder, outside
        self.ports = {"8790": str(free_port()), "2024": str(free_port())}
        self.places = {"redis://redis:6379/0": redis, "0.0.0.0": "127.0.0.1", **self.ports}
        for line in re.findall(r"^COPY (.+) (\S+)$", DOCKERFILE, re.M):
            self._copy(line[0].split())

    def _copy(self, names: list[str]) -> None:
        for name in names:
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, self.folder)
            elif name != "ted_memory":  # installed in the image, and here
                shutil.copytree(ROOT / name, self.folder / name)

    def _value(self, text: str) -> str:
        value = interpolated(text, self.outside)
        return self.places.get(value, value)

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a service's command in its environment, until the end; then it gets SIGTERM."""
        service = SERVICES[name]
        program, *options = [self._value(word) for word in service["command"]]
        environment = {key: self._value(value) for key, value in service["environment"].items()}
        assert environment["TED_MEMORY_URL"] == self.places["redis://redis:6379/0"]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / program), *options],
                cwd=self.folder,
                env={**os.environ, **QUIET, **environment},
                stdout=log,
                stderr=log,
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait(70)

    async def answers(self, process: "subprocess.Popen[bytes]", url: str) -> httpx.Response:
        """Wait for a page of a service."""
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
            while True:
                assert process.poll() is None, f"it has ended, see {self.folder}"
                with contextlib.suppress(httpx.TransportError):
                    return await client.get(url)
                await asyncio.sleep(0.2)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """The file's store, with its options."""
    binary = SERVERS["redis8"]
    if binary is None:
        pytest.skip("redis8 is not installed")
    _, *options = SERVICES["redis"]["command"]
    server = Server(binary, tmp_path, *options)
    yield server
    server.stop()


@pytest.mark.timeout(600)
async def test_its_services_answer_learn_and_show_what_was_learned(
    redis: Server, tmp_path: Path
) -> None:
    with serve_in_thread(chat) as models:
        outside = {
            **{"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": models},
            **{f"TED_MEMORY_{role}": "openai:student" for role in ("MODEL", "STUDENT")},
            **{"TED_MEMORY_TEACHER": "openai:teacher", "TED_MEMORY_NAMESPACE": "composed"},
        }
        services = Services(tmp_path, redis.url, outside)
        with services.running("learner") as learner, services.running("agent") as agent:
            url = f"http://127.0.0.1:{services.ports['2024']}"
            await services.answers(agent, f"{url}/ok")
            await _asks_and_complains(url)
            async with open_memory(redis.url, namespace="composed") as memory:
                async with asyncio.timeout(PATIENCE):
                    while not await memory.load():  # noqa: ASYNC110 - another process changes it
                        await asyncio.sleep(0.2)
                [lesson] = await memory.load()
            assert (lesson.text, lesson.state) == ("say red", "proposed")
            if HAS_DESK:
                await _desk_answers(services)
        assert learner.returncode == 0, "SIGTERM lets it finish"


async def _asks_and_complains(url: str) -> None:
    async with get_client(url=url) as client:
        answer = await ask(client, "What is the colour of apples?")
        assert answer["content"] == "no idea"
        run_id = answer["response_metadata"]["ted_memory"]["run_id"]
        said = {"run_id": run_id, "score": 0, "correction": "red"}
        noted: Any = await client.runs.wait(None, "feedback", input=said)
    # repeated: the learner was faster, and had graded the answer as wrong, too
    assert noted["verdict"] in {"credited", "kept", "repeated"}


async def _desk_answers(services: Services) -> None:
    with services.running("desk") as desk:
        port = services.ports["8790"]
        page = await services.answers(desk, f"http://localhost:{port}/")
        assert page.status_code in {200, 303, 401, 403}
        assert "say red" not in page.text, "nobody is shown lessons without the link"


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    def check(file: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, str(file)], check=False, capture_output=True, text=True)

    done = check(ROOT / "docker-compose.yml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(yaml.safe_dump(COMPOSE).replace("command:", "comand:"), encoding="utf-8")
    assert check(wrong).returncode == 1, "the control"


def test_ports_are_this_machines_alone_and_each_service_waits_for_the_store() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        if name != "redis":
            assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
            assert service["build"] == "."


def test_the_image_has_what_its_services_need() -> None:
    extras = re.findall(r"'\.\[([\w,]+)\]'", DOCKERFILE)[0].split(",")
    assert set(extras) <= set(metadata("ted-memory").get_all("Provides-Extra") or ())
    assert {"langchain", "web"} <= set(extras)
    kept = {line[1:] for line in _ignored() if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in line.split()
    }
    assert copied == kept
    for name in copied:
        assert (ROOT / name).exists()


def _ignored() -> list[str]:
    return (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
