"""What tests of trust at size share: who is left out, rows of tables, and what chance may do."""

import math
from collections.abc import Sequence

import numpy as np

from tests.chaos.sizes import report
from tests.experience.made_up import Life, World, lives, middle

SEED = 2
# how many of the loudest are left out
FEW = {"K=1": {"min_principals": 2}, "K=2": {"min_principals": 3}}
SIGMAS = 3


def by_chance(expected: float, count: int) -> float:
    """How far a share of so many lessons may be from the expected one: three standard deviations.

    Of a share near 0 or 1 it is that of one lesson, so that a figure of 400 lessons is not held to
    0 exactly.
    """
    return SIGMAS * math.sqrt(max(expected * (1 - expected), 1 / count) / count)


def most_by_chance(count: int, share: float) -> int:
    """How many of `count` lessons may be what `share` of all is: more are once in a thousand."""
    below, most = 0.0, -1
    while below < 0.999:
        most += 1
        below += math.comb(count, most) * share**most * (1 - share) ** (count - most)
    return most


def is_close(found: float, expected: float, count: int) -> bool:
    """Whether a median over so many lessons is as expected: within 15 % where they are 400."""
    return abs(found - expected) <= max(1.5, 0.15 * expected * math.sqrt(400 / count))


def many(world: World, count: int, few: str, rule: str = "strict") -> list[Life]:
    return lives(world, count, SEED, trial_rule=rule, **FEW[few])


def spread(numbers: Sequence[float]) -> str:
    """Return median and 90th percentile."""
    return f"{middle(numbers):.0f} ({np.quantile(numbers, 0.9):.0f})" if len(numbers) > 1 else "-"


def row(*cells: object) -> None:
    report(f"| {' | '.join(str(cell) for cell in cells)} |")


def header(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))
