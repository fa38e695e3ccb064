"""Does a lesson from traffic help, is it of no use, does it harm? The evidence for each, as sums.

For `experience.trials`, which decides by it, and for the stores, which keep it. All lifts and
scores are in units of score ([0, 1]).

**Wealth.** Every piece of evidence is a bet against a null hypothesis, such as "its lift is at most
0". If the null holds, the factor by which a bet multiplies its stake has a mean of at most 1. So
the product of all factors, the *wealth*, ever reaches ``1 / level`` with chance ``level`` at most,
however often one looks (Ville's inequality). The logs of factors add up, in any order: sums are all
the state there is, and a corrected score is undone by taking its old factor away.

**Pairs** are answers to one recorded question, with the lesson and without it; ``D`` is the
difference of their mean scores, in [-1, 1]. With a share ``k`` the factor is ``1 + k D``.

**Outcomes** are scores ``y`` of live requests that a coin has shown the lesson with chance ``c``.
With a guess ``g`` of ``y`` from earlier outcomes, ``Z = (y - g) / c`` where it was shown, and ``Z =
-(y - g) / (1 - c)`` where not. The mean of ``Z`` is the lift, whatever the guess. So neither a base
rate that drifts nor outcomes that come late can look like lift.

**After it is active** a lesson is watched for harm. One product from the beginning would be tiny
after a long good time, and harm be seen late. So it is begun anew whenever nothing speaks against
the lesson (e-CUSUM, the betting form of a control chart).

**Loudest.** Each principal's sums are kept apart, too (a *voice*). A wealth is always taken without
the loudest ones: those whose own bets argue most for the decision in question. What is left is
evidence of others, so that no few accounts together bring a decision about.

Sources: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B
2024 (bets); Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid
inference, Statistical Science 2023 (e-processes); Shin, Ramdas and Rinaldo, E-detectors, New
England Journal of Statistics in Data Science 2024 (e-CUSUM). Why these and no others:
docs/decisions/002-evidence-from-traffic.md.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

BETS = (0.3, 0.6, 0.9)  # shares ``k`` of the largest possible stake; wealth is the mean over them
WORTH = 0.1  # the lift that is worth finding; what is shown to be less is of no use
LOWEST_GUESS, HIGHEST_GUESS = 0.2, 0.8
VOICES = 128  # of one lesson at most: what is kept of its principals has a bound
# Of the stake that would suit the lift which replays have shown. A lesson goes on trial when it has
# been lucky, so its true lift is less.
SHRINK = 0.75
LEAST_LIFT, LEAST_SPREAD = 0.05, 0.05  # that a live bet is made for
LEAST_BET, LARGEST_BET = 0.05, 0.9

Bets = tuple[float, float, float]
"""A number for each of `BETS`."""
NONE: Bets = (0.0, 0.0, 0.0)
NUMBERS = 23  # of which `Sums` consist


@dataclass(frozen=True)
class Sums:
    """What one lesson has shown, in all or to one voice.

    `helps`, `useless`, `live`, `harms` and `turned` are log wealths: sums of the logs of factors of
    bets against the null hypothesis that is quoted.

    Attributes:
        pairs: of replayed answers, before it was active.
        score_with, score_without: the mean scores of both sides, summed over the pairs.
        helps: "its lift is at most 0", by pairs.
        useless: "its lift is at least `WORTH`", by pairs.
        outcomes: live ones, while on trial.
        score: their sum.
        live: "its live lift is at most what the rule refutes", by outcomes. One bet, the trial's.
        harms: "its live lift is at least 0", by outcomes while on trial.
        watched: pairs and outcomes since it is active.
        turned: "its lift is at least 0" since it is active, by both. It is begun anew whenever
            nothing speaks against the lesson.
        begun: how often it was begun anew.
        silent: pairs over recorded results of tools that were scored alike. They are in none of the
            other sums. What a lesson changes before a tool is called no replay can show, so they
            speak neither for it nor against it.
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
        """All of it in one row, as it is stored; `of` reads it."""
        pairs = [self.pairs, self.score_with, self.score_without, *self.helps, *self.useless]
        trial = [self.outcomes, self.score, self.live, *self.harms]
        watch = [self.watched, *self.turned, *self.begun]
        return [*pairs, *trial, *watch, self.silent]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Sums":
        """Return the sums of a row. What a short row lacks is 0: versions before had fewer sums."""
        n = [*numbers, *[0.0] * NUMBERS]
        return cls(
            pairs=n[0],
            score_with=n[1],
            score_without=n[2],
            helps=_bets(n[3:6]),
            useless=_bets(n[6:9]),
            outcomes=n[9],
            score=n[10],
            live=n[11],
            harms=_bets(n[12:15]),
            watched=n[15],
            turned=_bets(n[16:19]),
            begun=_bets(n[19:22]),
            silent=n[22],
        )

    @property
    def guess(self) -> float:
        """What the next live outcome is expected to be.

        That is the mean of those before and one of 0.5, kept between `LOWEST_GUESS` and
        `HIGHEST_GUESS`, since a guess near 0 or 1 would leave little to bet on.
        """
        mean = (0.5 + self.score) / (1 + self.outcomes)
        return _between(LOWEST_GUESS, mean, HIGHEST_GUESS)


