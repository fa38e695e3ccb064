"""Of lessons that tell the same in the same situation one is on trial at a time.

Two would hide each other's worth.
"""

from statistics import median

import numpy as np
import pytest

from ted_memory.experience.trials import (
    ENOUGH,
    ENOUGH_OUTCOMES,
    REFUTED,
    Step,
    loudest,
    next_steps,
    wants_pairs,
)
from ted_memory.experience.waiting import waits_for
from ted_memory.models import Experience
from ted_memory.settings import make_settings
from tests.experience.lessons import NOW, a_set, on_trial, proposed
from tests.experience.tally import BET, Tally, outcomes, pairs

SETTINGS = make_settings()
ENOUGH_PAIRS = pairs(60, 1.0, 0.0)
TEXT = "answer office G."
ONE = proposed("l1", text=TEXT, when="reading, audio guide, children")
TWO = proposed("l2", text=TEXT, when="Reading; headphones")


def due(*lessons: Experience) -> list[Step]:
    return next_steps(a_set(*lessons), {e.id: ENOUGH_PAIRS for e in lessons}, SETTINGS, NOW)


def begun(*lessons: Experience) -> list[str]:
    return [step.edit.id for step in due(*lessons) if step.edit.state == "trial"]


def test_of_two_that_tell_the_same_one_goes_on_trial() -> None:
    assert begun(ONE, TWO) == ["l1"]
    assert begun(TWO, on_trial("l3", text=TEXT.upper(), when="a reading")) == []


@pytest.mark.parametrize(
    "other",
    [
        on_trial("l3", text="answer office C.", when="reading"),
        on_trial("l3", text=TEXT, when="umbrella"),
    ],
    ids=["another text", "another situation"],
)
def test_others_go_on_trial_beside_each_other(other: Experience) -> None:
    assert begun(ONE, other) == ["l1"]


def test_one_that_is_told_everywhere_is_in_the_way_of_all_that_tell_the_same() -> None:
    assert begun(ONE, on_trial("l3", text=TEXT, when="")) == []


def test_a_trial_that_only_waits_for_a_person_is_in_nobodys_way() -> None:
    tried = on_trial("l3", text=TEXT, when="reading")
    assert tried.trial
    passed = tried.model_copy(update={"trial": tried.trial.model_copy(update={"passed": True})})
    settings = make_settings(trust="review")
    steps = next_steps(a_set(ONE, passed), {"l1": ENOUGH_PAIRS}, settings, NOW)
    assert [(step.edit.id, step.edit.state) for step in steps] == [("l1", "trial")]


def test_a_trial_that_is_passed_and_finds_no_room_is_in_nobodys_way() -> None:
    """It stays on trial, and is due again at each look."""
    tried = on_trial("l3", text=TEXT, when="reading")
    known = {"l1": ENOUGH_PAIRS, "l3": outcomes(60, lift=1.0)}
    steps = next_steps(a_set(ONE, tried), known, SETTINGS, NOW)
    assert [(step.edit.id, step.edit.state) for step in steps] == [
        ("l3", "active"),
        ("l1", "trial"),
    ]
    known["l3"] = outcomes(2, lift=1.0)
    assert next_steps(a_set(ONE, tried), known, SETTINGS, NOW) == [], "the control: it goes on"


def test_what_replays_have_shown_enough_of_is_not_paid_for_again_while_it_waits() -> None:
    assert ENOUGH_PAIRS.helps(loudest(SETTINGS)) >= ENOUGH
    assert not wants_pairs(ONE, ENOUGH_PAIRS, SETTINGS)
    assert wants_pairs(ONE, pairs(3, 1.0, 0.0), SETTINGS)
    assert wants_pairs(ONE.model_copy(update={"state": "active"}), ENOUGH_PAIRS, SETTINGS)
    assert "on trial that tells the same" in waits_for(ONE, ENOUGH_PAIRS, SETTINGS)


def outcomes_until_active(
    chance: np.random.Generator, *, beside: bool, lift: float = 0.4, base: float = 0.4
) -> int:
    """Return the live outcomes that a lesson takes, alone or beside one that tells the same."""
    tally, k, refuted = Tally(10), loudest(SETTINGS), REFUTED["strict"]
    for count in range(1, 2000):
        shown, other = bool(chance.integers(2)), beside and bool(chance.integers(2))
        score = float(chance.random() < base + lift * (shown or other))
        tally.outcome(count % 10, score, shown=shown, bet=BET, refuted=refuted)
        if tally.evidence.live(k) >= ENOUGH_OUTCOMES:
            return count
    return 2000


def test_beside_each_other_they_would_take_several_times_as_long() -> None:
    """The reason for all of this."""
    chance = np.random.default_rng(1)
    alone, both = (
        median(outcomes_until_active(chance, beside=beside) for _ in range(60))
        for beside in (False, True)
    )
    assert both > 2 * alone, (alone, both)
