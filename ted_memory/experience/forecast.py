"""How long will it take until a lesson from traffic is active? In graded requests, and in days.

For `ted-memory plan`, and for what `ted-memory explain` says of the pairs that are missing. It is a
formula, within 35 % of simulated medians (`tests/experience/test_forecast.py`).

A bet that is added up is a walk: each observation adds the log of its factor to the log wealth. For
a lesson of a given lift the mean ``g`` of these steps (the expected log growth of the bet) and
their standard deviation ``s`` follow from the chances of a right answer with it and without it.
After ``n`` steps the log wealth is about normal with mean ``n g`` and deviation ``s sqrt(n)``. The
chance that it has passed a barrier ``a`` by then is, by the reflection principle,

    P(n) = Phi((n g - a) / (s sqrt(n))) + exp(2 a g / s^2) Phi(-(n g + a) / (s sqrt(n)))

and the forecast is the least ``n`` with P(n) >= 1/2: half of such lessons get there by then. The
barrier is the log of the wealth that the decision asks for, and three things more:

- *The loudest principals are left out.* ``K`` of ``m`` principals, each with ``n / m`` steps, take
  away ``K g n / m + s sqrt(n / m) c``, where ``c`` is the sum of the ``K`` largest of ``m``
  standard normal values (Blom's approximation); never more than their steps could be at most.
- *A wealth is the mean over several bets.* What the others add to the largest one lowers its
  barrier.
- *A walk in steps* passes a barrier a little late: 0.583 s (Siegmund, Sequential Analysis, 1985;
  the formula for P(n) as well).

For pairs of answers it also matters how questions differ. Here a question is answered right with a
chance that is drawn from Beta(b, 1 - b): mostly always or never. The lesson answers a share of the
questions, breaks one in twenty, and leaves the others as they were. Live outcomes are of different
requests, so that only the two chances matter.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

from ted_memory.errors import InvalidInput
from ted_memory.experience.assignment import COIN, LONGEST_TRIAL
from ted_memory.experience.evidence import (
    BETS,
    HIGHEST_GUESS,
    LOWEST_GUESS,
    Sums,
    add_pair,
    live_bet,
    live_steps,
)
from ted_memory.experience.trials import (
    ENOUGH,
    ENOUGH_OF_A_LARGE_LIFT,
    LARGE_LIFT,
    MOST_OUTCOMES,
    MOST_PAIRS,
    REFUTED,
    live_needed,
)
from ted_memory.settings import TrialRule

ANSWERS = 2  # of each side of a pair: `learner.replay`
BROKEN = 0.05  # share of the questions that a lesson spoils
LATE = 0.583  # of a step's deviation, by which a walk in steps passes a barrier late
# Least base, and least distance of a base from 1: what few pairs show to be right never, or always,
# is not.
LEAST_BASE = 0.02
ROUNDING = 1e-9
LONGEST = 10**7  # observations after which nothing is forecast

_NORMAL = NormalDist()
Likely = Iterable[tuple[float, float]]
"""What is possible, each with its chance."""


@dataclass(frozen=True)
class Rates:
    """How much of somebody's traffic is evidence on one lesson.

    Attributes:
        requests_a_day: all of them.
        graded: share that gets an outcome.
        applies: share that a lesson applies to.
        principals: who grade them, in about equal parts.
    """

    requests_a_day: float
    graded: float
    applies: float
    principals: int = 10

    def __post_init__(self) -> None:
        """Raise InvalidInput where a number is out of its range."""
        if not 0 < self.requests_a_day < math.inf:
            raise InvalidInput(f"{self.requests_a_day:g} requests a day: more than 0 are needed")
        for name, share in (("graded", self.graded), ("that a lesson applies to", self.applies)):
            if not 0 < share <= 1:
                raise InvalidInput(
                    f"the share of requests {name} is {share:g}; above 0 to 1 is possible"
                )
        if self.principals < 1:
            raise InvalidInput(f"{self.principals} principals: at least 1 is needed")

    @property
    def matched_a_day(self) -> float:
        """Graded requests a day that a lesson applies to."""
        return self.requests_a_day * self.graded * self.applies


@dataclass(frozen=True)
class Forecast:
    """What it takes until a lesson is active: the numbers by which half of such lessons are.

    Attributes:
        pairs: of answers in replays; None: never.
        outcomes: of live requests that it applies to, half of which see it; None: never.
        chance: that a lesson gets there within the pairs, outcomes and days that it is given.
        rates: what it was made for.
    """

    pairs: int | None
    outcomes: int | None
    chance: float
    rates: Rates

    @property
    def calls(self) -> int | None:
        """Student calls that the replays take."""
        return None if self.pairs is None else 2 * ANSWERS * self.pairs

    @property
    def graded(self) -> int | None:
        """Graded requests that it applies to, for pairs and outcomes; with an empty archive."""
        return None if self.pairs is None or self.outcomes is None else self.pairs + self.outcomes

    @property
    def requests(self) -> int | None:
        """Requests until then, graded or not, whether it applies to them or not."""
        if self.graded is None:
            return None
        return math.ceil(self.graded / (self.rates.graded * self.rates.applies))

    def days(self, needed: int | None) -> float | None:
        """Return the days until so many graded requests that it applies to have come."""
        return None if needed is None else needed / self.rates.matched_a_day


def forecast(
    rates: Rates,
    *,
    lift: float,
    base: float = 0.5,
    rule: TrialRule = "strict",
    min_principals: int = 3,
) -> Forecast:
    """Return what it takes until a lesson is active, about.

    Args:
        rates: of the traffic that it meets.
        lift: by which it raises the mean score of the requests that it applies to.
        base: their mean score without it.
        rule: what its trial must show.
        min_principals: the setting; one fewer are left out of every decision.

    Raises:
        InvalidInput: there is no such lesson, rule or number of principals.
    """
    _check(lift, base, rule, min_principals)
    others = (min_principals - 1, rates.principals)
    replays, live = _replays(base, lift, others), _live(base, lift, rule, others)
    days = LONGEST_TRIAL.total_seconds() / 86_400
    # The busiest principals' pairs and outcomes do not count towards the ends.
    counting = 1 - (min_principals - 1) / rates.principals
    pairs, outcomes = MOST_PAIRS, MOST_OUTCOMES
    if counting > 0:
        pairs, outcomes = math.floor(pairs / counting), math.floor(outcomes / counting)
    outcomes = min(outcomes, math.floor(days * rates.matched_a_day))
    chance = replays.chance(pairs) * live.chance(outcomes)
    return Forecast(replays.median(), live.median(), chance, rates)


def _check(lift: float, base: float, rule: TrialRule, min_principals: int) -> None:
    if not 0 < base < 1:
        raise InvalidInput(f"a base of {base:g}: a mean score between 0 and 1 is needed")
    if not 0 < lift <= 1 - base + ROUNDING:
        raise InvalidInput(
            f"a lift of {lift:g} from a base of {base:g}: "
            f"above 0 and at most {1 - base:g} is needed (what does not help never becomes active)"
        )
    if rule not in REFUTED:
        raise InvalidInput(f"there is no trial rule {rule!r}: use {' or '.join(REFUTED)}")
    if min_principals < 1:
        raise InvalidInput(f"min_principals is {min_principals}: at least 1 is needed")


def pairs_left(seen: Sums, wealth: float, needed: float) -> int | None:
    """Forecast how many more pairs put a lesson on trial, by the formula of ``ted-memory plan``.

    Half of the lessons of the lift that it has shown need fewer. 0 where it has enough; None where
    it has shown no lift so far. Pairs to come count in full, those of the loudest principals, too.

    Args:
        seen: the sums of its pairs.
        wealth: theirs, without the loudest principals.
        needed: the wealth that puts it on trial.
    """
    lift = (seen.score_with - seen.score_without) / seen.pairs if seen.pairs else 0.0
    if lift <= 0 or wealth <= 0:
        return None
    if wealth >= needed:
        return 0
    base = min(max(seen.score_without / seen.pairs, LEAST_BASE), 1 - LEAST_BASE)
    return Walk(_bets_on_pairs(base, min(lift, 1 - base)), needed / wealth, 0, 1).median()


@dataclass(frozen=True)
class Steps:
    """The log of the factor that one bet gains with an observation: mean, deviation, maximum."""

    mean: float
    deviation: float
    largest: float

    @classmethod
    def of(cls, likely: Likely) -> "Steps":
        """Return these three, from the logs that are possible and their chances."""
        steps = [(step, chance) for step, chance in likely if chance > 0]
        mean = sum(step * chance for step, chance in steps)
        variance = sum((step - mean) ** 2 * chance for step, chance in steps)
        return cls(mean, math.sqrt(variance), max(step for step, _ in steps))


@dataclass(frozen=True)
class Walk:
    """The log wealth of a lesson under test, observation by observation.

    Attributes:
        bets: the wealth is the mean of theirs.
        wealth: that is needed.
        loudest: how many principals are left out.
        principals: how many there are, each with about as many observations.
    """

    bets: Sequence[Steps]
    wealth: float
    loudest: int
    principals: int

    def chance(self, number: int) -> float:
        """Return the chance that the wealth is reached within so many observations."""
        if number <= 0 or self.loudest >= self.principals:
            return 0.0
        losses = [self._loss(bet, number) for bet in self.bets]
        left = [number * bet.mean - loss for bet, loss in zip(self.bets, losses, strict=True)]
        best = max(range(len(left)), key=left.__getitem__)
        added = math.log(sum(math.exp(log - left[best]) for log in left) / len(left))
        bet = self.bets[best]
        barrier = math.log(self.wealth) - added + losses[best] + LATE * bet.deviation
        return _passed(number, bet, barrier)

    def median(self) -> int | None:
        """Return by how many observations half of such lessons get there; None: never."""
        above = 1
        while self.chance(above) < 0.5:
            above *= 2
            if above > LONGEST:
                return None
        below = above // 2
        while above - below > 1:
            middle = (above + below) // 2
            above, below = (middle, below) if self.chance(middle) >= 0.5 else (above, middle)
        return above

    def _loss(self, bet: Steps, number: int) -> float:
        """Return what leaving out the loudest takes off one bet's log wealth, on average."""
        if not self.loudest:
            return 0.0
        heard = min(self.principals, number)
        if heard <= self.loudest:
            return number * bet.largest
        each = number / heard
        ranks = range(1, self.loudest + 1)
        largest = sum(_NORMAL.inv_cdf((heard - rank + 0.625) / (heard + 0.25)) for rank in ranks)
        usual = self.loudest * each * bet.mean + math.sqrt(each) * bet.deviation * largest
        return min(usual, self.loudest * math.ceil(each) * bet.largest)


