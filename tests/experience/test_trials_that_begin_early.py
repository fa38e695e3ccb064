"""A lesson that helps much goes on trial sooner, and its outcomes have to show the rest."""

from itertools import permutations

from ted_memory.experience.evidence import Evidence, Sums, add_pair
from ted_memory.experience.trials import (
    ENOUGH,
    ENOUGH_OF_A_LARGE_LIFT,
    ENOUGH_OUTCOMES,
    LARGE_LIFT,
    live_needed,
    pairs_needed,
    wants_pairs,
)
from ted_memory.settings import make_settings
from tests.experience.lessons import on_trial, proposed
from tests.experience.tally import MANY, Tally, outcomes, pairs
from tests.experience.test_trials import first, state_after, step_of, waits


def test_of_a_small_lift_replays_have_to_show_more_before_some_users_see_it() -> None:
    """Else its outcomes would have to show what few more pairs could."""
    for with_it, least in (
        (0.5 + LARGE_LIFT + 0.01, ENOUGH_OF_A_LARGE_LIFT),
        (0.5 + LARGE_LIFT - 0.01, ENOUGH),
    ):
        needed = first(
            lambda e, least=least: e.helps(2) >= least, lambda n, y=with_it: pairs(n, y, 0.5)
        )
        assert state_after(proposed("l1"), pairs(needed - 1, with_it, 0.5)) == "as it was"
        assert f" of {least:g} without" in waits(proposed("l1"), pairs(needed - 1, with_it, 0.5))
        assert state_after(proposed("l1"), pairs(needed, with_it, 0.5)) == "trial"
    lied = Tally(MANY)
    for i in range(60):
        lied.pair(i % MANY, *((1, 0) if i % MANY < 2 else (0.8, 0.5)))
    assert lied.evidence.lift > LARGE_LIFT
    assert pairs_needed(lied.evidence, 2) == ENOUGH, "no two principals make a lift large"
    assert pairs_needed(lied.evidence, 0) == ENOUGH_OF_A_LARGE_LIFT, "the control"


def test_the_order_in_which_voices_are_kept_decides_nothing() -> None:
    """Three say the same with more and fewer pairs: one of them is left out at each end."""
    voices = [
        add_pair(Sums(), 0.5, 0),
        add_pair(add_pair(Sums(), 0.5, 0), 0, 0),
        add_pair(Sums(), 1, 0.5),
    ]
    lifts = {Evidence(voices=tuple(some)).lift_of_most(1) for some in permutations(voices)}
    assert len(lifts) == 1


def test_the_less_its_replays_have_shown_the_more_its_outcomes_have_to() -> None:
    """The wealths multiply: a trial that began early ends late, with more to replay or without."""
    few = next(n for n in range(99) if pairs(n, 1, 0).helps(2) >= ENOUGH_OF_A_LARGE_LIFT)
    wealth = pairs(few, 1, 0).helps(2)
    assert ENOUGH_OF_A_LARGE_LIFT <= wealth < ENOUGH
    for replayed, factor in ((few, ENOUGH / wealth), (60, 1.0)):
        least = factor * ENOUGH_OUTCOMES
        needed = first(lambda e, least=least: e.live(2) >= least, lambda n: outcomes(n, lift=0.5))
        for count, becomes in ((needed - 1, "as it was"), (needed, "active")):
            assert (
                state_after(on_trial("l1"), outcomes(count, lift=0.5, replayed=replayed)) == becomes
            )
        told = outcomes(needed - 1, lift=0.5, replayed=replayed)
        assert f" of {least:.3g} after {needed - 1}, " in waits(on_trial("l1"), told)
        assert wants_pairs(on_trial("l1"), told, make_settings()) is (factor > 1)
    assert pairs(60, 1, 0).helps(2) > 100 * ENOUGH, "but no wealth of pairs makes up for outcomes"
    assert live_needed(1e9) == ENOUGH_OUTCOMES
    assert live_needed(0.0) > 1e6, "where pairs speak against it, hardly any outcomes are enough"


def test_a_trial_ends_where_replays_go_on_to_show_that_the_lesson_is_of_no_use() -> None:
    needed = first(lambda e: e.useless(2) >= ENOUGH, lambda n: pairs(n, 0.5, 0.5))
    assert step_of(on_trial("l1"), pairs(needed - 1, 0.5, 0.5)) is None
    step = step_of(on_trial("l1"), pairs(needed, 0.5, 0.5))
    assert step is not None
    assert step.edit.state == "retired"
    assert step.why.startswith("of no use: ")
