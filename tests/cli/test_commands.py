"""The command line as a user runs it: a real memory, and models behind the real protocol."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.cli.helpdesk import model_options
from tests.command_line import run_cli
from tests.conftest import Server


def test_distill_eval_show_log_and_rollback_work_one_after_the_other(
    models: str, data: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    common = ["-n", "colours", "--home", str(home)]
    done = run_cli("distill", str(data), *model_options(models), *common, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["namespace"] == "colours"
    assert report["learned"] >= 4
    assert report["experiences"]["active"] >= 4
    assert report["spend"]["student"]["calls"] > report["spend"]["teacher"]["calls"] > 0
    assert {"version", "samples", "set_aside", "seconds"} <= set(report)
    assert "distil: " in done.stderr, "plain progress lines in a pipe"

    student = ["--student", "student", "--student-base-url", models]
    done = run_cli("eval", str(data), *student, *common, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["without"]["accuracy"] == 0.0
    assert measured["with"]["accuracy"] == 1.0
    assert measured["difference"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert measured["mcnemar_p"] < 0.01

    shown = json.loads(run_cli("show", *common, "--json", cwd=tmp_path).stdout)
    assert shown["version"] == report["version"]
    assert len(shown["experiences"]) == report["experiences"]["active"]
    assert shown["experiences"][0]["sources"][0].startswith("dataset:colours#")

    log = json.loads(run_cli("log", *common, "--json", cwd=tmp_path).stdout)["log"]
    assert log[0]["version"] == report["version"]
    assert log[0]["author"] == "distill:colours"

    back = run_cli("rollback", "0", *common, cwd=tmp_path)
    assert "restores version 0" in back.stdout
    assert json.loads(run_cli("show", *common, "--json", cwd=tmp_path).stdout)["experiences"] == []
    assert "nothing changed" in run_cli("rollback", "0", *common, cwd=tmp_path).stdout


def test_people_get_readable_words(
    models: str, data: Path, tmp_path: Path, valkey: Server, namespace: str
) -> None:
    common = ["-n", namespace, "--url", valkey.url]
    done = run_cli("distill", str(data), *model_options(models), *common, cwd=tmp_path)
    assert "taught something" in done.stdout
    assert "promoted" in done.stdout
    assert "teacher: " in done.stdout
    assert "got the same attempt every time" in done.stdout
    assert "--temperature 0.7 or TED_MEMORY_TEMPERATURE=0.7" in done.stdout
    shown = run_cli("show", *common, cwd=tmp_path).stdout
    assert "When asked about grass: say green" in shown
    log = run_cli("log", *common, cwd=tmp_path).stdout
    assert "version 1 " in log
    assert "When asked about grass: say green" in log
    assert (
        "difference: +1.000"
        in run_cli(
            "eval",
            str(data),
            "--student",
            "student",
            "--student-base-url",
            models,
            *common,
            cwd=tmp_path,
        ).stdout
    )


def test_help_names_every_command_and_option(tmp_path: Path) -> None:
    text = run_cli("--help", cwd=tmp_path).stdout
    for command in ("distill", "eval", "show", "log", "rollback"):
        assert command in text
        assert "--namespace" in run_cli(command, "--help", cwd=tmp_path).stdout


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run_cli("--version", cwd=tmp_path).stdout == f"ted-memory {version('ted-memory')}\n"


def test_commands_that_call_no_model_start_without_langchain(tmp_path: Path) -> None:
    code = (
        "import sys, ted_memory.cli; "
        "print([m for m in sys.modules if m.startswith(('langchain', 'langgraph'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "[]\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m ted_memory distill --help | head -1"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.stdout.strip()
    assert "Traceback" not in result.stderr
