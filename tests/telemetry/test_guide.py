"""The guide on traces says what is so: its program runs, and its tables are complete."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ted_memory import TedMemory
from ted_memory.telemetry import names
from tests.telemetry.conftest import CONTENT, Probe
from tests.telemetry.test_metrics import (
    test_a_learner_counts_claims_calls_tokens_and_outcomes as a_learner_works,
)

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "traces.md").read_text("utf-8")
[PROGRAM] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ROWS = [row for row in GUIDE.splitlines() if row.startswith("|")]
TOLD = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row)}


def test_its_program_prints_what_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    spans = [json.loads(text) for text in re.split(r"(?<=^})\n", done.stdout, flags=re.M) if text]
    told = {span["name"]: span["attributes"] for span in spans}
    assert [*told] == ["create_memory", "search_memory", "answer a question"]
    [id] = told["search_memory"]["ted_memory.lessons.seen"]
    assert told["answer a question"]["ted_memory.lessons.seen"] == [id]
    assert told["create_memory"]["gen_ai.memory.record.id"] == id


def test_each_name_is_in_a_table() -> None:
    ours = {value for key, value in vars(names).items() if key.isupper()} - {names.SCOPE}
    assert len(ours) > 25
    assert ours - TOLD <= {names.EVALUATION}
    assert f"`{names.EVALUATION}`" in GUIDE
    assert CONTENT in TOLD


async def test_each_metric_is_in_a_table_with_its_unit(probe: Probe, memory: TedMemory) -> None:
    await a_learner_works(probe, memory)
    assert probe.units()
    for name, unit in probe.units().items():
        [row] = [row for row in GUIDE.splitlines() if row.startswith(f"| `{name}` ")]
        assert f"`{unit}`" in row


def test_a_name_that_is_in_none_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(names, "MOVE", "ted_memory.lesson.leap")
    with pytest.raises(AssertionError):
        test_each_name_is_in_a_table()