def _passed(number: int, bet: Steps, barrier: float) -> float:
    """Return the chance that a walk has passed a barrier within so many steps: P(n) above."""
    if barrier <= 0:
        return 1.0
    if bet.deviation == 0:
        return float(number * bet.mean >= barrier)
    spread = bet.deviation * math.sqrt(number)
    above = _NORMAL.cdf((number * bet.mean - barrier) / spread)
    below_again = _NORMAL.cdf(-(number * bet.mean + barrier) / spread)
    if below_again <= 0:
        return min(1.0, above)
    exponent = 2 * barrier * bet.mean / bet.deviation**2
    return min(1.0, above + math.exp(min(exponent, 700.0)) * below_again)


def _replays(base: float, lift: float, others: tuple[int, int]) -> Walk:
    """Return how the evidence of a lesson's pairs grows."""
    return Walk(_bets_on_pairs(base, lift), _shown_by_pairs(lift), *others)


def _bets_on_pairs(base: float, lift: float) -> list[Steps]:
    """Return what each of `BETS` gains with a pair."""
    possible = []
    for difference, chance in _differences(base, lift):
        seen = add_pair(Sums(), max(difference, 0), max(-difference, 0))
        possible.append((seen.helps, chance))
    return [Steps.of((steps[i], chance) for steps, chance in possible) for i in range(len(BETS))]


