"""A sequential test by betting: does something help, judged pair by pair, valid however often one looks.

Each pair is two answers to one question, one with the thing under test and one without it; ``d`` is
the difference of their scores, in [-1, 1]. Under the null hypothesis the mean of ``d`` is at most 0
given all that came before, so a bettor who stakes a share ``k`` of his wealth on ``d`` gains
nothing on average: ``W_k = prod (1 + k d)`` is a supermartingale that starts at 1. By Ville's
inequality it ever reaches ``1 / level`` with chance ``level`` at most. The wealth is the mean over
a few shares, since the best one depends on the unknown lift. The same bet the other way round,
against a lift of ``worth``, ends a test that has nothing to find (Waudby-Smith and Ramdas,
Estimating means of bounded random variables by betting, JRSS B 2024; Ramdas et al., Game-theoretic
statistics and safe anytime-valid inference, 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["helps", "useless", "open"]


@dataclass(frozen=True)
class Rule:
    """What a test promises.

    Attributes:
        level: chance, at most, that something of no effect is found to help, in one test. A critic
            that is asked again has several; of three, the default lets less than one in twenty
            through (its tests simulate that).
        worth: the lift that is worth finding, in units of score; what is shown to be less is
            useless.
        missed: chance, at most, that a lift of `worth` is declared useless before the pairs are
            used up.
        pairs: pairs at most; a test that is still open then has found nothing.
        bets: shares of the wealth that are staked.
    """

    level: float = 0.025
    worth: float = 0.25
    missed: float = 0.03
    pairs: int = 120
    bets: tuple[float, ...] = (0.3, 0.6, 0.9)


@dataclass
class PairedTest:
    """One test under way. `differences` are all that was added, in order."""

    rule: Rule
    differences: list[float] = field(default_factory=list)
    verdict: Verdict = "open"
    _for: list[float] = field(default_factory=list)
    _against: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start with a wealth of 1 on both sides."""
        self._for = [0.0] * len(self.rule.bets)
        self._against = [0.0] * len(self.rule.bets)

    def add(self, difference: float) -> Verdict:
        """Take in one pair's difference, and return the verdict. A verdict once reached stays."""
        if self.verdict != "open":
            return self.verdict
        rule = self.rule
        self.differences.append(difference)
        shortfall = (rule.worth - difference) / (1 - rule.worth)
        for i, share in enumerate(rule.bets):
            self._for[i] += math.log1p(share * difference)
            self._against[i] += math.log1p(share * shortfall)
        if self.wealth >= 1 / rule.level and self.mean > 0:
            self.verdict = "helps"
        elif _mean_exp(self._against) >= 1 / rule.missed:
            self.verdict = "useless"
        return self.verdict

    @property
    def wealth(self) -> float:
        """The evidence that it helps: 1 is none, ``1 / level`` is enough."""
        return _mean_exp(self._for)

    @property
    def mean(self) -> float:
        """Mean difference so far, 0 before the first pair."""
        return sum(self.differences) / len(self.differences) if self.differences else 0.0

    @property
    def is_over(self) -> bool:
        """Whether no further pair is wanted."""
        return self.verdict != "open" or len(self.differences) >= self.rule.pairs


def sign(difference: float) -> float:
    """Return 1 for better, -1 for worse, 0 for equal.

    Two answers to one question by a student to which the lesson does nothing are exchangeable: each
    is the better one equally often, whatever the grader's scale. So signs are a fair bet, too, and
    a lesson that mends one of four graded parts each time is found as soon as one that mends all.
    """
    return float((difference > 0) - (difference < 0))


def _mean_exp(logs: Sequence[float]) -> float:
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