@dataclass(frozen=True)
class Evidence:
    """All that is known of one lesson: its sums, and those of each voice (see `voice_of`).

    Each wealth and each count below is without the ``loudest`` voices that argue most for the
    decision that it is asked for: so many as the caller says (`trials.loudest`). A wealth of 1 is
    no evidence.
    """

    total: Sums = Sums()
    voices: tuple[Sums, ...] = ()

    def helps(self, loudest: int) -> float:
        """Return the wealth for "it helps", by pairs: `trials.pairs_needed` puts it on trial."""
        return _mean_exp(_left(self.total.helps, [v.helps for v in self.voices], loudest))

    def useless(self, loudest: int) -> float:
        """Return the wealth for "it is of no use", by pairs."""
        return _mean_exp(_left(self.total.useless, [v.useless for v in self.voices], loudest))

    def live(self, loudest: int) -> float:
        """Return the wealth for "it helps", by live outcomes: `trials.live_needed` ends a trial."""
        return _mean_exp(_left((self.total.live,), [(v.live,) for v in self.voices], loudest))

    def harms(self, loudest: int) -> float:
        """Return the wealth for "it hurts", by live outcomes."""
        return _mean_exp(_left(self.total.harms, [v.harms for v in self.voices], loudest))

    def turned(self, loudest: int) -> float:
        """Return the wealth for "it has come to hurt", since it is active and begun anew.

        Of each voice only what it said since then is its part of the sum.
        """
        said = [_since(self.total.begun, v) for v in self.voices]
        return _mean_exp(_left(self.total.turned, said, loudest))

    def pairs(self, loudest: int) -> float:
        """Return how many pairs there are, without those of the voices that have most of them."""
        return _without_busiest(self.total.pairs, [v.pairs for v in self.voices], loudest)

    def silent(self, loudest: int) -> float:
        """Return how many pairs say nothing (`Sums.silent`), without the busiest voices' pairs."""
        return _without_busiest(self.total.silent, [v.silent for v in self.voices], loudest)

    def outcomes(self, loudest: int) -> float:
        """Return how many live outcomes its trial has, without those of the busiest voices."""
        return _without_busiest(self.total.outcomes, [v.outcomes for v in self.voices], loudest)

    def lift_of_most(self, loudest: int) -> float:
        """Return the mean difference of its pairs, without the extreme voices on both sides.

        The ``loudest`` ones that say most for it are left out, and as many that say most against
        it. 0 where no others are left.
        """
        # Sorted by pairs, too: of voices that say the same, the order in which they are kept must
        # not decide.
        said = sorted((v.score_with - v.score_without, v.pairs) for v in self.voices if v.pairs)
        left = said[loudest : max(len(said) - loudest, 0)]
        pairs = sum(pairs for _, pairs in left)
        return sum(difference for difference, _ in left) / pairs if pairs else 0.0

    @property
    def lift(self) -> float:
        """The mean difference of its pairs, of all voices; 0 where there is no pair."""
        if not self.total.pairs:
            return 0.0
        return (self.total.score_with - self.total.score_without) / self.total.pairs


def _bets(numbers: Iterable[float]) -> Bets:
    first, second, third = numbers
    return first, second, third


def voice_of(principal: str) -> int:
    """Return the voice that a principal speaks with, from 0 to `VOICES` - 1.

    Principals whose names fall on one voice count as one principal.
    """
    name = principal.encode("utf-8", "replace")
    digest = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    return int(digest[:4], 16) % VOICES


def live_bet(total: Sums, refuted: float) -> float:
    """Return the share of the largest stake that a trial bets on each outcome.

    It is the one that lets the wealth grow fastest at the lift and spread which the replays have
    shown (about lift over variance; Kelly's bet), times `SHRINK`. It is chosen before the first
    live outcome, so that the test is valid whatever the replays said.

    Args:
        total: the sums of the pairs.
        refuted: the live lift that the trial's rule refutes.
    """
    pairs = total.pairs or 1.0
    lift = (total.score_with - total.score_without) / pairs
    mean = (total.score_with + total.score_without) / 2 / pairs
    guess = _between(LOWEST_GUESS, mean, HIGHEST_GUESS)
    # mean square of Z, where half of the requests see the lesson and scores are 0 or 1
    spread = 4 * (mean * (1 - mean) + (guess - mean) ** 2)
    largest = _widest(0.5) + abs(refuted)
    best = largest * max(lift - refuted, LEAST_LIFT) / max(spread, LEAST_SPREAD)
    return _between(LEAST_BET, SHRINK * best, LARGEST_BET)


