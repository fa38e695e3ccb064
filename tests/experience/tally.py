"""Evidence on one lesson, counted as the stores count it: in all, and for each principal."""

from collections.abc import Callable

from ted_memory.experience.assignment import COIN
from ted_memory.experience.evidence import (
    Evidence,
    LiveSteps,
    Sums,
    add_outcome,
    add_pair,
    add_silent,
    hear,
    live_steps,
    pair_against,
    watch,
)
from ted_memory.experience.trials import REFUTED
from ted_memory.settings import TrialRule

MANY = 10  # principals
BET = 0.4  # of lessons on trial

AddPair = Callable[[Sums, float, float], Sums]
TakeSteps = Callable[..., LiveSteps]


class Tally:
    """What is known of one lesson. Principals are numbers.

    Args:
        principals: how many there are.
        count_pair, steps_of: other ways to count than the project's own, for negative controls.
    """

    def __init__(
        self,
        principals: int = MANY,
        *,
        count_pair: AddPair = add_pair,
        steps_of: TakeSteps = live_steps,
    ) -> None:
        self.total = Sums()
        self.voices = [Sums()] * principals
        self._count_pair = count_pair
        self._steps_of = steps_of

    @property
    def evidence(self) -> Evidence:
        """All that is known."""
        return Evidence(self.total, tuple(self.voices))

    def pair(self, who: int, with_it: float, without_it: float) -> None:
        """Count a pair of replayed answers to a question of this principal."""
        self.total = self._count_pair(self.total, with_it, without_it)
        self.voices[who] = self._count_pair(self.voices[who], with_it, without_it)

    def silent(self, who: int) -> None:
        """Count a pair on recorded results of tools that was scored alike."""
        self.total, self.voices[who] = add_silent(self.total), add_silent(self.voices[who])

    def outcome(self, who: int, score: float, *, shown: bool, bet: float, refuted: float) -> None:
        """Count an outcome of a live request of this principal."""
        guess = self.total.guess
        steps = self._steps_of(
            score, shown=shown, chance=COIN, guess=guess, bet=bet, refuted=refuted
        )
        self.total = add_outcome(self.total, score, steps)
        self.voices[who] = add_outcome(self.voices[who], score, steps)

    def watch(self, who: int, with_it: float, without_it: float) -> None:
        """Count a pair of replayed answers that watches an active lesson."""
        steps = pair_against(with_it, without_it)
        self.total, begun = watch(self.total, steps)
        self.voices[who] = hear(self.voices[who], steps, begun)


def pairs(count: int, with_it: float, without_it: float, principals: int = MANY) -> Evidence:
    """Return evidence of so many equal pairs, of each principal in turn."""
    tally = Tally(principals)
    for i in range(count):
        tally.pair(i % principals, with_it, without_it)
    return tally.evidence


def outcomes(
    count: int,
    *,
    lift: float = 0.0,
    rule: TrialRule = "strict",
    principals: int = MANY,
    replayed: int = 60,
) -> Evidence:
    """Return evidence of so many live outcomes around 1/2, seen and missed in turn.

    Two in a row are of one principal. ``replayed`` pairs of everybody have shown before that the
    lesson helps.
    """
    tally = Tally(max(principals, MANY))
    for i in range(replayed):
        tally.pair(i % MANY, 1, 0)
    for i in range(count):
        shown = i % 2 == 0
        score = 0.5 + lift / 2 * (1 if shown else -1)
        tally.outcome(i // 2 % principals, score, shown=shown, bet=BET, refuted=REFUTED[rule])
    return tally.evidence


def watched(count: int, with_it: float, without_it: float, principals: int = MANY) -> Evidence:
    """Return evidence of so many pairs since a lesson is active."""
    tally = Tally(principals)
    for i in range(count):
        tally.watch(i % principals, with_it, without_it)
    return tally.evidence
