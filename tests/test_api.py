"""What users build on: names and parameters stay or are told of, and every type is known."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import api
from tests.dev_server import ROOT

GRAPH = "Graph: TypeAlias = CompiledStateGraph["


def test_nothing_public_is_gone_or_changed_that_the_changelog_does_not_name() -> None:
    before = api.SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert api.unnamed(before, api.surface(), api.CHANGELOG.read_text(encoding="utf-8")) == []
    assert "ted_memory.open_memory(url=None)" in before
    assert "ted_memory.TedMemory.approve(*, author)" in before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ted_memory.open_vault", "open_vault"),
        ("ted_memory.open_memory(path=None)", "open_memory"),
        ("ted_memory.open_memory(url='redis://localhost')", "open_memory"),
        ("ted_memory.TedMemory.approve(*, by)", "approve"),
    ],
)
def test_what_is_gone_is_found_until_the_changelog_names_it(line: str, told: str) -> None:
    """A name, a parameter and a default: each is a promise."""
    before, now = [*api.surface(), line], api.surface()
    head = "# Changelog\n\n## Unreleased\n\n"
    assert api.unnamed(before, now, head) == [line]
    assert api.unnamed(before, now, f"{head}- `{told}` is another one.\n") == []
    old = f"{head}- nothing\n\n## 0.1\n\n- `{told}` is another one.\n"
    assert api.unnamed(before, now, old) == [line], "an older section does not count"


def completeness(folder: Path) -> dict[str, Any]:
    """Have pyright look at a copy of the package's types."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--verifytypes", "ted_memory", "--ignoreexternal", "--outputjson"],
        cwd=folder,
        env={"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(folder)}
        | {"HOME": str(folder)},
        check=False,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return found


@pytest.mark.timeout(600)
def test_every_public_type_is_known_to_checkers(tmp_path: Path) -> None:
    """Of aliases to langgraph's graph pyright says here that they are unknown, though it knows
    them where they are used; the copy that is looked at has langchain's interface in their place.
    """
    shutil.copytree(ROOT / "ted_memory", tmp_path / "ted_memory")
    graph = tmp_path / "ted_memory" / "distill" / "graph.py"
    lines = graph.read_text(encoding="utf-8").splitlines()
    [place] = [i for i, line in enumerate(lines) if line.startswith(GRAPH)]
    lines[place] = "Graph: TypeAlias = Runnable[DistillInput, DistillOutput]"
    lines.insert(place, "from langchain_core.runnables import Runnable")
    graph.write_text("\n".join(lines), encoding="utf-8")
    untyped = tmp_path / "ted_memory" / "samples.py"
    untyped.write_text(
        f"{untyped.read_text(encoding='utf-8')}\ndef control(given): ...\n", encoding="utf-8"
    )
    found = completeness(tmp_path)
    unknown = {one["name"] for one in found["symbols"] if not one["isTypeKnown"]}
    assert unknown == {"ted_memory.samples.control"}, "and the control is found"
