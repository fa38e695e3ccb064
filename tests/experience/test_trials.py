"""What evidence leads to: which step is due for a lesson, and what it waits for where none is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ted_memory.experience.assignment import LONGEST_TRIAL
from ted_memory.experience.evidence import Evidence, live_bet
from ted_memory.experience.trials import (
    ENOUGH,
    ENOUGH_OF_A_LARGE_LIFT,
    ENOUGH_OUTCOMES,
    MOST_OUTCOMES,
    MOST_PAIRS,
    MOST_SILENT,
    REFUTED,
    TURNED,
    is_replayed,
    loudest,
)
from ted_memory.experience.waiting import waits_for
from ted_memory.models import Experience, Trial
from ted_memory.settings import TrialRule, make_settings
from tests.experience.lessons import NOW, lesson, on_trial, proposed
from tests.experience.steps import BY_TRIAL, NOTHING, first, silent, state_after, step_of, waits
from tests.experience.tally import BET, MANY, Tally, outcomes, pairs, watched

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


@pytest.mark.parametrize("rule", list(REFUTED))
def test_a_trial_is_run_by_the_rule_that_holds_when_it_begins(rule: TrialRule) -> None:
    shown = pairs(100, 1, 0.5)
    step = step_of(proposed("l1"), shown, trial_rule=rule)
    assert step is not None and step.edit.trial is not None
    assert (step.edit.trial.rule, step.edit.trial.bet) == (
        rule,
        live_bet(shown.total, REFUTED[rule]),
    )
    needed = first(
        lambda e: e.live(2) >= ENOUGH_OUTCOMES, lambda n: outcomes(n, lift=0.5, rule=rule)
    )
    one = lesson("l1", "trial", step.edit.trial)
    for other in REFUTED:
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
    """A lift of 0.05 is neither shown nor refuted: of 40 answers 21 are better, 19 worse."""
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
    needed = first(lambda e: e.live(2) >= ENOUGH_OUTCOMES, lambda n: outcomes(n, lift=0.5))
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


def test_pairs_on_tools_that_say_nothing_leave_the_others_their_say() -> None:
    tally = silent(60)
    assert (
        waits(proposed("l1"), tally.evidence)
        == f"{waits(proposed('l1'))}; 60 more on results of tools say nothing"
    )
    for i in range(80):
        tally.pair(i % MANY, *((1, 0) if i % 2 else (0.5, 0.5)))
    assert state_after(proposed("l1"), tally.evidence) == "trial"


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
    """The control: one sum needs as long to find the harm as the good time has lasted."""
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


@pytest.mark.parametrize("settings", [{"replay_calls": 0}, {"trust": "always"}])
def test_where_nothing_is_replayed_a_lesson_says_that_it_waits_for_a_person(
    settings: dict[str, Any],
) -> None:
    lesson, nothing = proposed("l1"), Tally(1).evidence
    assert waits_for(lesson, nothing, make_settings()).startswith(
        "replays on others' graded episodes"
    )
    said = waits_for(lesson, nothing, make_settings(**settings))
    assert said.startswith("a person's approval: nothing is replayed here")
