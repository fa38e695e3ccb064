"""What is known of a lesson from traffic, as sums: evidence that it helps, is of no use, or does harm.

Every piece of evidence is a bet against a null hypothesis (Waudby-Smith and Ramdas, Estimating
means of bounded random variables by betting, JRSS B 2024; Ramdas et al., Game-theoretic statistics
and safe anytime-valid inference, 2023). Its factor has a mean of at most 1 if the null holds, so
the product of all factors, the *wealth*, reaches ``1 / level`` with chance ``level`` at most,
however often one looks. The logs of factors add up, in any order: sums are all the state there is,
and a corrected score is undone by taking its old factor away.

**Pairs** are answers to one recorded question, with the lesson and without it; ``D`` is the
difference of their scores. **Outcomes** are of live requests that a coin has shown the lesson or
not; with the chance ``c`` of being shown it, ``Z = (y - g) / c`` where it was shown and ``-(y - g)
/ (1 - c)`` where not has the lift as its mean, whatever is guessed (``g``) from earlier outcomes.
So neither a drifting base rate nor late outcomes can look like lift.

The wealth is always taken *without the loudest* principals: those whose own bets argue most. What
is left is evidence of others, so that no few accounts together bring a decision about.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

BETS = (0.3, 0.6, 0.9)  # shares of the largest bet; the wealth is the mean over them
WORTH = 0.1  # the lift that is worth finding; what is shown to be less is of no use
LOWEST_GUESS, HIGHEST_GUESS = 0.2, 0.8
# principals of one lesson are told apart up to so many: what is kept of them is bounded
VOICES = 128
# of the lift that replays have shown, for the live bet: who was chosen for luck has less than that
SHRINK = 0.75
LEAST_LIFT, LEAST_SPREAD = 0.05, 0.05  # that the live bet is made for
LEAST_BET, LARGEST_BET = 0.05, 0.9

Bets = tuple[float, float, float]
NONE: Bets = (0.0, 0.0, 0.0)
NUMBERS = 23  # of which sums consist


@dataclass(frozen=True)
class Sums:
    """What one lesson has shown, in all or to one principal. All but the counts are sums of log factors, one for a bet.

    Attributes:
        pairs: pairs of replayed answers before it was active.
        score_with, score_without: their scores, added up.
        helps: against "its lift is at most 0", from pairs.
        useless: against "its lift is at least `WORTH`", from pairs.
        outcomes: live outcomes on trial.
        score: these, added up.
        live: against "its live lift is at most what the rule refutes", from outcomes; the bet is
            the trial's.
        harms: against "its live lift is at least 0", from outcomes on trial.
        watched: pairs and outcomes since it is active.
        turned: against "its lift is at least 0" since it is active; begun anew whenever nothing
            speaks for it (e-CUSUM).
        begun: how often it was begun anew.
        silent: pairs that rest on recorded results of tools and were scored alike. They are not
            among the others: no replay can show what a lesson changes before a tool is called, so
            they speak neither for it nor against it.
    """

    pairs: float = 0.0
    score_with: float = 0.0
    score_without: float = 0.0
    helps: Bets = NONE
    useless: Bets = NONE
    outcomes: float = 0.0
    score: float = 0.0
    live: float = 0.0
    harms: Bets = NONE
    watched: float = 0.0
    turned: Bets = NONE
    begun: Bets = NONE
    silent: float = 0.0

    @property
    def numbers(self) -> list[float]:
        """All of it in one row: how it is stored."""
        row: list[float] = []
        for field in fields(self):
            value = getattr(self, field.name)
            row += value if isinstance(value, tuple) else [value]
        return row

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Sums":
        """Return the sums that such a row holds; what is missing is 0."""
        n = [*numbers, *[0.0] * NUMBERS]
        return cls(
            pairs=n[0],
            score_with=n[1],
            score_without=n[2],
            helps=_bets(n, 3),
            useless=_bets(n, 6),
            outcomes=n[9],
            score=n[10],
            live=n[11],
            harms=_bets(n, 12),
            watched=n[15],
            turned=_bets(n, 16),
            begun=_bets(n, 19),
            silent=n[22],
        )

    @property
    def guess(self) -> float:
        """What a live outcome is expected to be: the mean of those before, pulled away from certainty."""
        return min(max((0.5 + self.score) / (1 + self.outcomes), LOWEST_GUESS), HIGHEST_GUESS)


@dataclass(frozen=True)
class Evidence:
    """All that is known of one lesson: its sums, and those of each voice (see `voice_of`)."""

    total: Sums = Sums()
    voices: tuple[Sums, ...] = ()

    def helps(self, loudest: int) -> float:
        """Return the wealth of its pairs without the `loudest` voices: `trials.pairs_needed` puts it on trial."""
        return _mean_exp(_left(self.total.helps, [v.helps for v in self.voices], loudest))

    def useless(self, loudest: int) -> float:
        """Return the wealth against its being of use."""
        return _mean_exp(_left(self.total.useless, [v.useless for v in self.voices], loudest))

    def live(self, loudest: int) -> float:
        """Return the wealth of its live outcomes."""
        return _mean_exp(_left((self.total.live,), [(v.live,) for v in self.voices], loudest))

    def harms(self, loudest: int) -> float:
        """Return the wealth of its live outcomes against it."""
        return _mean_exp(_left(self.total.harms, [v.harms for v in self.voices], loudest))

    def turned(self, loudest: int) -> float:
        """Return the wealth against it since it is active. What voices said before it was begun anew is over."""
        said = [
            tuple(
                t if b == begun else 0.0
                for t, b, begun in zip(v.turned, v.begun, self.total.begun, strict=True)
            )
            for v in self.voices
        ]
        return _mean_exp(_left(self.total.turned, said, loudest))

    def pairs(self, loudest: int) -> float:
        """Return how many pairs there are without those of the busiest voices."""
        return _without_busiest(self.total.pairs, [v.pairs for v in self.voices], loudest)

    def silent(self, loudest: int) -> float:
        """Return how many pairs on recorded results of tools say nothing, without those of the busiest voices."""
        return _without_busiest(self.total.silent, [v.silent for v in self.voices], loudest)

    def outcomes(self, loudest: int) -> float:
        """Return how many live outcomes there are on trial without those of the busiest voices."""
        return _without_busiest(self.total.outcomes, [v.outcomes for v in self.voices], loudest)

    def lift_of_most(self, loudest: int) -> float:
        """Return the mean difference of its pairs without those voices that say most for it, and most against it."""
        # by pairs, too: of voices that say the same, the order in which they are kept must not
        # decide
        said = sorted((v.score_with - v.score_without, v.pairs) for v in self.voices if v.pairs)
        left = said[loudest : max(len(said) - loudest, 0)]
        pairs = sum(pairs for _, pairs in left)
        return sum(difference for difference, _ in left) / pairs if pairs else 0.0

    @property
    def lift(self) -> float:
        """Return the mean difference of its pairs, 0 where there is none."""
        return (
            (self.total.score_with - self.total.score_without) / self.total.pairs
            if self.total.pairs
            else 0.0
        )


def _bets(numbers: Sequence[float], start: int) -> Bets:
    return numbers[start], numbers[start + 1], numbers[start + 2]


def voice_of(principal: str) -> int:
    """Return the voice that a principal speaks with: more than `VOICES` principals share some, which makes them one."""
    return (
        int(
            hashlib.sha1(principal.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[
                :4
            ],
            16,
        )
        % VOICES
    )


def live_bet(total: Sums, refuted: float) -> float:
    """Return the share of the largest bet that suits the lift which replays have shown: the growth-optimal one, shrunk.

    It is chosen before the first live outcome, so that the test stays valid whatever replays had
    said.
    """
    pairs = total.pairs or 1.0
    lift, mean = (
        (total.score_with - total.score_without) / pairs,
        (total.score_with + total.score_without) / 2 / pairs,
    )
    guess = min(max(mean, LOWEST_GUESS), HIGHEST_GUESS)
    spread = 4 * (mean * (1 - mean) + (guess - mean) ** 2)
    best = (
        (_widest(0.5) + abs(refuted)) * max(lift - refuted, LEAST_LIFT) / max(spread, LEAST_SPREAD)
    )
    return min(max(SHRINK * best, LEAST_BET), LARGEST_BET)


def add_pair(sums: Sums, with_it: float, without_it: float) -> Sums:
    """Return sums with one more pair of a lesson that is not active yet; both are mean scores in [0, 1]."""
    difference = with_it - without_it
    return replace(
        sums,
        pairs=sums.pairs + 1,
        score_with=sums.score_with + with_it,
        score_without=sums.score_without + without_it,
        helps=_add(sums.helps, [math.log(1 + bet * difference) for bet in BETS]),
        useless=_add(
            sums.useless, [math.log(1 - bet * (difference - WORTH) / (1 - WORTH)) for bet in BETS]
        ),
    )


def add_silent(sums: Sums) -> Sums:
    """Return sums with one more pair on recorded results of tools that was scored alike."""
    return replace(sums, silent=sums.silent + 1)


def add_outcome(sums: Sums, score: float, steps: "LiveSteps") -> Sums:
    """Return sums with one more live outcome of a lesson on trial."""
    return replace(
        sums,
        outcomes=sums.outcomes + 1,
        score=sums.score + score,
        live=sums.live + steps.live,
        harms=_add(sums.harms, steps.harms),
    )


def correct_outcome(
    sums: Sums, before: tuple[float, "LiveSteps"], now: tuple[float, "LiveSteps"]
) -> Sums:
    """Return sums with what a corrected score changes; both are scores with their steps."""
    (old, old_steps), (score, steps) = before, now
    return replace(
        sums,
        score=sums.score + (score - old),
        live=sums.live + (steps.live - old_steps.live),
        harms=_add(
            sums.harms, [new - old for new, old in zip(steps.harms, old_steps.harms, strict=True)]
        ),
    )


def try_again(sums: Sums) -> Sums:
    """Return sums without live outcomes on trial: a new trial begins, perhaps under another rule."""
    return replace(sums, outcomes=0.0, score=0.0, live=0.0, harms=NONE)


def watch(sums: Sums, steps: Sequence[float]) -> tuple[Sums, Bets]:
    """Return the sums of an active lesson with one more step for each bet, and how often they were begun anew then."""
    begun = tuple(b + (t <= 0) for t, b in zip(sums.turned, sums.begun, strict=True))
    turned = tuple(max(t, 0.0) + step for t, step in zip(sums.turned, steps, strict=True))
    return replace(sums, watched=sums.watched + 1, turned=turned, begun=begun), begun  # type: ignore[arg-type, return-value]


def hear(voice: Sums, steps: Sequence[float], begun: Sequence[float], count: int = 1) -> Sums:
    """Return the sums of a voice on an active lesson with its steps; what it said before a new beginning is over."""
    turned = [
        (t if b == now else 0.0) + step
        for t, b, now, step in zip(voice.turned, voice.begun, begun, steps, strict=True)
    ]
    return replace(voice, watched=voice.watched + count, turned=tuple(turned), begun=tuple(begun))  # type: ignore[arg-type]


def correct_watched(sums: Sums, steps: Sequence[float]) -> Sums:
    """Return the sums of an active lesson with what a corrected score changes; nothing is begun anew by it."""
    return replace(sums, turned=_add(sums.turned, steps))


def watch_again(sums: Sums) -> Sums:
    """Return the sums of a lesson that becomes active: nothing speaks against it yet."""
    return replace(sums, turned=NONE, begun=_add(sums.begun, [1.0] * len(BETS)))


def pair_against(with_it: float, without_it: float) -> list[float]:
    """Return the steps of one pair against an active lesson."""
    return [math.log(1 - bet * (with_it - without_it)) for bet in BETS]


@dataclass(frozen=True)
class LiveSteps:
    """The log factors of one live outcome."""

    live: float
    harms: Bets


def live_steps(
    score: float, *, shown: bool, chance: float, guess: float, bet: float, refuted: float
) -> LiveSteps:
    """Return the log factors of one live outcome.

    Args:
        score: in [0, 1].
        shown: whether the request saw the lesson.
        chance: with which it was to be shown, in (0, 1).
        guess: of the outcome, from those before it (`Sums.guess`).
        bet: share of the largest bet, for the test that it helps.
        refuted: the live lift that this test refutes.
    """
    z, widest = (
        (score - guess) / chance if shown else -(score - guess) / (1 - chance),
        _widest(chance),
    )
    harms = tuple(math.log(1 - share * z / widest) for share in BETS)
    return LiveSteps(math.log(1 + bet * (z - refuted) / (widest + abs(refuted))), harms)  # type: ignore[arg-type]


def _widest(chance: float) -> float:
    """Return the most that Z can be."""
    return HIGHEST_GUESS / min(chance, 1 - chance)


def _add(left: Bets, right: Sequence[float]) -> Bets:
    return tuple(a + b for a, b in zip(left, right, strict=True))  # type: ignore[return-value]


def _left(total: Sequence[float], voices: Sequence[Sequence[float]], loudest: int) -> list[float]:
    """Return the sums of each bet without the voices that argue most."""
    left = []
    for i, sum_ in enumerate(total):
        said = sorted([voice[i] for voice in voices if voice[i] > 0], reverse=True)
        left.append(sum_ - sum(said[:loudest]))
    return left


def _without_busiest(count: float, of_voices: Sequence[float], loudest: int) -> float:
    return count - sum(sorted(of_voices, reverse=True)[:loudest])


def _mean_exp(logs: Sequence[float]) -> float:
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
