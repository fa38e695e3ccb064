"""Figures that `test_trust_at_size.py` is to find, of a full run, beside those of the first design.

A median may be off by what so many lessons allow, a share by three standard deviations (`is_close`,
`by_chance`). So a change of the rules that matters shows here, and its figures are written anew
from those that the run prints.

The first design was simulated before any of this was built, with one principal left out (``K=1``).
What takes more than 15 % above its figures, and why that is wanted:

- *To refute what hurts*, by pairs or outcomes, and to demote what has turned: the loudest are left
  out of what is said against a lesson, too, so that no few principals end it. It takes a quarter to
  a third as many again.
- *Small lifts in live traffic*: the guess at an outcome uses no replays of the same question. Their
  reference can depend on the outcome, and so on whether the lesson was shown.
- *To stop in live traffic what has fooled its replays*: both reasons together. At -0.2 a lesson was
  seen by 68 requests in the first design, and is by 125.
"""

from typing import NamedTuple

Median = float | None
"""None: too few became active for one."""


class Lift(NamedTuple):
    """Shares that become active, medians of their pairs and live outcomes, and who saw them.

    The last two are means of the requests that saw a lesson, over all lessons.
    """

    strict: float
    quick: float
    pairs: Median
    live_strict: Median
    live_quick: Median
    saw_strict: float
    saw_quick: float


class Stress(NamedTuple):
    """Shares of lessons of no use on trial and active; the same share and medians for lift +0.2."""

    tried: float
    active: float
    good: float
    pairs: Median
    live: Median


class Fooled(NamedTuple):
    """How trials end that replays began wrongly, in shares; the median of requests that saw one."""

    active: float
    hurts: float
    no_result: float
    saw: float


class Demoted(NamedTuple):
    """The share of active lessons that are demoted, and after how many pairs, in the median."""

    share: float
    pairs: Median


LIFTS = {  # base, lift, how many are left out
    (0.5, -0.2, "K=1"): Lift(0.0, 0.0, 27, None, None, 0, 0),
    (0.5, -0.2, "K=2"): Lift(0.0, 0.0, 37, None, None, 0, 0),
    (0.5, -0.1, "K=1"): Lift(0.0, 0.0, 45, None, None, 0, 0),
    (0.5, -0.1, "K=2"): Lift(0.0, 0.0, 63, None, None, 0, 0),
    (0.5, 0.1, "K=1"): Lift(0.61, 0.885, 193, 314, 123, 198, 75),
    (0.5, 0.1, "K=2"): Lift(0.448, 0.83, 285, 416, 182, 251, 102),
    (0.5, 0.2, "K=1"): Lift(0.968, 0.998, 64, 113, 53, 81, 38),
    (0.5, 0.2, "K=2"): Lift(0.965, 1.0, 91, 172, 84, 117, 55),
    (0.5, 0.4, "K=1"): Lift(1.0, 1.0, 22, 27, 18, 18, 11),
    (0.5, 0.4, "K=2"): Lift(1.0, 1.0, 29, 39, 27, 25, 17),
    (0.2, 0.6, "K=1"): Lift(1.0, 1.0, 15, 12, 10, 9, 7),
    (0.2, 0.6, "K=2"): Lift(1.0, 1.0, 19, 21, 15, 14, 10),
    (0.8, 0.2, "K=1"): Lift(1.0, 1.0, 38, 51, 25, 29, 14),
    (0.8, 0.2, "K=2"): Lift(1.0, 1.0, 50, 73, 36, 42, 20),
}

STRESS = {
    ("drift", "K=1"): Stress(0.005, 0.0, 0.94, 58, 100),
    ("drift", "K=2"): Stress(0.002, 0.0, 0.94, 97, 172),
    ("late", "K=1"): Stress(0.008, 0.0, 0.94, 65, 124),
    ("late", "K=2"): Stress(0.0, 0.0, 0.95, 92, 172),
    ("halves", "K=1"): Stress(0.002, 0.0, 1.0, 54, 97),
    ("halves", "K=2"): Stress(0.0, 0.0, 0.99, 80, 136),
    ("always the same answer", "K=1"): Stress(0.002, 0.0, 0.96, 53, 124),
    ("always the same answer", "K=2"): Stress(0.0, 0.0, 0.96, 68, 206),
    ("no gain by pairing", "K=1"): Stress(0.012, 0.0, 0.97, 68, 109),
    ("no gain by pairing", "K=2"): Stress(0.008, 0.0, 0.94, 102, 163),
    ("three principals", "K=1"): Stress(0.0, 0.0, 0.98, 88, 154),
    ("three principals", "K=2"): Stress(0.0, 0.0, 0.95, 214, 393),
    ("one liar with 10 %", "K=1"): Stress(0.042, 0.01, 0.97, 47, 69),
    ("one liar with 10 %", "K=2"): Stress(0.01, 0.0, 0.94, 72, 112),
    ("one liar with 30 %", "K=1"): Stress(0.05, 0.0075, 0.89, 62, 74),
    ("one liar with 30 %", "K=2"): Stress(0.01, 0.0, 0.74, 103, 133),
    ("one liar with 60 %", "K=1"): Stress(0.04, 0.0075, 0.56, 88, 48),
    ("one liar with 60 %", "K=2"): Stress(0.01, 0.0, 0.27, 184, 51),
    ("two liars with 30 %", "K=1"): Stress(1.0, 0.89, 1.0, 26, 26),
    ("two liars with 30 %", "K=2"): Stress(0.05, 0.0075, 0.88, 55, 62),
}

