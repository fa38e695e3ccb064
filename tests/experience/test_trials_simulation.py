"""What trials let through and how much they take, simulated with lifts that are known.

`make chaos` does the same at full size, and prints the figures.
"""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ted_memory.experience.assignment import COIN, draw, expose
from ted_memory.experience.evidence import BETS, LiveSteps, Sums, add_pair, live_steps
from ted_memory.retrieval.selection import make_selector
from ted_memory.settings import make_settings
from tests.experience.asking import ranked
from tests.experience.candidates import CALLS_OF_A_PAIR, LIFTS, Traffic, nth_good, races
from tests.experience.lessons import NOW, a_set, on_trial, proposed
from tests.experience.made_up import (
    EPOCH,
    OUTCOMES,
    PAIRS,
    Subject,
    World,
    demotions,
    exposure,
    lives,
    middle,
    questions,
    scripts,
    share,
    taken,
    watched_pairs,
)

K1, K2 = {"min_principals": 2}, {"min_principals": 3}  # one and two loudest principals are left out
DRIFT = (0.3, 0.8)
ONE_LIAR, TWO_LIARS = World(liars=1, lies=0.3), World(liars=2, lies=0.3)
FOOLED = World(lift=0.3, live_lift=0.0)


# --- negative controls: ways to count that look like ours


def staking_less_where_it_lost(sums: Sums, with_it: float, without_it: float) -> Sums:
    """Do as `add_pair` does, but make the bet depend on this question's outcome."""
    counted, difference = add_pair(sums, with_it, without_it), with_it - without_it
    if difference >= 0:
        return counted
    helps = [
        old + math.log(1 + bet / 2 * difference) for old, bet in zip(sums.helps, BETS, strict=True)
    ]
    return replace(counted, helps=(helps[0], helps[1], helps[2]))


def live_staking_less_where_it_lost(
    score: float,
    *,
    shown: bool,
    guess: float,
    bet: float,
    **more: float,
) -> LiveSteps:
    """Do the same with live outcomes."""
    won = (score > guess) == shown
    return live_steps(score, shown=shown, guess=guess, bet=bet if won else bet / 2, **more)


TILTED = World(count_pair=staking_less_where_it_lost, steps_of=live_staking_less_where_it_lost)
UNPAIRED = World(base=DRIFT, paired=False)


# --- the world is what it says


