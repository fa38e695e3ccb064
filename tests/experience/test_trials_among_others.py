"""What lessons on their way have to do with each other: whose turn it is, who makes room."""

from dataclasses import replace

from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.trials import (
    excess_first,
    room_for,
    turn,
    without_room,
)
from ted_memory.models import Caps, Experience, Trial
from ted_memory.settings import make_settings
from tests.experience.lessons import NOW, a_set, lesson, on_trial, proposed
from tests.experience.steps import BY_TRIAL, due, silent
from tests.experience.tally import MANY, Tally, outcomes, pairs, watched


def test_lessons_of_which_replays_say_nothing_hold_up_no_other() -> None:
    promising, mute = pairs(6, 1, 0.5), silent(6).evidence
    assert turn(mute, make_settings()) > turn(promising, make_settings()), (
        "it has had its first pairs"
    )
    assert turn(silent(1).evidence, make_settings()) < turn(promising, make_settings())


def test_a_passed_lesson_gets_the_room_of_those_that_helped_least() -> None:
    tried, cheap, dear = (
        on_trial("new"),
        lesson("cheap", trial=BY_TRIAL),
        lesson("dear", trial=BY_TRIAL),
    )
    known = {"new": pairs(30, 0.8, 0.5), "cheap": pairs(30, 0.6, 0.5), "dear": pairs(30, 1.0, 0.5)}

    def going(*active: Experience, most: int = 2, **tunables: object) -> list[str] | None:
        snapshot = replace(
            a_set(*active, tried), caps=Caps(max_experiences=most, token_budget=1000)
        )
        found = room_for(tried, snapshot, known, make_settings(**tunables))
        return None if found is None else [edit.id for edit in found]

    assert going(cheap, dear, most=3) == []
    assert going(dear, cheap) == ["cheap"]
    assert going(dear) == []
    assert going(dear, most=1) is None, "it helps more than the new one"
    assert going(cheap.model_copy(update={"trial": None}), dear) is None, (
        "what a person wrote or approved stays"
    )
    assert going(dear, cheap, most=1) is None, "two would have to go"


def test_a_passed_trial_that_finds_no_room_ends_by_time() -> None:
    tried = on_trial("new")
    assert without_room(tried, NOW + LONGEST_TRIAL / 2) is None
    step = without_room(tried, NOW + LONGEST_TRIAL)
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("proposed", Trial(ended=step.why))
    assert (
        step.why == "its trial is passed, and the set has no room for it: "
        "raise the caps, or retire another lesson"
    )


def test_no_two_principals_choose_who_makes_room() -> None:
    tried, victim = on_trial("new"), lesson("victim", trial=BY_TRIAL)
    lied = Tally(MANY)
    for i in range(60):
        lied.pair(i % MANY, *((0, 1) if i % MANY < 2 else (1, 0.5)))
    known = {"new": pairs(60, 0.8, 0.5), "victim": lied.evidence}
    snapshot = replace(a_set(victim, tried), caps=Caps(max_experiences=1, token_budget=1000))
    assert room_for(tried, snapshot, known, make_settings()) is None
    assert room_for(tried, snapshot, known, make_settings(min_principals=1)) is not None, (
        "the control: nobody left out"
    )


def test_what_hurts_goes_first_and_what_waits_comes_last() -> None:
    crowd = [
        proposed("l3"),
        on_trial("l2"),
        lesson("l1"),
        *(proposed(f"l{i}", by=("loud",)) for i in (4, 5)),
        lesson("l6"),
        on_trial("l7"),
    ]
    known = {"l1": watched(300, 0, 1), "l2": outcomes(500, lift=0.5), "l3": pairs(100, 1, 0)}
    steps = due(*crowd, max_proposed=1, known=known)
    assert [(step.edit.id, step.edit.state) for step in steps] == [
        ("l1", "proposed"),
        ("l2", "active"),
        ("l3", "trial"),
        ("l5", "retired"),
    ]
    assert steps[-1].why == "more than 1 lessons wait"


def test_nothing_is_due_where_nothing_is_known() -> None:
    assert due(lesson("l1"), on_trial("l2"), proposed("l3"), lesson("l4", "retired")) == []


def test_as_many_lessons_may_be_on_trial_as_have_earned_it() -> None:
    """Their coins are independent of each other: there are no places to wait for."""
    ready = [proposed(f"l{i}") for i in range(30)]
    tried = [on_trial(f"l{i}") for i in range(30, 60)]
    steps = due(*ready, *tried, known={e.id: pairs(100, 1, 0) for e in ready})
    assert [step.edit.state for step in steps] == ["trial"] * 30


def test_a_flood_pushes_out_itself() -> None:
    """Of 60 that wait the loud one's latest go; by age alone somebody else's would."""
    flood = [proposed(f"l{i}", by=("loud",)) for i in range(1, 51)]
    others = [proposed(f"l{i}", by=(f"p{i}",)) for i in range(51, 58)]
    mine = proposed("l58", sources=("author:me",))
    kept = [mine, proposed("l59", by=("x", "y")), proposed("l60", by=("z",))]
    gone = [step.edit for step in due(*flood, *others, *kept, max_proposed=20)]
    assert {edit.state for edit in gone} == {"retired"}
    assert [edit.id for edit in gone] == [f"l{i}" for i in range(50, 10, -1)]
    assert excess_first([*flood, *others, *kept])[-1].id == "l58", (
        "what waits for a person goes last"
    )
    assert due(*flood, *others, *kept, max_proposed=60) == []


def test_who_proposes_together_with_a_loud_one_is_as_loud() -> None:
    flood = [proposed(f"l{i}", by=("loud",)) for i in range(1, 6)]
    shared, quiet = proposed("l6", by=("loud", "anna")), proposed("l7", by=("anna",))
    assert [e.id for e in excess_first([*flood, shared, quiet])][:2] == ["l6", "l5"]
