"""What is measured: figures beside something, with a target, and how a cost grows."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

DIGITS = 3


@dataclass(frozen=True)
class Figure:
    """One measured value, in its unit, beside what it is compared with in the same run.

    Attributes:
        what: is measured.
        ours: the value.
        unit: of both values.
        beside: what stands beside it, "" for nothing.
        theirs: the value of that.
        at_most: the target: of the ratio to ``theirs`` where there is one, else of ``ours``.
        at_least: the same from below.
        note: what else is to be said, such as why a target is missed.
    """

    what: str
    ours: float
    unit: str
    beside: str = ""
    theirs: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by theirs."""
        return None if self.theirs is None or not self.theirs else self.ours / self.theirs

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return not (
            (self.at_most is not None and value > self.at_most)
            or (self.at_least is not None and value < self.at_least)
        )

    @property
    def target(self) -> str:
        """The target in words."""
        of = "x" if self.ratio is not None else f" {self.unit}"
        if self.at_most is not None:
            return f"at most {self.at_most:g}{of}"
        return "" if self.at_least is None else f"at least {self.at_least:g}{of}"


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size: points of (size, cost).

    Attributes:
        what: is measured.
        unit: of the costs.
        of: what the sizes count.
        points: the sizes with their costs, in ascending order.
        exponent_at_most: the target of the exponent, see `exponent`.
        at_most: the target of the last cost by the first one.
        note: what else is to be said.
    """

    what: str
    unit: str
    of: str
    points: tuple[tuple[float, float], ...]
    exponent_at_most: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def exponent(self) -> float:
        """The slope of the straight line through the logarithms (least squares): 1 is linear."""
        xs = [math.log(size) for size, _ in self.points]
        ys = [math.log(max(cost, 1e-12)) for _, cost in self.points]
        return statistics.linear_regression(xs, ys).slope

    @property
    def ratio(self) -> float:
        """The cost at the largest size by that at the smallest."""
        return self.points[-1][1] / self.points[0][1]

    @property
    def is_met(self) -> bool | None:
        """Whether the targets are met; None where there is none."""
        if self.exponent_at_most is None and self.at_most is None:
            return None
        return not (
            (self.exponent_at_most is not None and self.exponent > self.exponent_at_most)
            or (self.at_most is not None and self.ratio > self.at_most)
        )

    @property
    def target(self) -> str:
        """The targets in words."""
        told = []
        if self.exponent_at_most is not None:
            told.append(f"exponent at most {self.exponent_at_most:g}")
        if self.at_most is not None:
            told.append(f"last at most {self.at_most:g}x the first")
        return ", ".join(told)


Measured = Figure | Growth


def number(value: float) -> str:
    """A value as it is printed: three digits that say something."""
    if value == 0:
        return "0"
    places = max(DIGITS - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{places}f}"


def to_record(measured: Measured) -> dict[str, Any]:
    """Something measured as JSON holds it."""
    return {"kind": type(measured).__name__, **asdict(measured)}


def from_record(record: dict[str, Any]) -> Measured:
    """Something measured, from its record."""
    fields = {name: value for name, value in record.items() if name != "kind"}
    if record["kind"] == "Figure":
        return Figure(**fields)
    return Growth(**{**fields, "points": tuple(map(tuple, fields["points"]))})


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def high(values: Sequence[float]) -> float:
    """The value that one in a hundred is above."""
    return sorted(values)[min(int(len(values) * 0.99), len(values) - 1)]
