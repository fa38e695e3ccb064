"""Budgets, prices, judges, stages and reports on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.helpdesk import model_options
from tests.command_line import run_cli


def test_a_budget_of_calls_is_kept_and_said(models: str, data: Path, tmp_path: Path) -> None:
    limits = ["--max-calls", "150", "--concurrency", "1"]
    done = run_cli("distill", str(data), *model_options(models), *limits, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    calls = sum(report["spend"][role]["calls"] for role in ("student", "teacher"))
    assert 75 < calls <= 150
    assert (
        report["stopped"] == "the budget of 150 calls is used up; what was learned so far is kept"
    )
    assert 0 < report["samples"] < 12
    assert report["gate"]["pairs"] > 0, "the gate had what was set aside for it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-cost", "1"], "give --prices"),
        (["--prices", "1,2"], "four numbers"),
        (["--prices", "1,2,3,-4"], "four numbers"),
        (["--compaction", "fate"], "compaction"),
        (["--mapping", "fate"], "mapping"),
        (["--grader", "fate"], "there is no grader 'fate'"),
    ],
)
def test_an_option_that_cannot_work_is_one_line(
    models: str, data: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    done = run_cli("distill", str(data), *model_options(models), *options, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_a_run_cost_is_printed_by_the_prices_given(
    models: str, data: Path, tmp_path: Path
) -> None:
    done = run_cli(
        "distill", str(data), *model_options(models), "--prices", "1000,0,0,0", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    calls = int(done.stdout.split("student: ")[1].split(" calls")[0])
    assert f"cost: {calls * 10 * 1000 / 1e6:.4f} USD" in done.stdout, (
        "the scripted server bills 10 tokens a prompt"
    )


def test_a_judge_scores_in_the_place_of_a_grader(models: str, data: Path, tmp_path: Path) -> None:
    judge = ["--judge", "judge", "--judge-base-url", models]
    student = ["--student", "student", "--student-base-url", models]
    measured = {}
    for name, options in (("judged", judge), ("graded", [])):
        done = run_cli("eval", str(data), *student, *options, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        measured[name] = json.loads(done.stdout)
    assert measured["judged"]["without"]["accuracy"] == 1.0
    assert measured["graded"]["without"]["accuracy"] == 0.0, "the control"
    assert measured["judged"]["spend"]["teacher"]["calls"] == 24
    assert measured["graded"]["spend"]["teacher"]["calls"] == 0


def test_a_report_is_written_with_plots_and_costs(models: str, data: Path, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    learned = run_cli("distill", str(data), *model_options(models), *home, "--json", cwd=tmp_path)
    (tmp_path / "run.json").write_text(learned.stdout, encoding="utf-8")
    student = ["--student", "student", "--student-base-url", models]
    money = [
        "--prices",
        "1,1,1,1",
        "--learning",
        "run.json",
        "--gpu-hours",
        "10",
        "--gpu-hour-price",
        "2",
    ]
    more = ["--repeats", "2", "--checkpoints", "2", "--report", "report"]
    done = run_cli("eval", str(data), *student, *home, *money, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "report.md" in done.stderr
    folder = tmp_path / "report"
    assert {"report.md", "report.json", "lift.png", "set_size.png"} <= {
        path.name for path in folder.iterdir()
    }
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "apples" in text
    assert "cheaper" in text


def test_a_learning_report_that_is_none_is_one_line(
    models: str, data: Path, tmp_path: Path
) -> None:
    student = ["--student", "student", "--student-base-url", models]
    done = run_cli(
        "eval", str(data), *student, "--report", "r", "--learning", str(data), cwd=tmp_path
    )
    assert done.returncode == 1
    assert "is not what 'ted-memory distill --json' prints" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ted-memory: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu-hours", "1"], "give --report FOLDER"),
        (["--report", "r", "--gpu-hours", "1"], "are all needed"),
        (
            ["--report", "r", "--learning", "missing.json"],
            "is not what 'ted-memory distill --json' prints",
        ),
    ],
)
def test_what_a_report_lacks_is_told_before_anything_is_paid_for(
    models: str, data: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    student = ["--student", "student", "--student-base-url", models]
    done = run_cli("eval", str(data), *student, *options, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "measure" not in done.stderr


def test_the_command_line_measures_beside_examples(models: str, data: Path, tmp_path: Path) -> None:
    options = ["--student", "student", "--student-base-url", models, "--examples", str(data)]
    done = run_cli("eval", str(data), *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["examples"]
    assert (told["accuracy"], told["k"]) == (0.0, 1.0)
    assert told["tokens"] > 0
    words = run_cli("eval", str(data), *options, cwd=tmp_path).stdout
    assert "accuracy with solved examples: 0.000 (1.0 in a prompt" in words
    assert "experiences - examples: +0.000" in words
    missing = run_cli("eval", str(data), *options[:-1], "nowhere.jsonl", cwd=tmp_path)
    assert missing.returncode == 1
    assert "nowhere.jsonl" in missing.stderr
    assert "measure" not in missing.stderr