SYBILS = {  # shares of useless lessons that become active, min_principals=3 and 6
    "one liar with 30 %": (0.0, 0.0),
    "two liars with 30 %": (0.0075, 0.0),
    "three liars with 30 %": (0.64, 0.0),
    "five liars with 10 %": (0.22, 0.0),
    "five liars with 30 %": (0.94, 0.0),
    "twenty liars with 10 %": (0.59, 0.3),
    "twenty liars with 30 %": (0.99, 0.98),
}

FOOLED = {  # live lift, rule, how many are left out
    ("0", "strict", "K=1"): Fooled(0.07, 0.02, 0.92, 338),
    ("0", "strict", "K=2"): Fooled(0.005, 0.0, 1.0, 389),
    ("0", "quick", "K=1"): Fooled(0.235, 0.02, 0.75, 336),
    ("0", "quick", "K=2"): Fooled(0.13, 0.0, 0.87, 386),
    ("-0.1", "strict", "K=1"): Fooled(0.015, 0.27, 0.72, 333),
    ("-0.1", "strict", "K=2"): Fooled(0.01, 0.13, 0.86, 386),
    ("-0.1", "quick", "K=1"): Fooled(0.045, 0.27, 0.68, 333),
    ("-0.1", "quick", "K=2"): Fooled(0.015, 0.13, 0.86, 386),
    ("-0.2", "strict", "K=1"): Fooled(0.005, 0.94, 0.05, 125),
    ("-0.2", "strict", "K=2"): Fooled(0.0, 0.91, 0.09, 190),
    ("-0.2", "quick", "K=1"): Fooled(0.01, 0.94, 0.04, 124),
    ("-0.2", "quick", "K=2"): Fooled(0.005, 0.9, 0.09, 190),
    ("0, drifting", "strict", "K=1"): Fooled(0.06, 0.02, 0.92, 339),
    ("0, drifting", "strict", "K=2"): Fooled(0.015, 0.0, 0.98, 387),
    ("0, drifting", "quick", "K=1"): Fooled(0.28, 0.02, 0.7, 334),
    ("0, drifting", "quick", "K=2"): Fooled(0.155, 0.0, 0.84, 385),
    ("0, late", "strict", "K=1"): Fooled(0.065, 0.02, 0.92, 337),
    ("0, late", "strict", "K=2"): Fooled(0.02, 0.01, 0.97, 388),
    ("0, late", "quick", "K=1"): Fooled(0.285, 0.02, 0.7, 332),
    ("0, late", "quick", "K=2"): Fooled(0.14, 0.01, 0.85, 386),
}

DEMOTED = {  # the lift that it turns to, good pairs before, how many are left out
    (-0.2, 0, "K=1"): Demoted(1.0, 102),
    (-0.2, 0, "K=2"): Demoted(1.0, 138),
    (-0.2, 500, "K=1"): Demoted(1.0, 98),
    (-0.2, 500, "K=2"): Demoted(1.0, 130),
    (-0.1, 0, "K=1"): Demoted(1.0, 292),
    (-0.1, 0, "K=2"): Demoted(1.0, 442),
    (0.0, 0, "K=1"): Demoted(0.0, None),
    (0.0, 0, "K=2"): Demoted(0.0, None),
    (0.2, 0, "K=1"): Demoted(0.0, None),
    (0.2, 0, "K=2"): Demoted(0.0, None),
}

# --- the first design, with one left out: measured once, before this was built

DESIGN = {  # base, lift -> pairs, live outcomes by the strict and by the quick rule
    (0.5, -0.2): (22, None, None),
    (0.5, -0.1): (36, None, None),
    (0.5, 0.1): (180, 272, 137),
    (0.5, 0.2): (63, 101, 61),
    (0.5, 0.4): (24, 25, 26),
    (0.2, 0.6): (15, 15, 18),
    (0.8, 0.2): (43, 56, 44),
}
TURNED = 78
"""Pairs after which it demoted what had turned to -0.2."""
SLOWER = {  # what takes more than 15 % above that, and why
    ((0.5, -0.2), "pairs"): "the loudest are left out of harm",
    ((0.5, -0.1), "pairs"): "the loudest are left out of harm",
    ((0.5, 0.1), "live strict"): "a guess without replays",
}

PRICE = {  # lift -> pairs and live outcomes until it is active, by min_principals
    0.2: {1: 109, 2: 186, 3: 279.5},
    0.4: {1: 34, 2: 55, 3: 75},
}
