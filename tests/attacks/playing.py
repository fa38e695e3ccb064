"""How the machine is played: low thresholds, clocks of its own, a mechanism switched off or not."""

import hashlib
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ted_memory.storage.redis import scripts
from tests.attacks.operating import Machine
from tests.attacks.places import Dice, Later, Place, today


def lower_the_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make decisions fall after few words, and let the machine say the time and the ids.

    How evidence is counted stays as it is.
    """
    module = "ted_memory.experience.trials"
    for name, value in (
        ("ENOUGH_OF_A_LARGE_LIFT", 1.2),
        ("ENOUGH", 1.4),
        ("ENOUGH_OUTCOMES", 1.4),
        ("TURNED", 1.6),
        ("MOST_PAIRS", 14),
        ("MOST_OUTCOMES", 14),
    ):
        monkeypatch.setattr(f"{module}.{name}", value)
    monkeypatch.setattr("ted_memory.learner.trials.datetime", Later)
    monkeypatch.setattr("secrets.token_hex", Dice.token_hex)
    monkeypatch.setattr("secrets.choice", Dice.choice)
    monkeypatch.setattr("ted_memory.storage.redis.clock.ServerClock.today", today)


def play(
    make: Callable[[], Place], examples: int, steps: int, *, derandomize: bool = True
) -> Counter[str]:
    """Play so many examples and count what happened in them. The first failure ends it as found."""

    class Played(Machine):
        pass

    Played.make, Played.done = staticmethod(make), Counter()
    run_state_machine_as_test(
        Played,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        ),
    )
    return Played.done


def switch_off(monkeypatch: pytest.MonkeyPatch, script: str, line: str, instead: str) -> None:
    """Take a line out of a script."""
    source = getattr(scripts, script)
    assert source.count(line) == 1, "the line that is switched off is there"
    broken = source.replace(line, instead)
    monkeypatch.setattr(scripts, script, broken)
    monkeypatch.setitem(scripts._DIGESTS, broken, hashlib.sha1(broken.encode()).hexdigest())