def add_pair(sums: Sums, with_it: float, without_it: float) -> Sums:
    """Return sums with one more pair of a lesson that is not active yet.

    ``with_it`` and ``without_it`` are mean scores in [0, 1].
    """
    difference = with_it - without_it
    excess = difference - WORTH
    return replace(
        sums,
        pairs=sums.pairs + 1,
        score_with=sums.score_with + with_it,
        score_without=sums.score_without + without_it,
        helps=_add(sums.helps, [math.log(1 + bet * difference) for bet in BETS]),
        useless=_add(sums.useless, [math.log(1 - bet * excess / (1 - WORTH)) for bet in BETS]),
    )


def add_silent(sums: Sums) -> Sums:
    """Return sums with one more pair that says nothing (`Sums.silent`)."""
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
    """Return sums in which one outcome has another score; both come with their steps."""
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
    """Return sums for a new trial, perhaps under another rule: without any live outcomes."""
    return replace(sums, outcomes=0.0, score=0.0, live=0.0, harms=NONE)


def watch(sums: Sums, steps: Sequence[float]) -> tuple[Sums, Bets]:
    """Return the sums of an active lesson with one more observation, and how often they were begun.

    ``steps`` are its log factors, one for each of `BETS`. Sums that are not above 0, so that
    nothing speaks against the lesson, are begun anew with it.
    """
    begun = _bets(b + (t <= 0) for t, b in zip(sums.turned, sums.begun, strict=True))
    turned = _bets(max(t, 0.0) + step for t, step in zip(sums.turned, steps, strict=True))
    return replace(sums, watched=sums.watched + 1, turned=turned, begun=begun), begun


def hear(voice: Sums, steps: Sequence[float], begun: Sequence[float], count: int = 1) -> Sums:
    """Return the sums of a voice on an active lesson with its own steps.

    ``begun`` is what `watch` returned. What the voice said before its sums were begun anew is
    dropped; ``count`` observations are added to what it has watched.
    """
    turned = [
        (t if b == now else 0.0) + step
        for t, b, now, step in zip(voice.turned, voice.begun, begun, steps, strict=True)
    ]
    watched = voice.watched + count
    return replace(voice, watched=watched, turned=_bets(turned), begun=_bets(begun))


def correct_watched(sums: Sums, steps: Sequence[float]) -> Sums:
    """Return the sums of an active lesson after a score was corrected; nothing is begun anew."""
    return replace(sums, turned=_add(sums.turned, steps))


def watch_again(sums: Sums) -> Sums:
    """Return the sums of a lesson that becomes active: what was said of it before is over."""
    return replace(sums, turned=NONE, begun=_add(sums.begun, [1.0] * len(BETS)))


def pair_against(with_it: float, without_it: float) -> list[float]:
    """Return the log factors of one pair against "its lift is at least 0", for `watch`."""
    return [math.log(1 - bet * (with_it - without_it)) for bet in BETS]


@dataclass(frozen=True)
class LiveSteps:
    """The log factors of one live outcome; see `Sums` for what they are bets against."""

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
        bet: share of the largest stake, for the test that it helps (`live_bet`).
        refuted: the live lift that this test refutes.
    """
    z = (score - guess) / chance if shown else -(score - guess) / (1 - chance)
    widest = _widest(chance)
    helps = math.log(1 + bet * (z - refuted) / (widest + abs(refuted)))
    harms = _bets(math.log(1 - share * z / widest) for share in BETS)
    return LiveSteps(helps, harms)


def _widest(chance: float) -> float:
    """Return the most that Z can be, either way: a larger stake could lose all."""
    return HIGHEST_GUESS / min(chance, 1 - chance)


def _add(left: Bets, right: Sequence[float]) -> Bets:
    return _bets(a + b for a, b in zip(left, right, strict=True))


def _between(least: float, value: float, most: float) -> float:
    return min(max(value, least), most)


def _since(begun: Bets, voice: Sums) -> list[float]:
    """Return what a voice said against an active lesson since its sums were begun anew."""
    parts = zip(voice.turned, voice.begun, begun, strict=True)
    return [turned if heard == now else 0.0 for turned, heard, now in parts]


def _left(total: Sequence[float], voices: Sequence[Sequence[float]], loudest: int) -> list[float]:
    """Return the log wealth of each bet without the voices that argue most.

    Only what argues for a decision is taken away: a voice below 0 stays.
    """
    left = []
    for i, sum_ in enumerate(total):
        said = sorted([voice[i] for voice in voices if voice[i] > 0], reverse=True)
        left.append(sum_ - sum(said[:loudest]))
    return left


def _without_busiest(count: float, of_voices: Sequence[float], loudest: int) -> float:
    return count - sum(sorted(of_voices, reverse=True)[:loudest])


def _mean_exp(logs: Sequence[float]) -> float:
    return sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
