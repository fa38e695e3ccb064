"""What `--help` says: an example of each command, options in groups, and the keys of its JSON."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from ted_memory import Episode, open_memory
from ted_memory.cli import COMMANDS, app, dead, help_of
from ted_memory.distill import Report
from ted_memory.evaluation import Evaluation
from ted_memory.learner.overview import Departure
from ted_memory.models import Add
from tests.command_line import run_cli
from tests.conftest import Server

FOLDER = Path(inspect.getfile(dead)).parent
PLAIN = {name: made for group in COMMANDS.values() for name, made in group.items()}
DOCUMENTED = {
    name: help_of(made) for name, made in PLAIN.items() if not isinstance(made, typer.Typer)
}
DOCUMENTED |= {
    f"dead {word.name}": inspect.getdoc(word.callback) or ""
    for word in dead.app.registered_commands
}


def keys_of(documented: str) -> set[str]:
    """Return the outermost keys that a help text names; what stands in brackets explains them."""
    text = re.sub(r"\([^()]*\)", "", " ".join(documented.split()))
    [listed] = re.findall(r"Keys of --json: ([^.]*)\.", text)
    return {name.strip() for name in listed.split(",")}


def test_each_command_has_a_file_named_like_it() -> None:
    files = {path.stem.rstrip("_") for path in FOLDER.glob("*.py")} - {"__init__".rstrip("_")}
    assert files == set(PLAIN)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_each_help_has_an_example_of_just_this_command(name: str) -> None:
    *_, examples = DOCUMENTED[name].partition("\n\nExamples:\n")
    assert f"ted-memory {name} " in examples + " "


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED) - {"export", "acl", "desk"}))
def test_each_help_names_the_keys_of_its_json(name: str) -> None:
    assert keys_of(DOCUMENTED[name])


def test_examples_are_printed_as_they_are_typed_below_options_in_groups(tmp_path: Path) -> None:
    text = run_cli("eval", "--help", cwd=tmp_path, COLUMNS="80").stdout
    titles = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert titles == [
        *("Arguments", "Options", "Models", "Data", "Memory", "Grading"),
        *("What the student is shown", "Costs", "Report", "Examples"),
    ]
    assert "--examples train.jsonl \\\n      --report report/" in text
    assert "Examples:" not in text[: text.index("Arguments:")]


def test_the_help_of_all_names_each_command_once_under_its_group(tmp_path: Path) -> None:
    text = run_cli("--help", cwd=tmp_path, COLUMNS="80").stdout
    for group, commands in COMMANDS.items():
        below = text[text.index(f"\n{group}:") :].split("\n\n")[0]
        assert re.findall(r"^  (\w+) ", below, re.MULTILINE) == list(commands)
    assert len(app.registered_commands) + len(app.registered_groups) == len(PLAIN)


def test_models_of_reports_have_the_keys_that_are_named() -> None:
    assert keys_of(DOCUMENTED["distill"]) == set(Report.model_fields)
    fields = {name.rstrip("_") for name in Evaluation.model_fields}
    assert keys_of(DOCUMENTED["eval"]) == fields
    gone = DOCUMENTED["explain"].split("has left:")[1].split("Examples")[0]
    assert set(re.findall(r"\w+", gone)) == {"namespace", *Departure.model_fields}


def used(url: str, namespace: str, lesson: str) -> Iterator[tuple[str, list[str]]]:
    """Yield calls that print JSON, in an order in which each finds what it needs."""
    at = ["-n", namespace, "--url", url]
    plan = ["--requests-a-day", "5000", "--graded", "0.2", "--applies", "0.05", "--lift", "0.2"]
    yield "plan", plan
    yield "add", ["--text", "Be brief.", *at]
    yield "show", at
    yield "log", at
    yield "diff", ["1", *at]
    yield "explain", [lesson, *at]
    yield "edit", [lesson, "--text", "Be kind.", *at]
    yield "approve", [lesson, *at]
    yield "reject", [lesson, *at]
    yield "rollback", ["1", *at]
    yield "status", at
    yield "feedback", ["r", "--score", "1", *at]
    yield "namespaces", ["--url", url]
    yield "doctor", at
    yield "dead list", at
    yield "dead retry", ["--all", *at]
    yield "dead drop", ["--all", *at]
    yield "purge", ["--source", "author:nobody", *at]
    yield "forget", ["--run", "r", *at]
    yield "drop", [namespace, "--url", url]


async def test_the_json_of_commands_has_just_the_keys_that_their_help_names(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        proposed = Add(text="Ask first.", state="proposed")
        [applied] = (await memory.commit([proposed], author="test", why="to see it")).applied
        await memory.record(Episode(run_id="r"))
        await memory.flush()
    for name, options in used(valkey.url, namespace, applied.id):
        done = run_cli(*name.split(), *options, "--json", cwd=tmp_path)
        assert done.returncode == 0, (name, done.stderr)
        assert set(json.loads(done.stdout)) == keys_of(DOCUMENTED[name]), name


def test_an_import_has_the_keys_that_its_help_names(tmp_path: Path) -> None:
    run_cli("add", "--text", "Be brief.", cwd=tmp_path)
    run_cli("export", "set.jsonl", cwd=tmp_path)
    done = run_cli("import", "set.jsonl", "-n", "other", "--json", cwd=tmp_path)
    assert set(json.loads(done.stdout)) == keys_of(DOCUMENTED["import"])
