"""A test by betting: does something help? Pair by pair, and valid however often one looks.

For runs over a data set (`ted_memory.distill`): is an edit kept, is a lesson of use. Evidence from
live traffic is bet on in the same way, from sums that are stored (`experience.evidence`).

Each pair is two answers to one question, one with the thing under test and one without it; ``d`` is
the difference of their scores, in [-1, 1]. Under the null hypothesis the mean of ``d`` is at most 0
given all that came before. So a bettor who stakes a share ``k`` of his wealth on ``d`` gains
nothing on average: his wealth ``W_k = prod (1 + k d)``, which begins at 1, is a supermartingale. By
Ville's inequality it ever reaches ``1 / level`` with chance ``level`` at most.

The wealth of a test is the mean over a few shares, since the best one depends on the unknown lift.
The same bet the other way round, against a lift of ``worth``, ends a test that has nothing to find.

Sources: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B
2024; Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference,
Statistical Science 2023; docs/decisions/001-pairs-of-answers.md.
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
        level: chance, at most, that something without effect is found to help, in one test. An
            edit that the critic revises has several tests; of three, the default lets less than
            one in twenty through (`tests/experience/test_betting.py` simulates it).
        worth: the lift that is worth finding, in units of score; what is shown to be less is
            useless.
        missed: chance, at most, that a lift of `worth` is declared useless before the pairs are
            used up.
        pairs: at most; a test that is still open then has found nothing.
        bets: shares of the wealth that are staked.
    """

    level: float = 0.025
    worth: float = 0.25
    missed: float = 0.03
    pairs: int = 120
    bets: tuple[float, ...] = (0.3, 0.6, 0.9)


@dataclass
class PairedTest:
    """One test under way.

    Attributes:
        rule: what it promises.
        differences: those of all pairs so far, in their order.
        verdict: ``open`` until the evidence for ``helps`` or for ``useless`` is enough.
    """

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
    """Return 1 for better, -1 for worse, 0 for equal: a difference that any scale of grades has.

    If the lesson does nothing, each of two answers to one question is the better one equally often,
    whatever the grader's scale. So signs are a fair bet, too, and a lesson that mends one of four
    graded parts each time is found as soon as one that mends all four.
    """
    return float((difference > 0) - (difference < 0))


def _mean_exp(logs: Sequence[float]) -> float:
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