def _shown_by_pairs(lift: float) -> float:
    """Return the wealth of its pairs with which a lesson of this lift goes on trial."""
    return ENOUGH_OF_A_LARGE_LIFT if lift >= LARGE_LIFT else ENOUGH


def _live(base: float, lift: float, rule: TrialRule, others: tuple[int, int]) -> Walk:
    """Return how the evidence of its live outcomes grows, with the bet that its replays lead to.

    Nothing is left to replay when the trial begins. Where something is, its outcomes have to show
    less.
    """
    refuted, wealth = REFUTED[rule], live_needed(_shown_by_pairs(lift))
    bet = live_bet(Sums(pairs=1, score_with=base + lift, score_without=base), refuted)
    guess = min(max(base + lift * COIN, LOWEST_GUESS), HIGHEST_GUESS)
    steps = []
    for shown, right in product((True, False), repeat=2):
        rate = base + lift if shown else base
        chance = (COIN if shown else 1 - COIN) * (rate if right else 1 - rate)
        told = live_steps(
            float(right), shown=shown, chance=COIN, guess=guess, bet=bet, refuted=refuted
        )
        steps.append((told.live, chance))
    return Walk([Steps.of(steps)], wealth, *others)


def _differences(base: float, lift: float) -> Likely:
    """Yield the differences between the two sides of a pair, with their chances.

    A question is one that the lesson answers (always right with it), one that it spoils (never
    right with it), or one that it leaves as it was.
    """
    # where the lift leaves no room for it, no question is spoiled
    broken = BROKEN if (lift + BROKEN * base) / (1 - base) + BROKEN <= 1 else 0.0
    helped = (lift + broken * base) / (1 - base)
    for right in range(ANSWERS + 1):
        chance = _right(right, 0, base)
        yield 1 - right / ANSWERS, helped * chance
        yield -right / ANSWERS, broken * chance
    for with_it, without in product(range(ANSWERS + 1), repeat=2):
        chance = _right(with_it, without, base, both=True)
        yield (with_it - without) / ANSWERS, (1 - helped - broken) * chance


def _right(one: int, other: int, base: float, *, both: bool = False) -> float:
    """Return the chance of so many right answers to a question that the lesson leaves as it was.

    Of ``one`` on the one side, or with ``both`` of ``one`` and ``other`` on the two sides: a
    beta-binomial distribution, as the chance of a right answer is drawn from Beta(base, 1 - base).
    """
    answers = ANSWERS * (1 + both)
    ways = math.comb(ANSWERS, one) * (math.comb(ANSWERS, other) if both else 1)
    right = one + other
    logs = (
        math.lgamma(base + right)
        + math.lgamma(1 - base + answers - right)
        - math.lgamma(1 + answers)
    )
    return ways * math.exp(logs - math.lgamma(base) - math.lgamma(1 - base))
