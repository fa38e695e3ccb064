"""What evidence leads to: which step is due for a lesson, and what it waits for where none is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.evidence import Evidence, live_bet
from ted_memory.experience.trials import (
    ENOUGH,
    ENOUGH_OF_A_LARGE_LIFT,
    MOST_OUTCOMES,
    MOST_PAIRS,
    MOST_SILENT,
    RULES,
    TURNED,
    Step,
    excess_first,
    is_replayed,
    loudest,
    next_steps,
    room_for,
    turn,
    without_room,
)
from ted_memory.experience.waiting import waits_for
from ted_memory.models import Caps, Experience, Trial
from ted_memory.settings import TrialRule, make_settings
from tests.experience.lessons import NOW, a_set, lesson, on_trial, proposed
from tests.experience.tally import BET, MANY, Tally, outcomes, pairs, watched

NOTHING = Evidence()
BY_TRIAL = Trial(passed=True)  # what an active lesson has that became so by evidence


def due(
    *lessons: Experience,
    known: dict[str, Evidence] | None = None,
    days: float = 0,
    **tunables: object,
) -> list[Step]:
    return next_steps(
        a_set(*lessons), known or {}, make_settings(**tunables), NOW + timedelta(days=days)
    )


def step_of(one: Experience, evidence: Evidence = NOTHING, **more: object) -> Step | None:
    """Return what is due for a lesson that is alone; its edit holds for this revision of it only."""
    steps = due(one, known={one.id: evidence}, **more)  # type: ignore[arg-type]
    assert [(step.edit.id, step.edit.rev) for step in steps] == [(one.id, 7)] * len(steps)
    return steps[0] if steps else None


def state_after(one: Experience, evidence: Evidence = NOTHING, **more: object) -> str:
    step = step_of(one, evidence, **more)
    return step.edit.state if step else "as it was"


def waits(one: Experience, evidence: Evidence = NOTHING, **tunables: object) -> str:
    return waits_for(one, evidence, make_settings(**tunables))


def first(enough: Callable[[Evidence], bool], evidence_of: Callable[[int], Evidence]) -> int:
    """Return the least count of evidence that is enough."""
    return next(count for count in range(2000) if enough(evidence_of(count)))


# --- from replays to a trial


def test_a_lesson_goes_on_trial_as_soon_as_replays_have_shown_that_it_helps() -> None:
    needed = first(lambda e: e.helps(2) >= ENOUGH_OF_A_LARGE_LIFT, lambda n: pairs(n, 1, 0.5))
    assert 5 < needed < 100
    assert step_of(proposed("l1"), pairs(needed - 1, 1, 0.5)) is None
    step = step_of(proposed("l1"), shown := pairs(needed, 1, 0.5))
    assert step is not None
    assert step.edit.state == "trial"
    assert step.edit.trial == Trial(rule="strict", bet=live_bet(shown.total, 0.0), began_at=NOW)
    assert step.why.startswith(f"replays show it: lift +0.50 in {needed} pairs of answers (1")


@pytest.mark.parametrize("rule", list(RULES))
def test_a_trial_is_run_by_the_rule_that_holds_when_it_begins(rule: TrialRule) -> None:
    shown = pairs(100, 1, 0.5)
    step = step_of(proposed("l1"), shown, trial_rule=rule)
    assert step is not None and step.edit.trial is not None
    assert (step.edit.trial.rule, step.edit.trial.bet) == (
        rule,
        live_bet(shown.total, RULES[rule][0]),
    )
    enough = RULES[rule][1]
    needed = first(lambda e: e.live(2) >= enough, lambda n: outcomes(n, lift=0.5, rule=rule))
    one = lesson("l1", "trial", step.edit.trial)
    for other in RULES:
        assert (
            state_after(one, outcomes(needed - 1, lift=0.5, rule=rule), trial_rule=other)
            == "as it was"
        )
        assert state_after(one, outcomes(needed, lift=0.5, rule=rule), trial_rule=other) == "active"


def test_a_lesson_that_replays_show_to_be_of_no_use_is_retired() -> None:
    needed = first(lambda e: e.useless(2) >= ENOUGH, lambda n: pairs(n, 0.5, 0.5))
    assert step_of(proposed("l1"), pairs(needed - 1, 0.5, 0.5)) is None
    step = step_of(proposed("l1"), pairs(needed, 0.5, 0.5))
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("retired", None)
    assert step.why.startswith(f"of no use: lift +0.00 in {needed} pairs of answers (2")


def test_a_lesson_of_which_replays_show_nothing_is_retired_after_the_last_pair() -> None:
    """A lift of 0.05 is neither shown nor refuted: of 40 answers 21 are better with it and 19 worse."""
    tally = Tally(MANY)
    for i in range(2 * MOST_PAIRS):
        if tally.evidence.pairs(2) == MOST_PAIRS:
            break
        assert step_of(proposed("l1"), tally.evidence) is None
        tally.pair(i % MANY, i % 40 % 2 == 0 or i % 40 == 39, i % 40 % 2 == 1 and i % 40 != 39)
    assert i > MOST_PAIRS, "those of the two busiest do not count"
    step = step_of(proposed("l1"), tally.evidence)
    assert step is not None
    assert step.edit.state == "retired"
    assert step.why == f"no result: lift +0.05 in {i} pairs of answers"
    assert step_of(on_trial("l1"), tally.evidence) is None, "there its outcomes may show it"
    assert step_of(proposed("l1"), tally.evidence, min_principals=10) is None


def test_one_principal_alone_ends_nothing_by_numbers() -> None:
    one_voice = Tally(1)
    for i in range(2 * MOST_OUTCOMES):
        one_voice.pair(0, i % 2, 1 - i % 2)
        one_voice.outcome(0, 0.5, shown=i % 2 == 0, bet=BET, refuted=0.0)
    assert step_of(proposed("l1"), one_voice.evidence) is None
    assert step_of(on_trial("l1"), one_voice.evidence) is None
    assert state_after(on_trial("l1"), one_voice.evidence, min_principals=1) == "proposed", (
        "where no voice is left out"
    )


@pytest.mark.parametrize("sources", [(), ("author:me", "run:r1")])
def test_a_lesson_that_nobody_stands_behind_waits_for_a_person_whatever_is_known(
    sources: tuple[str, ...],
) -> None:
    one = proposed("l1", sources=sources)
    for evidence in (pairs(200, 1, 0), pairs(200, 0, 1), pairs(MOST_PAIRS, 0.5, 0.5)):
        assert step_of(one, evidence) is None
        assert not is_replayed(one)
    assert waits(one) == "a person's approval"
    assert state_after(proposed("l1"), pairs(200, 1, 0)) == "trial", (
        "the control: else it would go on trial"
    )


# --- from a trial to the agents


def test_a_trial_is_passed_as_soon_as_its_outcomes_show_it() -> None:
    needed = first(lambda e: e.live(2) >= RULES["strict"][1], lambda n: outcomes(n, lift=0.5))
    assert 5 < needed < MOST_OUTCOMES
    assert step_of(on_trial("l1"), outcomes(needed - 1, lift=0.5)) is None
    step = step_of(on_trial("l1"), outcomes(needed, lift=0.5))
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("active", BY_TRIAL)
    wealth = outcomes(needed, lift=0.5).live(2)
    assert step.why == f"its trial is passed (wealth {wealth:.3g} in {needed} outcomes)"


def test_under_review_a_passed_trial_waits_for_a_person() -> None:
    evidence = outcomes(300, lift=0.5)
    step = step_of(on_trial("l1"), evidence, trust="review")
    assert step is not None
    assert (step.edit.state, step.edit.trial) == (
        "trial",
        Trial(bet=BET, began_at=NOW, passed=True),
    )
    passed = lesson("l1", "trial", step.edit.trial)
    assert step_of(passed, evidence, trust="review") is None
    last = outcomes(2 * MOST_OUTCOMES, lift=0.5)
    assert step_of(passed, last, trust="review", days=99) is None, "it waits as long as it takes"
    assert state_after(passed, outcomes(300, lift=-0.5), trust="review") == "retired", (
        "harm still ends it"
    )
    assert waits(passed, evidence, trust="review") == "a person's approval: its trial is passed"
    assert state_after(passed, evidence, trust="evidence") == "active", (
        "nobody need be asked any more"
    )


def silent(count: int, principals: int = MANY) -> Tally:
    """Return what so many pairs on recorded results of tools tell, which were scored alike."""
    tally = Tally(principals)
    for i in range(count):
        tally.silent(i % principals)
    return tally


def test_a_lesson_of_which_replays_say_nothing_waits_for_a_person() -> None:
    needed = first(lambda e: e.silent(2) >= MOST_SILENT, lambda n: silent(n).evidence)
    assert step_of(proposed("l1"), silent(needed - 1).evidence) is None
    step = step_of(proposed("l1"), silent(needed).evidence)
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("proposed", Trial(ended=step.why))
    assert step.why.startswith(
        f"replays cannot show what it does: {needed} answers rest on recorded results of tools"
    )
    assert state_after(proposed("l1"), pairs(needed, 0.5, 0.5)) == "retired", (
        "the control: other pairs do say that"
    )
    assert state_after(proposed("l1"), silent(10 * needed, principals=2).evidence) == "as it was", (
        "no two bring it about"
    )


def test_lessons_of_which_replays_say_nothing_hold_up_no_other() -> None:
    promising, mute = pairs(6, 1, 0.5), silent(6).evidence
    assert turn(mute, make_settings()) > turn(promising, make_settings()), (
        "it has had its first pairs"
    )
    assert turn(silent(1).evidence, make_settings()) < turn(promising, make_settings())


def test_pairs_on_tools_that_say_nothing_leave_the_others_their_say() -> None:
    tally = silent(60)
    assert (
        waits(proposed("l1"), tally.evidence)
        == f"{waits(proposed('l1'))}; 60 more on results of tools say nothing"
    )
    for i in range(80):
        tally.pair(i % MANY, *((1, 0) if i % 2 else (0.5, 0.5)))
    assert state_after(proposed("l1"), tally.evidence) == "trial"


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
        step.why
        == "its trial is passed, and the set has no room for it: raise the caps, or retire another lesson"
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


def test_a_lesson_that_hurts_on_trial_is_retired() -> None:
    needed = first(lambda e: e.harms(2) >= ENOUGH, lambda n: outcomes(n, lift=-0.5))
    assert step_of(on_trial("l1"), outcomes(needed - 1, lift=-0.5)) is None
    step = step_of(on_trial("l1"), outcomes(needed, lift=-0.5))
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("retired", None)
    assert step.why.startswith("it hurts (wealth 2")


def test_a_trial_without_a_result_ends_with_its_last_outcome_or_its_last_day() -> None:
    almost, days = LONGEST_TRIAL - timedelta(seconds=1), LONGEST_TRIAL.days
    last = first(lambda e: e.outcomes(2) >= MOST_OUTCOMES, outcomes)
    assert last > MOST_OUTCOMES, "those of the two busiest do not count"
    assert step_of(on_trial("l1"), outcomes(last - 1), days=almost / timedelta(days=1)) is None
    for evidence, day in ((outcomes(last), 0), (outcomes(3), days), (NOTHING, days)):
        step = step_of(on_trial("l1"), evidence, days=day)
        assert step is not None
        count = evidence.total.outcomes
        assert step.why.startswith(f"no result in {count:g} outcomes and {day} days (wealth ")
        assert (step.edit.state, step.edit.trial) == ("proposed", Trial(ended=step.why))
        ended = proposed("l1", trial=step.edit.trial)
        assert step_of(ended, pairs(200, 1, 0)) is None, "nobody but a person takes it up again"
        assert not is_replayed(ended)
        assert waits(ended) == f"a person's word: {step.why}"


def test_a_trial_that_shows_something_with_its_last_outcome_is_decided_by_that() -> None:
    assert state_after(on_trial("l1"), outcomes(MOST_OUTCOMES, lift=0.5)) == "active"
    assert state_after(on_trial("l1"), outcomes(MOST_OUTCOMES, lift=-0.5), days=99) == "retired"


@pytest.mark.parametrize("trial", [None, Trial(), Trial(passed=True)])
def test_a_trial_begun_under_other_rules_or_for_another_text_begins_anew(
    trial: Trial | None,
) -> None:
    step = step_of(lesson("l1", "trial", trial), outcomes(300, lift=0.5), days=99)
    assert step is not None
    assert (step.edit.state, step.edit.trial) == ("proposed", None)
    assert step.why.startswith("its trial begins anew with replays: it was begun under other rules")
    assert is_replayed(lesson("l1", "proposed"))


# --- watched


def test_an_active_lesson_that_has_come_to_hurt_is_demoted_and_only_a_person_brings_it_back() -> (
    None
):
    needed = first(lambda e: e.turned(2) >= TURNED, lambda n: watched(n, 0.5, 1))
    assert step_of(lesson("l1"), watched(needed - 1, 0.5, 1)) is None
    step = step_of(lesson("l1"), watched(needed, 0.5, 1))
    assert step is not None
    wealth = watched(needed, 0.5, 1).turned(2)
    assert (
        step.why
        == f"it has come to hurt (wealth {wealth:.3g} against it after {needed} comparisons)"
    )
    assert (step.edit.state, step.edit.trial) == ("proposed", Trial(ended=step.why))
    demoted = proposed("l1", trial=step.edit.trial)
    assert step_of(demoted, pairs(200, 1, 0)) is None
    assert waits(demoted) == f"a person's word: {step.why}"


def test_a_long_good_time_does_not_put_off_that_harm_is_found() -> None:
    def needed_after(good: int) -> int:
        tally = Tally(MANY)
        for i in range(good):
            tally.watch(i % MANY, 1, 0.5)
        for i in range(1000):
            tally.watch(i % MANY, 0.5, 1)
            if tally.evidence.turned(2) >= TURNED:
                return i + 1
        raise AssertionError("it is never found")

    assert needed_after(0) == needed_after(500)


def test_as_one_sum_a_good_time_would_make_up_for_a_bad_one() -> None:
    """The control: pairs that are not begun anew need as long for the harm as they had for the good."""
    tally = Tally(MANY)
    for i in range(500):
        tally.pair(i % MANY, 0.5, 1)
    for i in range(100):
        tally.pair(i % MANY, 1, 0.5)
    assert tally.evidence.helps(2) < 1e-9


# --- the loudest are left out


def test_the_default_leaves_out_the_two_loudest() -> None:
    assert loudest(make_settings()) == 2
    assert [loudest(make_settings(min_principals=n)) for n in (1, 2, 3)] == [0, 1, 2]


@pytest.mark.parametrize("few", [1, 2])
@pytest.mark.parametrize(
    ("one", "evidence_of", "becomes"),
    [
        (proposed("l1"), lambda who: pairs(300, 1, 0, who), "trial"),
        (proposed("l1"), lambda who: pairs(300, 0, 1, who), "retired"),
        (on_trial("l1"), lambda who: outcomes(500, lift=1, principals=who), "active"),
        (on_trial("l1"), lambda who: outcomes(500, lift=-1, principals=who), "retired"),
        (on_trial("l1"), lambda who: pairs(300, 0, 1, who), "retired"),
        (lesson("l1"), lambda who: watched(300, 0, 1, who), "proposed"),
    ],
    ids=["on trial", "useless", "active", "harmful", "useless on trial", "demoted"],
)
def test_no_few_principals_bring_about_a_step_up_or_down(
    few: int, one: Experience, evidence_of: Callable[[int], Evidence], becomes: str
) -> None:
    """However much they say: with one fewer than `min_principals` there is no evidence at all."""
    assert state_after(one, evidence_of(few), min_principals=few + 1) == "as it was"
    assert state_after(one, evidence_of(few), min_principals=few) == becomes, "the control"
    assert state_after(one, evidence_of(few + 2), min_principals=few + 1) == becomes, (
        "others say it, too"
    )


def test_the_loudest_cannot_hide_what_others_have_shown() -> None:
    """Only what argues for a step is left out: who argues against it stays."""
    against = pairs(20, 0, 0.5, principals=2)
    assert against.helps(2) == against.helps(0) < 0.5
    assert (against.useless(2), against.useless(0) > 2) == (pytest.approx(1), True)


# --- the order of steps


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


@pytest.mark.parametrize("settings", [{"replay_calls": 0}, {"trust": "operator"}])
def test_where_nothing_is_replayed_a_lesson_says_that_it_waits_for_a_person(
    settings: dict[str, Any],
) -> None:
    lesson, nothing = proposed("l1"), Tally(1).evidence
    assert waits_for(lesson, nothing, make_settings()).startswith(
        "replays on others' graded episodes"
    )
    said = waits_for(lesson, nothing, make_settings(**settings))
    assert said.startswith("a person's approval: nothing is replayed here")
