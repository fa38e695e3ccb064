"""`ted-memory desk` as a process: its link, its end, and the addresses that it refuses."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ted_memory import open_memory
from tests.command_line import run_cli
from tests.conftest import Server
from tests.web.desks import propose


@pytest.mark.parametrize(
    ("flags", "host"),
    [
        ([], "127.0.0.1"),
        # a browser cannot open what stands for all addresses
        (["--host", "0.0.0.0", "--expose", "--allowed-host", "localhost"], "localhost"),
    ],
)
async def test_the_desk_serves_until_it_is_told_to_stop(
    valkey: Server, namespace: str, flags: list[str], host: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await propose(memory, "Say hello.")
    command = [sys.executable, "-m", "ted_memory", "desk", "--port", "0", *flags]
    place = ["--url", valkey.url, "--namespace", namespace]
    with subprocess.Popen([*command, *place], stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        try:
            assert process.stderr is not None
            told = process.stderr.readline()
            link = re.search(rf"http://{re.escape(host)}:\d+/enter\?token=\S+", told)
            assert link, told
            async with httpx.AsyncClient(follow_redirects=True) as client:
                page = await client.get(link[0])
                assert "Say hello." in page.text
                base = link[0].partition("/enter")[0]
                assert (await client.get(f"{base}/static/desk.css")).status_code == 200
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    assert process.returncode == 0, rest
    assert f"the next link is {base}/enter?token=" in rest
    assert "Traceback" not in rest
    assert link[0].partition("token=")[2] not in rest, "a used link is not told again"


REFUSED = [
    (["--host", "0.0.0.0"], "say --trust-header, or say --expose"),
    (["--host", "0.0.0.0", "--expose"], "needs --allowed-host"),
    (["--host", "10.0.0.7", "--trust-header", "X-User"], "needs --allowed-host"),
    (["--host", "desk.example"], "say --expose"),
    (["--role", "owner"], "invalid value for '--role': 'owner' is not one of"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED)
def test_addresses_that_others_reach_are_refused_unless_stated(
    tmp_path: Path, options: list[str], told: str
) -> None:
    done = run_cli("desk", *options, cwd=tmp_path)
    assert done.returncode != 0
    assert told in " ".join(done.stderr.split())


def test_a_port_that_is_taken_is_told_in_a_line(valkey: Server, tmp_path: Path) -> None:
    done = run_cli("desk", "--port", str(valkey.port), "--url", valkey.url, cwd=tmp_path)
    assert done.returncode == 1
    [told] = done.stderr.splitlines()
    assert f"cannot listen at 127.0.0.1, port {valkey.port}" in told
    assert "Say --port" in told


def test_a_desk_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['starlette'] = None; sys.argv = ['ted-memory', 'desk']; "
        "from ted_memory.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'pip install "ted-memory[web]"' in done.stderr
    assert "Traceback" not in done.stderr
