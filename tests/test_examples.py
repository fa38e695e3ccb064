"""The examples run as they stand, and are short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import run_script

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
SAYS = {
    "01_lessons_by_hand": "- When a customer wants a refund: Ask for the order number first.",
    "02_agent_that_learned": "Ambra",
    "03_look_after_a_set": "purged: 1 gone, ['angry', 'refund'] are back",
    "04_learn_from_traffic": "active: its trial is passed",
}


WARNS = {
    "03_look_after_a_set": "is a proposal: "
    "it is found by get and search, and no agent's prompt shows it"
}


# an agent's call waits 50 ms for the memory and then goes on without: too little beside other tests
# on two cores
PATIENT = {"TED_MEMORY_READ_TIMEOUT": "5"}


def _started(path: Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(path)],
        cwd=cwd,
        env=os.environ | PATIENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_run_again_and_says_what_it_should(path: Path, tmp_path: Path) -> None:
    # as a user starts it; then once more, in a process that has the imports behind it
    runs = [_started(path, tmp_path)]
    # the longest one clears its set by the same call as the others do
    if path.stem != "04_learn_from_traffic":
        runs.append(run_script(str(path), cwd=tmp_path, **PATIENT))
    for done in runs:
        assert done.returncode == 0, done.stderr
        assert SAYS[path.stem] in done.stdout
        assert [
            line for line in done.stderr.splitlines() if WARNS.get(path.stem, "?") not in line
        ] == []
    if path.stem == "04_learn_from_traffic":
        first, *_, last = [int(share) for share in re.findall(r"(\d+)% right", done.stdout)]
        assert last >= first + 30, "its users' corrections taught it"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_under_60_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
