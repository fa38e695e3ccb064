"""What a lesson takes to become active: the forecast, beside a simulation of the same tests."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from statistics import median
from typing import Any

import pytest

from ted_memory.errors import InvalidInput
from ted_memory.experience.evidence import (
    Evidence,
    Sums,
    add_outcome,
    add_pair,
    live_bet,
    live_steps,
)
from ted_memory.experience.forecast import ANSWERS, BROKEN, Forecast, Rates, forecast, pairs_left
from ted_memory.experience.trials import REFUTED, live_needed, pairs_needed
from ted_memory.learner.allowance import ATTEMPTS
from ted_memory.settings import TrialRule

LESSONS = 200
PRINCIPALS = 10
CLOSE = 0.35
NEVER = 2000  # observations after which a simulated lesson is given up
BUSY = Rates(requests_a_day=10_000, graded=0.2, applies=0.1, principals=PRINCIPALS)


@dataclass
class Heard:
    """The evidence on one simulated lesson, in all and by principal."""

    total: Sums = field(default_factory=Sums)
    voices: dict[int, Sums] = field(default_factory=dict)

    def add(self, who: int, change: Callable[[Sums], Sums]) -> Evidence:
        self.total = change(self.total)
        self.voices[who] = change(self.voices.get(who, Sums()))
        return Evidence(self.total, tuple(self.voices.values()))


def pair(luck: random.Random, base: float, lift: float) -> tuple[float, float]:
    """Return the mean scores with the lesson and without it, on a new question."""
    without = luck.betavariate(base, 1 - base)
    broken = BROKEN if base + lift + BROKEN < 1 else 0.0
    helped = (lift + broken * base) / (1 - base)
    kind = luck.random()
    with_it = 1.0 if kind < helped else 0.0 if kind > 1 - broken else without
    return mean_score(luck, with_it), mean_score(luck, without)


def with_pair(scores: tuple[float, float], sums: Sums) -> Sums:
    return add_pair(sums, *scores)


def mean_score(luck: random.Random, chance: float) -> float:
    return sum(luck.random() < chance for _ in range(ANSWERS)) / ANSWERS


def replayed(
    luck: random.Random, base: float, lift: float, loudest: int
) -> tuple[int, Sums, float]:
    """Return the pairs until a lesson goes on trial, its sums then, and its wealth."""
    heard = Heard()
    for number in range(1, NEVER):
        scores = pair(luck, base, lift)
        evidence = heard.add(luck.randrange(PRINCIPALS), partial(with_pair, scores))
        if (wealth := evidence.helps(loudest)) >= pairs_needed(evidence, loudest):
            return number, heard.total, wealth
    return NEVER, heard.total, 1.0


def tried(
    luck: random.Random,
    base: float,
    lift: float,
    loudest: int,
    rule: TrialRule,
    known: tuple[Sums, float],
) -> int:
    """Return the live outcomes until a trial is passed, with nothing left to replay."""
    sums, wealth = known
    refuted, needed = REFUTED[rule], live_needed(wealth)
    bet, heard = live_bet(sums, refuted), Heard()

    for number in range(1, NEVER):
        shown = luck.random() < 0.5
        score = float(luck.random() < base + lift * shown)
        guess = heard.total.guess
        steps = live_steps(score, shown=shown, chance=0.5, guess=guess, bet=bet, refuted=refuted)
        evidence = heard.add(
            luck.randrange(PRINCIPALS), partial(add_outcome, score=score, steps=steps)
        )
        if evidence.live(loudest) >= needed:
            return number
    return NEVER


@cache
def simulated(
    base: float, lift: float, loudest: int, rule: TrialRule = "strict"
) -> tuple[float, float]:
    """Return the medians of pairs and live outcomes."""
    luck = random.Random(11)
    lives = [replayed(luck, base, lift, loudest) for _ in range(LESSONS)]
    outcomes = [tried(luck, base, lift, loudest, rule, (sums, wealth)) for _, sums, wealth in lives]
    return median(number for number, _, _ in lives), median(outcomes)


def is_close(told: int | None, seen: float) -> bool:
    return told is not None and abs(told - seen) <= CLOSE * seen


@pytest.mark.parametrize(
    ("base", "lift", "loudest", "rule"),
    [
        (0.5, 0.4, 2, "strict"),
        (0.5, 0.4, 0, "strict"),
        (0.5, 0.2, 2, "strict"),
        (0.5, 0.2, 1, "quick"),
        (0.2, 0.4, 2, "strict"),
        (0.2, 0.6, 2, "quick"),
        (0.8, 0.2, 2, "strict"),
    ],
)
def test_a_forecast_is_close_to_what_half_of_the_lessons_take(
    base: float, lift: float, loudest: int, rule: TrialRule
) -> None:
    told = forecast(BUSY, lift=lift, base=base, rule=rule, min_principals=loudest + 1)
    pairs, outcomes = simulated(base, lift, loudest, rule)
    assert is_close(told.pairs, pairs), (told.pairs, pairs)
    assert is_close(told.outcomes, outcomes), (told.outcomes, outcomes)


def test_a_forecast_that_forgot_the_loudest_principals_would_be_found_out() -> None:
    """The control: the test above sees it."""
    pairs, outcomes = simulated(0.5, 0.4, 2)
    forgotten = forecast(BUSY, lift=0.4, min_principals=1)
    assert not is_close(forgotten.pairs, pairs)
    assert not is_close(forgotten.outcomes, outcomes)


def test_a_forecast_knows_how_many_answers_a_pair_has() -> None:
    assert ANSWERS == ATTEMPTS
    told = forecast(BUSY, lift=0.4)
    assert told.pairs is not None
    assert told.calls == 4 * told.pairs


def test_the_days_follow_from_the_requests_that_are_graded_and_matched() -> None:
    told = forecast(Rates(requests_a_day=1000, graded=0.2, applies=0.1), lift=0.4)
    assert told.pairs is not None
    assert told.outcomes is not None
    assert told.rates.matched_a_day == pytest.approx(20)
    assert told.graded == told.pairs + told.outcomes
    assert told.requests == pytest.approx(50 * told.graded, abs=1)
    assert told.days(told.graded) == pytest.approx(told.graded / 20)


def test_more_lift_takes_less_and_more_care_takes_more() -> None:
    def graded(**more: Any) -> int:
        told = forecast(BUSY, **{"lift": 0.2, **more}).graded
        assert told is not None
        return told

    assert graded(lift=0.4) < graded() < graded(lift=0.1)
    assert graded(min_principals=1) < graded(min_principals=2) < graded()
    assert graded(rule="quick") < graded()


def chance(rates: Rates, lift: float = 0.2) -> float:
    return forecast(rates, lift=lift).chance


def test_little_traffic_ends_a_trial_before_it_has_shown_anything() -> None:
    assert chance(Rates(1000, 0.2, 0.1)) > 0.9
    assert chance(Rates(100, 0.2, 0.1)) < 0.2
    assert chance(Rates(10, 0.2, 0.1)) < 0.001
    assert chance(Rates(1000, 0.2, 0.1), lift=0.05) < 0.01, "what is worth little is given up"


def test_without_enough_principals_nothing_is_ever_decided() -> None:
    told = forecast(Rates(1000, 0.2, 0.1, principals=2), lift=0.4)
    assert told == Forecast(pairs=None, outcomes=None, chance=0.0, rates=told.rates)
    assert (told.calls, told.graded, told.requests, told.days(told.graded)) == (
        None,
        None,
        None,
        None,
    )
    assert forecast(Rates(1000, 0.2, 0.1, principals=3), lift=0.4).graded is not None


@pytest.mark.parametrize(
    ("rates", "lesson", "words"),
    [
        ({"requests_a_day": 0}, {}, "0 requests a day"),
        ({"requests_a_day": float("nan")}, {}, "nan requests a day"),
        ({"graded": 0}, {}, "requests graded is 0;"),
        ({"applies": 1.5}, {}, "that a lesson applies to is 1.5"),
        ({"principals": 0}, {}, "0 principals"),
        ({}, {"lift": 0}, "a lift of 0 from a base of 0.5"),
        ({}, {"lift": 0.6}, "at most 0.5"),
        ({}, {"base": 1}, "a base of 1"),
        ({}, {"rule": "lax"}, "no trial rule 'lax': use strict or quick"),
        ({}, {"min_principals": 0}, "min_principals is 0"),
    ],
)
def test_what_cannot_be_is_refused(
    rates: dict[str, Any], lesson: dict[str, Any], words: str
) -> None:
    usual = {"requests_a_day": 100, "graded": 0.1, "applies": 0.1}
    with pytest.raises(InvalidInput, match=words):
        forecast(Rates(**{**usual, **rates}), **{"lift": 0.2, **lesson})


LOUDEST = 2


@cache
def ratios(base: float, lift: float, after: int, *, from_anew: bool = False) -> list[float]:
    """Return how many more pairs were forecast, divided by how many it took.

    Of lessons that are not on trial after so many pairs.
    """
    luck, found = random.Random(5), []
    for _ in range(LESSONS):
        heard, told = Heard(), None
        for number in range(1, NEVER):
            scores = pair(luck, base, lift)
            evidence = heard.add(luck.randrange(PRINCIPALS), partial(with_pair, scores))
            wealth, needed = evidence.helps(LOUDEST), pairs_needed(evidence, LOUDEST)
            if wealth >= needed:
                found += [told / (number - after)] if told else []
                break
            if number == after:
                told = pairs_left(heard.total, 1.0 if from_anew else wealth, needed)
    return found


@pytest.mark.parametrize(
    ("base", "lift", "after"), [(0.5, 0.4, 8), (0.5, 0.4, 16), (0.5, 0.2, 30), (0.2, 0.6, 6)]
)
def test_of_lessons_under_way_it_is_told_about_how_many_pairs_more(
    base: float, lift: float, after: int
) -> None:
    found = ratios(base, lift, after)
    assert len(found) > LESSONS / 3
    assert 0.5 < median(found) < 2, median(found)


def test_a_lesson_under_way_is_not_sent_back_to_the_beginning() -> None:
    """The control: told from the beginning, it would be too many."""
    assert median(ratios(0.5, 0.2, 60, from_anew=True)) > 1.25 * median(ratios(0.5, 0.2, 60))


def test_without_a_lift_nothing_is_told_of_pairs_to_come() -> None:
    assert pairs_left(Sums(), 1.0, 20.0) is None
    for scores in ((0.5, 0.5), (0.0, 1.0)):
        assert pairs_left(add_pair(Sums(), *scores), 1.0, 20.0) is None
    always = add_pair(Sums(), 1.0, 0.0)
    assert pairs_left(always, 0.0, 20.0) is None, (
        "what the loudest leave is too little for a number"
    )
    assert pairs_left(always, 20.0, 20.0) == 0
    assert 0 < (pairs_left(always, 10.0, 20.0) or 0) < (pairs_left(always, 1.0, 20.0) or 0)
