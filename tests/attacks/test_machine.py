"""Whatever attacks, crashes and jumps: sums are conserved, bounds hold, the forgotten are gone.

Small here, and at full size in `tests/chaos/test_attack_machine.py`, with the controls that take a
long run.
"""

import re
from pathlib import Path

import pytest
from hypothesis.errors import FlakyFailure

from tests.attacks.audit import ENDS, PERMANENT, SECONDS
from tests.attacks.places import InProcess, OnServer
from tests.attacks.playing import lower_the_thresholds, play, switch_off
from tests.attacks.switched_off import FUNCTIONS, OFTEN
from tests.conftest import Server

SMALL, STEPS = 20, 12
ENOUGH = 60
"""Examples within which a mechanism that is missing must be found."""
# a real clock goes on: what is played again may fail in another way
FOUND = (AssertionError, FlakyFailure)


def test_no_sequence_of_attacks_breaks_a_memory_in_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_the_thresholds(monkeypatch)
    done = play(InProcess, SMALL, STEPS)
    assert done["checks"] >= SMALL
    assert done["credited"] and done["settled"], done


def test_no_sequence_of_attacks_breaks_a_memory_on_a_server(
    monkeypatch: pytest.MonkeyPatch, own_server: Server
) -> None:
    lower_the_thresholds(monkeypatch)
    done = play(lambda: OnServer(own_server.url), SMALL, STEPS)
    assert done["checks"] >= SMALL
    assert done["credited"] and done["settled"], done


@pytest.mark.parametrize("mechanism", list(OFTEN))
def test_a_script_without_its_mechanism_is_found_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, own_server: Server, mechanism: str
) -> None:
    lower_the_thresholds(monkeypatch)
    switch_off(monkeypatch, *OFTEN[mechanism])
    with pytest.raises(FOUND):
        play(lambda: OnServer(own_server.url), ENOUGH, STEPS)


@pytest.mark.parametrize("mechanism", list(FUNCTIONS))
def test_a_function_without_its_mechanism_is_found_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    lower_the_thresholds(monkeypatch)
    place, instead = FUNCTIONS[mechanism]
    monkeypatch.setattr(place, instead)
    with pytest.raises(FOUND):
        play(InProcess, ENOUGH, STEPS)


def test_the_machine_knows_the_kinds_of_keys_that_the_limits_name() -> None:
    """Where a key is added its bound is written down, and looked after by the machine."""
    table = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `ted:{...}:")]
    named = {name for row in rows for name in re.findall(r":(\w+)(?=`|:<)", row)}
    assert named == {*PERMANENT, *ENDS, *SECONDS}
