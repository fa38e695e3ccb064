"""The sequential test by betting, held to its promises by simulation."""

import random
from collections.abc import Callable

import pytest

from ted_memory.distill.profiles import DEFAULT, SMALL
from ted_memory.distill.run.asking import SET_RULE
from ted_memory.experience.betting import PairedTest, Rule, sign

RUNS = 1000
ASKS = 3  # a critic is asked once and twice again


def run(rule: Rule, luck: random.Random, base: float, lift: float) -> PairedTest:
    """Test a lesson of this lift once, with a student that is right at ``base`` without it."""
    test = PairedTest(rule)
    while not test.is_over:
        test.add(float(luck.random() < min(1.0, base + lift)) - float(luck.random() < base))
    return test


def share(passed: Callable[[random.Random], bool], runs: int = RUNS) -> float:
    luck = random.Random(20_260_326)
    return sum(passed(luck) for _ in range(runs)) / runs


@pytest.mark.parametrize("base", [0.2, 0.4, 0.6, 0.8])
def test_a_lesson_of_no_effect_passes_three_asks_in_one_of_twenty_at_most(base: float) -> None:
    rule = DEFAULT.verification
    got = share(
        lambda luck: any(run(rule, luck, base, 0.0).verdict == "helps" for _ in range(ASKS))
    )
    assert got <= 0.05 + 0.015, "0.015: two standard deviations of the simulation"


@pytest.mark.parametrize("base", [0.0, 0.2, 0.4, 0.6])
def test_a_lift_of_three_tenths_is_found_nine_times_in_ten(base: float) -> None:
    assert share(lambda luck: run(DEFAULT.verification, luck, base, 0.3).verdict == "helps") >= 0.9


@pytest.mark.parametrize("base", [0.2, 0.4, 0.6, 0.8])
def test_the_small_profile_lets_more_through(base: float) -> None:
    """Its calls are few. Three in twenty, as docs/method.md says: the gate has to find them out."""
    rule = SMALL.verification
    got = share(
        lambda luck: any(run(rule, luck, base, 0.0).verdict == "helps" for _ in range(ASKS))
    )
    assert got <= 0.15 + 0.025


@pytest.mark.parametrize(
    ("base", "lift", "least", "most"),
    [(0.2, 0.3, 0.25, 0.4), (0.2, 0.7, 0.85, 1), (0.1, 0.8, 0.9, 1)],
)
def test_the_small_profile_finds_large_lifts_only(
    base: float, lift: float, least: float, most: float
) -> None:
    assert (
        least
        <= share(lambda luck: run(SMALL.verification, luck, base, lift).verdict == "helps")
        <= most
    )


def test_a_student_that_is_right_four_times_in_five_can_still_be_shown_to_gain() -> None:
    assert share(lambda luck: run(DEFAULT.verification, luck, 0.8, 0.2).verdict == "helps") >= 0.88


@pytest.mark.parametrize("after", [0.05, 0.25, 0.5, 0.75])
def test_a_merge_that_loses_a_quarter_gets_through_in_one_of_ten_at_most(after: float) -> None:
    """A merge passes when its loss is shown to be small.

    ``after`` is how often the student is right with the merged lesson.
    """
    got = share(lambda luck: run(DEFAULT.loss, luck, after, 0.25).verdict == "useless")
    assert got <= 0.1 + 0.02


@pytest.mark.parametrize("after", [0.1, 0.3, 0.6])
def test_a_merge_that_loses_two_fifths_gets_through_the_small_profile_in_one_of_ten_at_most(
    after: float,
) -> None:
    assert share(lambda luck: run(SMALL.loss, luck, after, 0.4).verdict == "useless") <= 0.1 + 0.02


@pytest.mark.parametrize(("rule", "least"), [(DEFAULT.loss, 0.7), (SMALL.loss, 0.6)])
@pytest.mark.parametrize("base", [0.3, 0.5, 0.8])
def test_most_merges_that_lose_nothing_pass(rule: Rule, least: float, base: float) -> None:
    assert share(lambda luck: run(rule, luck, base, 0.0).verdict == "useless") >= least
    assert run(rule, random.Random(1), 1.0, 0.0).verdict == "useless", (
        "a student that is always right shows it at once"
    )


def test_strong_lessons_take_few_pairs_and_useless_ones_are_given_up() -> None:
    luck = random.Random(1)
    strong = sorted(len(run(DEFAULT.verification, luck, 0.1, 0.8).differences) for _ in range(200))
    useless = sorted(len(run(DEFAULT.verification, luck, 0.0, 0.0).differences) for _ in range(200))
    assert strong[100] <= 20
    assert useless[100] <= 20
    assert all(run(DEFAULT.verification, luck, 0.0, 0.0).verdict == "useless" for _ in range(20))


def test_looking_after_each_pair_with_an_ordinary_test_lets_many_more_through() -> None:
    """The control: it is the bets that make it safe to look so often."""

    def peeks(luck: random.Random) -> bool:
        total = squares = 0.0
        for n in range(1, DEFAULT.verification.pairs + 1):
            difference = float(luck.random() < 0.5) - float(luck.random() < 0.5)
            total, squares = total + difference, squares + difference**2
            if n >= 10 and squares and total / squares**0.5 > 1.96:
                return True
        return False

    assert share(peeks) > 0.1


@pytest.mark.parametrize("parts", [2, 4, 10])
def test_a_lesson_that_mends_one_of_many_graded_parts_is_found_as_soon_as_one_that_mends_all(
    parts: int,
) -> None:
    small, whole = PairedTest(DEFAULT.verification), PairedTest(DEFAULT.verification)
    while not whole.is_over:
        whole.add(sign(1.0))
        small.add(sign(1 / parts))
    assert small.verdict == whole.verdict == "helps"


def test_a_verdict_stays_whatever_comes_after_it() -> None:
    test = PairedTest(Rule(pairs=10_000))
    while test.verdict == "open":
        test.add(1.0)
    count = len(test.differences)
    assert [test.add(-1.0) for _ in range(5)] == ["helps"] * 5
    assert len(test.differences) == count


def test_a_set_that_each_sample_judges_once_needs_six_that_are_better_off() -> None:
    test = PairedTest(SET_RULE)
    while test.verdict == "open":
        test.add(1.0)
    assert len(test.differences) == 6, "as docs/method.md says of sets with solved tasks"


# The gate: every sample judges what others taught, and takes its turn again where there are few.


def gate(
    luck: random.Random, samples: int, base: float, right: float, covered: float
) -> PairedTest:
    """One test of a set that brings `covered` of the samples from `base` to `right`."""
    rates = [right if luck.random() < covered else base for _ in range(samples)]
    test = PairedTest(SET_RULE)
    while not test.is_over:
        rate = rates[len(test.differences) % samples]
        test.add(float(luck.random() < rate) - float(luck.random() < base))
    return test


@pytest.mark.parametrize("samples", [10, 20, 40, 100])
def test_a_right_set_is_accepted_at_any_size(samples: int) -> None:
    """A rise from 0.10 to 0.55, where half of the samples profit from lessons of others."""
    assert share(lambda luck: gate(luck, samples, 0.1, 1.0, 0.6).verdict == "helps", 400) >= 0.95


@pytest.mark.parametrize("base", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("samples", [10, 20, 40, 100])
def test_a_useless_set_is_accepted_in_one_of_twenty_at_most(samples: int, base: float) -> None:
    got = share(lambda luck: gate(luck, samples, base, base, 0.0).verdict == "helps", 400)
    assert got <= 0.05 + 0.02
