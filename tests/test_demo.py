"""The demo with other models than the local ones: real commands, and a scripted server."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from examples.rulebook import RulebookTeacher, read_handbook
from ted_memory.datasets import read_samples
from ted_memory.testing import Reply
from tests.cli.helpdesk import serve_in_thread
from tests.command_line import run_script

ROOT = Path(__file__).parent.parent
TYPES: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}


def answer(request: dict[str, Any]) -> Reply | str:
    """Play a student that follows its first lesson, and a teacher that reads the handbook."""
    messages = [
        TYPES[message["role"]](content=message["content"]) for message in request["messages"]
    ]
    if request["model"] == "student":
        lesson = re.search(
            r"^- When .*: answer (team .)\.$", str(messages[0].content), re.MULTILINE
        )
        return lesson.group(1) if lesson else "team K"
    if request["model"] == "teacher":
        return str(RulebookTeacher(rules=read_handbook()).invoke(messages).content)
    return Reply(status=404, text=f"The model {request['model']} does not exist")


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with serve_in_thread(answer) as url:
        yield url


def demo(tmp_path: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_script(
        "examples.demo", "--home", str(tmp_path / "home"), *args, cwd=ROOT, TERM="dumb"
    )


@pytest.mark.parametrize("teacher", ["over the wire", "rulebook"])
def test_the_demo_learns_and_measures_with_other_models(
    models: str, tmp_path: Path, teacher: str
) -> None:
    other = ["--teacher", "teacher", "--teacher-base-url", models]
    chosen = ["--teacher", "rulebook"] if teacher == "rulebook" else other
    out = tmp_path / "figures.json"
    done = demo(
        tmp_path, "--student", "student", "--student-base-url", models, *chosen, "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    kept = ROOT / "docs" / "results" / "runs" / "demo" / "1.json"
    assert figures.keys() >= json.loads(kept.read_text(encoding="utf-8")).keys() - {"transcribed"}
    assert figures["known_before"] == 0
    assert f"{figures['difference']['mean']:+.3f}" in done.stdout
    assert ("The teacher is a rule book" in done.stdout) == (teacher == "rulebook")
    found = re.search(r"difference: ([+-][\d.]+) \(95 % interval ([+-][\d.]+) to", done.stdout)
    assert found, done.stdout
    assert float(found.group(1)) >= 0.4
    assert float(found.group(2)) > 0
    assert "What to type next" in done.stdout
    assert "teacher: " in done.stdout


def test_the_demo_tells_a_wrong_model_in_one_line(models: str, tmp_path: Path) -> None:
    done = demo(
        tmp_path, "--student", "studnet", "--student-base-url", models, "--teacher", "rulebook"
    )
    assert done.returncode == 1
    assert "studnet does not exist" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_rule_book_sees_only_messages_and_mostly_knows() -> None:
    teacher = RulebookTeacher(rules=read_handbook())
    samples = read_samples(ROOT / "examples" / "data" / "helpdesk" / "train.jsonl")
    right = sum(teacher.invoke(sample.text).content == sample.reference for sample in samples)
    assert right / len(samples) > 0.75


def test_training_and_held_out_tickets_are_different_and_cover_every_rule() -> None:
    train, held_out = (
        read_samples(ROOT / "examples" / "data" / "helpdesk" / f"{n}.jsonl")
        for n in ("train", "heldout")
    )
    assert not {s.text for s in train} & {s.text for s in held_out}
    rules = {rule.name for rule in read_handbook()}
    assert {s.category for s in train} == {s.category for s in held_out} == rules
    assert (len(rules) >= 12, len(train) >= 36, len(held_out) >= 48) == (True, True, True)
