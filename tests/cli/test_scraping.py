"""`ted-memory learn --metrics-port`: what Prometheus reads over HTTP while a learner works."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ted_memory import TedMemory, open_memory
from ted_memory.cli.output import scraping
from ted_memory.cli.output.scraping import serving
from ted_memory.episodes import Episode
from ted_memory.errors import InvalidInput, StoreUnavailable
from ted_memory.models import Message
from ted_memory.testing import wait_until
from tests.cli.helpdesk import model_options, serve_in_thread
from tests.command_line import INTERRUPTIBLE, run_cli
from tests.conftest import Server

ADDRESS = re.compile(r"metrics at (http://\S+/metrics)")


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with serve_in_thread() as url:
        yield url


async def fetched(url: str, method: str = "GET") -> tuple[int, str, str]:
    """Ask; return the status, the content type and the body."""

    def ask() -> tuple[int, str, str]:
        request = urllib.request.Request(url, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    return await asyncio.to_thread(ask)


def values(text: str, name: str, **labels: str) -> dict[str, float]:
    """The samples of this name with these labels, by their namespace."""
    return {
        sample.labels["namespace"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"ted_memory_{name}" and labels.items() <= sample.labels.items()
    }


@contextlib.contextmanager
def learning(models: str, *where: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a learner that serves metrics; give its process, and their address."""
    command = [*INTERRUPTIBLE, "learn", *model_options(models), "--trust", "always"]
    command += ["--rollouts", "1", "--metrics-port", "0", *where]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "TED_MEMORY_VERIFY_CALLS": "0"},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = ADDRESS.search(line)
        assert found, line
        yield process, found[1]
    finally:
        process.terminate()
        process.communicate()


async def record(memory: TedMemory, *runs: str) -> None:
    asked = (Message(role="user", content="Tell me: the colour of apples?"),)
    said = (Message(role="assistant", content="no idea"),)
    for run in runs:
        await memory.record(Episode(run_id=run, principal=run, input=asked, output=said))
    await memory.flush()


async def test_prometheus_reads_what_a_learner_has_done(
    valkey: Server, namespace: str, models: str
) -> None:
    at = ("-n", namespace, "--url", valkey.url)
    with learning(models, *at) as (_, url):
        assert url.startswith("http://127.0.0.1:"), "nobody else can ask"
        async with open_memory(valkey.url, namespace=namespace) as memory:
            await record(memory, "r1", "r2")

            async def has_learned() -> bool:
                traffic = await memory.traffic()
                return traffic.waiting + traffic.claimed == 0

            await wait_until(has_learned, timeout=60)
        status, kind, text = await fetched(url)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert values(text, "episodes_total", event="recorded") == {namespace: 2}
    assert values(text, "queue_episodes", state="waiting") == {namespace: 0}
    assert values(text, "learners") == {namespace: 1}


async def test_of_all_namespaces_each_family_stands_once(
    valkey: Server, namespace: str, models: str
) -> None:
    names = [f"{namespace}-{i}" for i in range(2)]
    for name in names:
        async with open_memory(valkey.url, namespace=name) as memory:
            await record(memory, "r1")
    with learning(models, "--all-namespaces", "--url", valkey.url) as (_, url):
        _, _, text = await fetched(url)
    assert {*names} <= values(text, "episodes_total", event="recorded").keys()
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))


async def test_a_store_that_is_away_fails_the_scrape_and_not_the_learner(
    own_server: Server, namespace: str, models: str
) -> None:
    with learning(models, "-n", namespace, "--url", own_server.url) as (process, url):
        own_server.stop()
        for _ in range(2):
            status, _, told = await fetched(url)
            assert status == 503
            assert told.count("\n") == 1
        assert process.poll() is None


def test_a_port_in_use_is_told_in_one_line(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        where = ["-n", namespace, "--url", valkey.url, "--metrics-port", port]
        done = run_cli("learn", *model_options(models), *where, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "another --metrics-port" in done.stderr


async def told() -> str:
    return "ted_memory_learners 1\n"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/metrics", "GET", 200),
        ("/metrics?name=x", "GET", 200),
        ("/metrics", "HEAD", 200),
        ("/", "GET", 404),
        ("/metrics", "POST", 405),
    ],
)
async def test_nothing_else_is_answered(path: str, method: str, status: int) -> None:
    async with serving(told, "127.0.0.1", 0) as port:
        answered, _, body = await fetched(f"http://127.0.0.1:{port}{path}", method)
    assert answered == status
    assert (body == await told()) == (status == 200 and method == "GET")


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (StoreUnavailable("it is away"), 503, "it is away\n"),
        (RuntimeError("what a user said"), 500, "RuntimeError\n"),
    ],
)
async def test_whatever_fails_is_an_answer(error: Exception, status: int, body: str) -> None:
    async def fails() -> str:
        raise error

    async with serving(fails, "127.0.0.1", 0) as port:
        for _ in range(2):
            assert (await fetched(f"http://127.0.0.1:{port}/metrics"))[::2] == (status, body)


async def sent(port: int, data: bytes) -> bytes:
    """Send bytes as they are, and read until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_who_speaks_no_http_or_says_nothing_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scraping, "PATIENCE", 0.2)
    async with serving(told, "127.0.0.1", 0) as port:
        silent = asyncio.create_task(sent(port, b"GET /metrics"))
        endless = asyncio.create_task(sent(port, b"x" * 100_000))
        url = f"http://127.0.0.1:{port}/metrics"
        assert (await fetched(url))[0] == 200
        assert await silent == b""
        assert await endless == b""
        assert (await fetched(url))[0] == 200


async def test_a_client_that_stays_does_not_keep_the_learner_from_its_end() -> None:
    async with serving(told, "127.0.0.1", 0) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


async def test_without_its_answer_for_errors_a_scrape_would_get_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control."""

    async def unguarded(head: bytes, read: scraping.Read) -> tuple[str, str]:
        return "200 OK", await read()

    monkeypatch.setattr(scraping, "_answer", unguarded)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    with pytest.raises(OSError):
        await test_whatever_fails_is_an_answer(RuntimeError("x"), 500, "RuntimeError\n")


async def test_a_port_that_may_not_be_used_is_refused_before_anything_is_begun() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInput, match="Nothing was begun"):
            async with serving(told, "127.0.0.1", taken.getsockname()[1]):
                pytest.fail("the block has begun")
