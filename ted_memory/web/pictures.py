"""What the desk draws: SVG that stands in the page, coloured by classes of the style sheet.

All words in it are ours; what others wrote never comes here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ted_memory.experience.lift import Utility

WIDTH, HEIGHT = 640, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 620, 34, 190
LOWEST, HIGHEST = 1e-4, 1e6  # of a wealth that is drawn; beyond, a line stays at the edge


@dataclass(frozen=True)
class Bet:
    """One wealth: where it stands after so many observations, and what it has to reach.

    Attributes:
        name: what it is a bet on.
        kind: ``for`` the lesson, or ``against`` it.
        wealth: now; it began at 1.
        needed: at which something is decided.
    """

    name: str
    kind: str
    wealth: float
    needed: float


@dataclass(frozen=True)
class Stage:
    """Bets over one kind of observation.

    Attributes:
        unit: what is counted, in the plural.
        seen: how many there were.
        left: about how many more it takes at this rate; None where nobody knows.
    """

    unit: str
    seen: int
    bets: Sequence[Bet]
    left: int | None = None


def wealth(stage: Stage) -> Markup:
    """Draw how far the wealths of a stage have come, on a logarithmic scale.

    The store keeps sums and not their course, so a line joins the beginning and today: its slope
    is what an observation has added on average. Dots go on at that rate.
    """
    plot = _Plot.of(stage)
    parts = [*plot.grid(), plot.axis(stage.unit)]
    for place, bet in enumerate(stage.bets):
        parts += plot.bet(bet, stage)
        parts += _legend(place, bet)
    said = "; ".join(
        f"{bet.name}: wealth {bet.wealth:.3g} of {bet.needed:.3g}" for bet in stage.bets
    )
    label = f"Wealth after {stage.seen} {stage.unit}. {said}"
    return _svg(WIDTH, HEIGHT, parts, "plot", label)


@dataclass(frozen=True)
class _Plot:
    across: float
    low: float
    high: float

    @classmethod
    def of(cls, stage: Stage) -> "_Plot":
        wealths = [_in_sight(w) for bet in stage.bets for w in (bet.wealth, bet.needed, 1.0)]
        low = math.floor(min(math.log10(w) for w in [*wealths, 0.1]))
        high = math.ceil(max(math.log10(w) for w in wealths) + 0.15)
        ahead = stage.left or 0
        return cls(max(10.0, stage.seen * 1.08 + min(ahead, stage.seen * 2 + 20)), low, high)

    def x(self, seen: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * min(seen / self.across, 1.0), 1)

    def y(self, value: float) -> float:
        share = (math.log10(_in_sight(value)) - self.low) / (self.high - self.low)
        return round(BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0), 1)

    def grid(self) -> list[str]:
        lines = []
        for power in range(int(self.low), int(self.high) + 1):
            y = self.y(10.0**power)
            kind = "axis" if power == 0 else "grid"
            lines.append(f'<line class="{kind}" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
            lines.append(
                f'<text class="tick end" x="{LEFT - 8}" y="{y + 4}">{10.0**power:g}</text>'
            )
        return lines

    def axis(self, unit: str) -> str:
        marks = [0.0, *_round_marks(self.across)]
        ticks = [
            f'<text class="tick middle" x="{self.x(mark)}" y="{BOTTOM + 18}">{mark:g}</text>'
            for mark in marks
        ]
        middle = (LEFT + RIGHT) / 2
        return (
            f'{"".join(ticks)}<text class="tick middle" x="{middle}" y="{HEIGHT - 4}">{unit}</text>'
        )

    def bet(self, bet: Bet, stage: Stage) -> list[str]:
        needed, now = self.y(bet.needed), self.y(bet.wealth)
        begin, end = self.x(0), self.x(stage.seen)
        parts = [
            f'<line class="needed {bet.kind}" x1="{LEFT}" x2="{RIGHT}" y1="{needed}" '
            f'y2="{needed}"/>',
            f'<polyline class="course {bet.kind}" points="{begin},{self.y(1.0)} {end},{now}"/>',
        ]
        if bet.kind == "for" and stage.left and bet.wealth < bet.needed:
            there = self.x(stage.seen + stage.left)
            parts.append(f'<line class="ahead" x1="{end}" y1="{now}" x2="{there}" y2="{needed}"/>')
        parts.append(f'<circle class="now {bet.kind}" cx="{end}" cy="{now}" r="4"/>')
        return parts


def _legend(place: int, bet: Bet) -> list[str]:
    x = LEFT + place * 280
    label = f"{bet.name}: {bet.wealth:.3g}, decides at {bet.needed:.3g}"
    return [
        f'<line class="course {bet.kind}" x1="{x}" x2="{x + 18}" y1="14" y2="14"/>',
        f'<text class="label" x="{x + 26}" y="18">{label}</text>',
    ]


def lift(known: Utility | None, *, wide: bool = False) -> Markup:
    """Draw a lift with its bounds between -1 and 1; the middle is no effect."""
    width, height = (320, 34) if wide else (120, 16)
    middle = height / 2

    def x(value: float) -> float:
        return round(width / 2 * (1 + min(max(value, -1.0), 1.0)), 1)

    parts = [
        f'<line class="grid" x1="0" x2="{width}" y1="{middle}" y2="{middle}"/>',
        f'<line class="axis" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{height}"/>',
    ]
    if known is None:
        return _svg(width, height, parts, "lift", "lift not known yet")
    sure = "for" if known.low > 0 else "against" if known.high < 0 else "open"
    parts += [
        f'<line class="bounds {sure}" x1="{x(known.low)}" x2="{x(known.high)}" y1="{middle}" '
        f'y2="{middle}"/>',
        f'<circle class="now {sure}" cx="{x(known.mean)}" cy="{middle}" r="4"/>',
    ]
    label = f"lift {known.mean:+.2f}, between {known.low:+.2f} and {known.high:+.2f}"
    return _svg(width, height, parts, "lift", label)


def bar(share: float, label: str) -> Markup:
    """Draw a share between 0 and 1."""
    filled = round(200 * min(max(share, 0.0), 1.0), 1)
    parts = [
        '<rect class="track" x="0" y="0" width="200" height="8" rx="4"/>',
        f'<rect class="filled" x="0" y="0" width="{filled}" height="8" rx="4"/>',
    ]
    return _svg(200, 8, parts, "bar", label)


def _round_marks(most: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(most / 2))
    while most / step > 6:
        step *= 2 if math.log10(step) % 1 < 0.5 else 2.5
    return [mark * step for mark in range(1, int(most / step) + 1)]


def _in_sight(value: float) -> float:
    return min(max(value, LOWEST), HIGHEST)


def _svg(width: int, height: int, parts: Sequence[str], kind: str, label: str) -> Markup:
    safe = Markup.escape(label)
    return Markup(  # noqa: S704 - numbers and words of ours, the label escaped
        f'<svg class="{kind}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{safe}">'
        f"{''.join(parts)}</svg>"
    )