@pytest.mark.parametrize("base", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("lift", [-0.2, 0.0, 0.1, 0.2])
def test_lessons_have_the_lift_that_they_are_said_to_have(base: float, lift: float) -> None:
    world = World(base=base)
    without, with_it = questions(np.random.default_rng(1), world, lift, 2000, 40)
    assert abs(without.mean() - base) < 0.01
    assert abs((with_it - without).mean() - lift) < 0.01


def test_the_base_rate_drifts_and_liars_lie() -> None:
    chance = np.random.default_rng(1)
    without, _ = questions(chance, World(base=DRIFT), 0.0, 400, 200)
    assert abs(without[:, :40].mean() - 0.325) < 0.02
    assert abs(without[:, -40:].mean() - 0.775) < 0.02
    told = [
        pair for script in scripts(chance, World(liars=2, lies=0.3), 10) for pair in script.pairs
    ]
    lies = [pair for pair in told if pair[0] < 2]
    assert abs(len(lies) / (10 * PAIRS) - 0.3) < 0.03
    assert all(pair[1:] == (1.0, 0.0) for pair in lies)


def test_liars_lie_against_a_lesson_and_where_they_are_told_to_of_live_outcomes_alone() -> None:
    [script] = scripts(np.random.default_rng(1), World(liars=2, lies=0.3, lies_against=True), 1)
    assert {told[1:] for told in (*script.pairs, *script.outcomes) if told[0] < 2} == {(0.0, 1.0)}
    [late] = scripts(
        np.random.default_rng(1), World(liars=2, lies=0.3, lies_against=True, lies_late=True), 1
    )
    assert len({told[1:] for told in late.pairs if told[0] < 2}) > 2
    assert {told[1:] for told in late.outcomes if told[0] < 2} == {(0.0, 1.0)}
    [watched] = watched_pairs(
        np.random.default_rng(1), World(liars=2, lies=0.3, lies_against=True), 50, 1
    )
    assert {told[1:] for told in watched if told[0] < 2} == {(0.0, 1.0)}


def test_what_its_source_asks_says_nothing_of_a_lesson() -> None:
    subject = Subject(proposed("l1"), World(has_source=True), make_settings())
    subject.replay((0, 1.0, 0.0))
    assert subject.life.pairs == 0
    subject.replay((1, 1.0, 0.0))
    assert subject.life.pairs == 1


def test_of_a_campaigns_traffic_the_honest_part_is_told_apart() -> None:
    [fooled] = lives(replace(FOOLED, liars=2, lies=0.3), 1, **K2)
    assert fooled.state == "proposed", "its trial had no result"
    assert 0 < fooled.honest_saw < 0.8 * fooled.saw
    assert fooled.honest < 0.8 * (fooled.pairs + fooled.outcomes)
    assert exposure([fooled], 0.1) == 0.1 * fooled.honest_saw / fooled.honest
    [active] = lives(World(lift=0.4), 1, **K2)
    assert active.honest >= OUTCOMES, "it is shown further"
    assert active.honest_saw > active.honest / 2


def test_the_coin_of_the_simulation_is_the_one_that_agents_are_assigned_by() -> None:
    held = a_set(one := on_trial("l1"), epoch=EPOCH)
    choose = make_selector("all", top_k=3, token_budget=2000)
    sides = Counter[bool]()
    for i in range(200):
        unit = f"unit-{i}"
        ranking = ranked(held.trial, "")
        given = expose(
            held, choose, ranking, unit=unit, principal="carl", withhold_share=0.0, now=NOW
        )
        assert (
            (one.id in given.seen)
            == (draw(EPOCH, unit, one.id) < COIN)
            != (one.id in given.withheld)
        )
        sides[one.id in given.seen] += 1
    assert min(sides.values()) > 70


# --- what becomes active


@pytest.mark.parametrize(
    ("base", "few", "count"),
    [(0.2, K1, 120), (0.5, K1, 120), (0.8, K1, 120), (0.5, K2, 50)],
)
def test_a_lesson_without_a_lift_does_not_become_active(
    base: float, few: dict[str, int], count: int
) -> None:
    lived = lives(World(base=base), count, **few)
    assert share(lived) <= 0.01
    assert share(lived, "retired") >= 0.9, "replays end it, and no user sees it"
    assert sum(life.passed_replays for life in lived) <= 0.05 * count


def test_a_bet_that_depends_on_this_questions_outcome_lets_most_of_them_in() -> None:
    """The control: only the bet is another one, and it is halved where the lesson has lost."""
    assert share(lives(TILTED, 30, **K1)) > 0.3
    in_replays_only = lives(replace(TILTED, steps_of=live_steps), 30, **K1)
    assert share(in_replays_only) <= 0.05, "the live test is a second lock"


def test_wealth_from_outcomes_that_are_not_paired_lets_them_in() -> None:
    """The control: while traffic gets easier, whatever comes later looks better."""
    assert share(lives(UNPAIRED, 40, **K1)) > 0.3
    assert share(lives(replace(UNPAIRED, paired=True), 50, **K1)) <= 0.01, "paired, it does nothing"


@pytest.mark.parametrize("lift", [-0.2, -0.1])
def test_a_lesson_that_hurts_is_refuted_before_any_user_sees_it(lift: float) -> None:
    lived = lives(World(lift=lift), 60, **K1)
    assert share(lived, "retired") == 1
    assert not any(life.outcomes for life in lived)
    assert middle([life.pairs for life in lived]) <= 70


@pytest.mark.parametrize(
    ("world", "few", "most_live", "most_pairs", "found"),
    [
        (World(lift=0.4), K1, 40, 35, 0.95),
        (World(lift=0.4), K2, 60, 45, 0.95),
        (World(lift=0.2), K1, 150, 90, 0.85),
        (World(lift=0.2), K2, 220, 120, 0.8),
        (World(base=0.2, lift=0.6), K1, 30, 25, 0.95),
        (World(base=0.8, lift=0.2), K1, 90, 65, 0.9),
    ],
)
def test_a_lesson_that_helps_becomes_active_within_few_outcomes(
    world: World, few: dict[str, int], most_live: float, most_pairs: float, found: float
) -> None:
    lived = lives(world, 40, **few)
    assert share(lived) >= found
    assert taken(lived, lambda life: life.outcomes) <= most_live
    assert taken(lived, lambda life: life.pairs) <= most_pairs


def test_the_quick_rule_takes_fewer_outcomes_and_refutes_less() -> None:
    strict, quick = (
        lives(World(lift=0.2), 30, trial_rule=rule, **K2) for rule in ("strict", "quick")
    )
    assert taken(quick, lambda life: life.outcomes) < taken(strict, lambda life: life.outcomes)
    assert share(quick) >= 0.9


# --- under stress


STRESS = {
    "drift": World(base=DRIFT),
    "late": World(late=True),
    "halves": World(parts=2),
    "always the same answer": World(sameness=0.02),
    "no gain by pairing": World(sameness=99.0),
    "three principals": World(principals=3),
}


@pytest.mark.parametrize("name", list(STRESS))
def test_under_stress_a_lesson_without_a_lift_does_not_become_active(name: str) -> None:
    assert share(lives(STRESS[name], 30, **K1)) <= 0.01


def test_late_outcomes_and_drift_do_not_look_like_lift_on_trial() -> None:
    """Replays are fooled, so all depends on the live test: it lets one in five through at most."""
    for world in (replace(FOOLED, late=True), replace(FOOLED, base=DRIFT)):
        lived = lives(world, 40, **K1)
        assert sum(life.passed_replays for life in lived) >= 35, "nearly all of them came that far"
        assert share(lived) <= 0.2


def test_half_scores_are_found_as_well() -> None:
    lived = lives(World(lift=0.2, parts=2), 40, **K1)
    assert share(lived) >= 0.85
    assert taken(lived, lambda life: life.outcomes) <= 150


@pytest.mark.parametrize("lies", [0.1, 0.3])
def test_one_liar_makes_nothing_active(lies: float) -> None:
    assert share(lives(World(liars=1, lies=lies), 25, **K1)) <= 0.01


def test_two_liars_are_withstood_by_leaving_out_two_and_not_by_leaving_out_one() -> None:
    assert share(lives(TWO_LIARS, 40, **K2)) <= 0.01
    assert share(lives(TWO_LIARS, 40, **K1)) > 0.5, "the control"
    assert share(lives(ONE_LIAR, 40, min_principals=1)) > 0.5, "nor is one by leaving out none"


def test_one_liar_does_not_keep_a_lesson_that_helps_from_becoming_active() -> None:
    assert share(lives(replace(ONE_LIAR, lift=0.4), 30, **K2)) >= 0.9


def test_one_liar_cannot_have_a_lesson_that_helps_demoted_and_where_nobody_is_left_out_he_can() -> (
    None
):
    against = World(lift=0.2, liars=1, lies=0.3, lies_against=True)
    assert demotions(against, 200, 10, **K2) == [None] * 10
    assert demotions(against, 200, 10, min_principals=1).count(None) <= 3, "the control"


@pytest.mark.parametrize(("few", "most"), [(K1, 220), (K2, 250)])
def test_where_replays_are_fooled_users_stop_what_hurts_them(
    few: dict[str, int], most: int
) -> None:
    lived = lives(replace(FOOLED, live_lift=-0.2), 25, **few)
    assert share(lived) <= 0.01
    assert middle([life.saw for life in lived if life.passed_replays]) <= most


# --- active lessons


@pytest.mark.parametrize(("few", "most"), [(K1, 150), (K2, 250)])
def test_an_active_lesson_that_turns_harmful_is_demoted_whatever_its_age(
    few: dict[str, int],
    most: int,
) -> None:
    young, old = (demotions(World(lift=-0.2), 600, 20, good_before=age, **few) for age in (0, 300))
    for found in (young, old):
        assert None not in found
        assert middle([pairs for pairs in found if pairs]) <= most


def test_an_active_lesson_that_goes_on_helping_is_not_demoted() -> None:
    assert demotions(World(lift=0.2), 600, 20, **K1) == [None] * 20
    assert demotions(World(lift=0.0), 300, 20, **K1).count(None) >= 19


# --- thirty candidates


@pytest.mark.parametrize(
    ("rule", "few", "most"),
    [("quick", K1, 20_000), ("strict", K2, 40_000)],
    ids=["quick, K=1", "strict, K=2"],
)
def test_of_thirty_candidates_the_good_ones_become_active(
    rule: str, few: dict[str, int], most: int
) -> None:
    courses = races(Traffic(), 3, 60_000, trial_rule=rule, **few)
    assert nth_good(courses, 10)[0] <= most
    assert nth_good(courses, 1)[0] <= most / 2
    assert sum(course.wrong for course in courses) == 0
    assert all(course.ends.total() == len(LIFTS) for course in courses)
    assert np.mean([course.pairs for course in courses]) * CALLS_OF_A_PAIR < 60_000
