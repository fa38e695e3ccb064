"""The attack machine of `tests/attacks/test_machine.py` at full size, with the long controls."""

import pytest

from tests.attacks.places import InProcess, OnServer, Place
from tests.attacks.playing import lower_the_thresholds, play, switch_off
from tests.attacks.switched_off import FUNCTIONS_SELDOM, SELDOM
from tests.attacks.test_machine import FOUND
from tests.chaos.sizes import FULL, report
from tests.conftest import Server

EXAMPLES, STEPS = 2000, 40
ENOUGH = 1000  # examples within which a mechanism that is missing must be found

pytestmark = pytest.mark.skipif(not FULL, reason="its small size is tests/attacks/test_machine.py")


@pytest.mark.parametrize("where", ["process", "server"])
def test_no_long_sequence_of_attacks_breaks_a_memory(
    monkeypatch: pytest.MonkeyPatch, server: Server, where: str
) -> None:
    lower_the_thresholds(monkeypatch)

    def make() -> Place:
        return InProcess() if where == "process" else OnServer(server.url)

    done = play(make, EXAMPLES, STEPS, derandomize=False)
    told = ", ".join(f"{count} {what}" for what, count in done.most_common())
    report(f"attack machine in a {where}: {EXAMPLES} examples, no broken promise; {told}")
    for seen in (
        "corrected",
        "fenced",
        "active to proposed",
        "dropped",
        "import of what was purged",
        "dead",
    ):
        assert done[seen], f"it never came to this: {seen}"


@pytest.mark.parametrize("mechanism", list(SELDOM))
def test_a_script_without_its_mechanism_is_found_in_a_long_run(
    monkeypatch: pytest.MonkeyPatch, server: Server, mechanism: str
) -> None:
    lower_the_thresholds(monkeypatch)
    switch_off(monkeypatch, *SELDOM[mechanism])
    with pytest.raises(FOUND):
        play(lambda: OnServer(server.url), ENOUGH, STEPS)


@pytest.mark.parametrize("mechanism", list(FUNCTIONS_SELDOM))
def test_a_function_without_its_mechanism_is_found_in_a_long_run(
    monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    lower_the_thresholds(monkeypatch)
    monkeypatch.setattr(*FUNCTIONS_SELDOM[mechanism])
    with pytest.raises(FOUND):
        play(InProcess, ENOUGH, STEPS)
