"""Whatever is wrong, one line says what to do; the exit code is 1, or 2 for wrong usage."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ted_memory.testing import Reply
from tests.cli.helpdesk import serve_in_thread
from tests.command_line import INTERRUPTIBLE, run_cli
from tests.conftest import Server

NOBODY = "http://127.0.0.1:9/v1"  # the discard port: nothing listens there


def refused(tmp_path: Path, *args: str, code: int = 1) -> str:
    """Run a command that must fail; return its one line."""
    done = run_cli(*args, cwd=tmp_path)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = [
        line for line in done.stderr.splitlines() if not line.startswith(("distil:", "measure:"))
    ]
    assert len(lines) == 1, done.stderr
    return lines[0]


def distill(
    url: str, data: Path, tmp_path: Path, *more: str, student: str = "student"
) -> tuple[str, ...]:
    models = (
        "--student",
        student,
        "--student-base-url",
        url,
        "--teacher",
        "teacher",
        "--teacher-base-url",
        url,
    )
    return ("distill", str(data), *models, "--home", str(tmp_path / "home"), *more)


def test_an_unknown_model_is_named(models: str, data: Path, tmp_path: Path) -> None:
    line = refused(tmp_path, *distill(models, data, tmp_path, student="studnet"))
    assert "studnet does not exist" in line
    assert "Is the model's name right" in line
    assert "call again to go on" in line


def test_an_unknown_provider_is_named(data: Path, tmp_path: Path) -> None:
    line = refused(
        tmp_path, "distill", str(data), "--student", "nosuch:model", "--teacher", "nosuch:model"
    )
    assert "nosuch:model" in line
    assert "provider:model" in line


def test_a_model_server_that_does_not_answer_is_told(data: Path, tmp_path: Path) -> None:
    line = refused(tmp_path, *distill(NOBODY, data, tmp_path))
    assert "Is its server running" in line


@pytest.mark.parametrize("command", ["show", "log", "rollback 0"])
def test_a_memory_that_does_not_answer_is_told(command: str, tmp_path: Path) -> None:
    line = refused(tmp_path, *command.split(), "--url", "redis://user:secret@127.0.0.1:9/0")
    assert "no answer from the memory at redis://127.0.0.1:9/0" in line
    assert "secret" not in line


def test_a_url_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert "write redis://" in refused(tmp_path, "show", "--url", "http://localhost:6379")


@pytest.mark.parametrize("namespace", ["*", "a{b}", "a b", "", "-a", "x" * 129, "a~b"])
def test_a_namespace_that_could_reach_another_is_refused(namespace: str, tmp_path: Path) -> None:
    assert "is not allowed: use 1 to 128 letters" in refused(tmp_path, "show", "-n", namespace)


MALFORMED = {
    "no JSON": ("{", "line 2: not JSON"),
    "no object": ("[1]", "line 2: a JSON object is needed"),
    "no input": ('{"id": "x"}', "line 2: field 'input'"),
    "an empty input": ('{"id": "x", "input": " "}', "line 2: field 'input' is empty"),
    "an unknown field": ('{"id": "x", "input": "a", "refrence": "b"}', "line 2: field 'refrence'"),
    "a wrong type": ('{"id": "x", "input": "a", "choices": 3}', "line 2: field 'choices'"),
    "an id twice": ('{"id": "1", "input": "a"}', "field 'id' is '1' in both"),
    "a missing image": (
        '{"id": "x", "input": "a", "images": ["no.png"]}',
        "line 2: field 'images': there is no file",
    ),
    "half a character": ('{"id": "x", "input": "\\ud800"}', "line 2: field 'input'"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_line_is_named(kind: str, models: str, tmp_path: Path) -> None:
    line, words = MALFORMED[kind]
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"id": "1", "input": "fine"}) + "\n" + line + "\n", encoding="utf-8")
    assert words in refused(tmp_path, *distill(models, path, tmp_path))


def test_an_empty_or_missing_data_set_is_told(models: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert "has no samples" in refused(tmp_path, *distill(models, empty, tmp_path))
    assert "cannot be read" in refused(
        tmp_path, *distill(models, tmp_path / "none.jsonl", tmp_path)
    )


def test_a_budget_too_small_for_one_experience_is_told(
    models: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TED_MEMORY_TOKEN_BUDGET", "10")
    line = refused(tmp_path, *distill(models, data, tmp_path))
    assert "too small for one experience" in line


def test_a_setting_that_cannot_work_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TED_MEMORY_MAX_EXPERIENCES", "many")
    assert "TED_MEMORY_MAX_EXPERIENCES" in refused(tmp_path, "show")


def test_a_version_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "version 7 is not in the history" in refused(tmp_path, "rollback", "7")


def test_an_unknown_grader_is_told(models: str, data: Path, tmp_path: Path) -> None:
    assert "there is no grader 'fuzzy'" in refused(
        tmp_path, *distill(models, data, tmp_path, "--grader", "fuzzy")
    )


@pytest.mark.parametrize(
    "args", [["distill"], ["nosuch"], ["show", "--nosuch"], ["rollback", "x"], ["rollback", "-1"]]
)
def test_wrong_usage_exits_with_2(args: list[str], tmp_path: Path) -> None:
    assert run_cli(*args, cwd=tmp_path).returncode == 2


def test_nothing_is_half_written_when_a_run_fails(
    models: str, data: Path, tmp_path: Path, valkey: Server
) -> None:
    refused(
        tmp_path,
        *distill(models, data, tmp_path, "--url", valkey.url, "-n", "half", student="studnet"),
    )
    shown = json.loads(
        run_cli("show", "--url", valkey.url, "-n", "half", "--json", cwd=tmp_path).stdout
    )
    assert (shown["version"], shown["experiences"]) == (0, [])


def test_a_model_that_always_answers_nonsense_ends_with_a_report(
    data: Path, tmp_path: Path
) -> None:
    with serve_in_thread(lambda _: "Bananas are berries, you know.") as url:
        done = run_cli(*distill(url, data, tmp_path), cwd=tmp_path)
    assert done.returncode == 1, "a script is to see it"
    assert "Nothing was learned: every sample was set aside" in done.stdout
    assert "no usable critique: it is not JSON" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_says_how_it_goes_on(data: Path, tmp_path: Path, valkey: Server) -> None:
    began = threading.Event()

    def slow(_: object) -> Reply:
        began.set()
        return Reply(text="?", delay=5.0)

    with serve_in_thread(slow) as url:
        command = distill(url, data, tmp_path, "--url", valkey.url, "-n", "stopped")
        running = subprocess.Popen([*INTERRUPTIBLE, *command], cwd=tmp_path, stderr=subprocess.PIPE)
        assert began.wait(60)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert (
        said.decode().splitlines()[-1]
        == "ted-memory: interrupted; the same command goes on where it stopped"
    )
    assert b"Traceback" not in said


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ted_memory", "show", "--json"]
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 1
    assert (
        done.stderr.decode() == "ted-memory: No space left on device; what was kept before stays\n"
    )
