"""The README's first commands, against a provider that refuses what the real one refuses."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.models import Message
from ted_memory.testing import Provider, Reply
from tests.cli.helpdesk import answer, serve_in_thread
from tests.command_line import run_cli
from tests.conftest import Server

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
FIRST = [
    shlex.split(line)
    for line in re.findall(r"^\$ ted-memory ((?:distill|eval) .*--student openai.*)$", README, re.M)
]
PROVIDER = Provider(models=("gpt-5-nano", "gpt-5"), key="right")
ROLES = {"gpt-5-nano": "student", "gpt-5": "teacher"}


def played(request: dict[str, Any]) -> Reply | str:
    return answer({**request, "model": ROLES[request["model"]]})


@pytest.fixture
def folder(data: Path) -> Path:
    for command in FIRST:
        (data.parent / command[1]).write_text(data.read_text(encoding="utf-8"), encoding="utf-8")
    return data.parent


def key(url: str, **more: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": "right", "OPENAI_BASE_URL": url, **more}


def test_the_first_commands_work_as_they_stand_there(folder: Path) -> None:
    assert [command[0] for command in FIRST] == ["distill", "eval"]
    with serve_in_thread(played, PROVIDER) as url:
        for command in FIRST:
            done = run_cli(*command, cwd=folder, **key(url))
            assert done.returncode == 0, done.stderr
            assert command[0] == "eval" or " 0 set aside" in done.stdout
    assert "accuracy with experiences:    1.000" in done.stdout


@pytest.mark.parametrize("by_option", [True, False])
def test_a_refused_temperature_is_one_line_that_helps(folder: Path, by_option: bool) -> None:
    options = ["--temperature", "0.7"] if by_option else []
    env = {} if by_option else {"TED_MEMORY_TEMPERATURE": "0.7"}
    with serve_in_thread(played, PROVIDER) as url:
        done = run_cli(*FIRST[0], *options, cwd=folder, **key(url, **env))
        assert done.returncode == 1
        *_, last = done.stderr.splitlines()
        assert last.startswith(
            "ted-memory: the provider refuses temperature=0.7 for gpt-5-nano, the student; set "
        )
        assert "(TED_MEMORY_TEMPERATURE=none, --temperature none)" in last
        assert last.endswith("0 of 12 samples are done and kept; call again to go on")
        done = run_cli(*FIRST[0], "--temperature", "none", "--json", cwd=folder, **key(url, **env))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["set_aside"] == 0


@pytest.mark.parametrize(
    ("command", "env", "options", "said"),
    [
        (
            0,
            {"OPENAI_API_KEY": "wrong"},
            [],
            r"the (student|teacher) cannot be used: gpt-5(-nano)?: Incorrect API key"
            r".*API key \(OPENAI_API_KEY\) set.* call again",
        ),
        (
            1,
            {},
            ["--student", "openai:gpt-5-pico"],
            r"the student cannot be used: gpt-5-pico: "
            r"The model `gpt-5-pico` does not exist.*name right.* call again",
        ),
    ],
)
def test_a_wrong_key_and_a_wrong_name_are_one_line_too(
    folder: Path, command: int, env: dict[str, str], options: list[str], said: str
) -> None:
    with serve_in_thread(played, PROVIDER) as url:
        done = run_cli(*FIRST[command], *options, cwd=folder, **key(url, **env))
    assert done.returncode == 1
    assert re.search(f"^ted-memory: {said}", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


async def test_a_learner_that_is_refused_ends_with_the_line_and_keeps_the_episodes(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    where = ["-n", namespace, "--url", valkey.url]
    models = ["--student", "openai:gpt-5-nano", "--teacher", "openai:gpt-5"]
    learn = ["learn", *models, *where, "--trust", "always", "--until-empty", "--json"]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await _record(memory)
        with serve_in_thread(played, PROVIDER) as url:
            done = run_cli(*learn, "--temperature", "0.7", cwd=tmp_path, **key(url))
            assert done.returncode == 1
            assert set(json.loads(done.stdout)["outcomes"]) == {"released"}
            assert "--temperature none). It says" in done.stderr.splitlines()[-1]
            assert done.stderr.rstrip().endswith("The episodes wait; call again to go on")
            traffic = await memory.store.episodes.traffic(namespace)
            assert (traffic.waiting, traffic.dead) == (2, 0)
            done = run_cli(*learn, cwd=tmp_path, **key(url))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outcomes"] == {"learned": 2}


async def _record(memory: TedMemory) -> None:
    for run in ("one", "two"):
        asks = (Message(role="user", content="Tell me: the colour of apples?"),)
        says = (Message(role="assistant", content="no idea"),)
        await memory.record(Episode(run_id=run, principal=run, input=asks, output=says))
    await memory.flush()
