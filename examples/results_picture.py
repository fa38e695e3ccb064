"""``python -m examples.results_picture``: draw what was measured of learning, for the first page.

Left: held-out tasks without lessons and with those that were learned, with the 95 % interval of the
paired difference, from ``docs/results/runs``. Right: a live agent that begins with nothing, the
share of right answers in each fifty requests. The file is SVG of our own, the same each time.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.results_summary import means_of

RUNS = Path(__file__).parent.parent / "docs" / "results" / "runs"
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "learned.svg"
FAMILIES = ("museum", "townhall", "helpdesk", "intents", "replies", "loglines", "machines")
"""All that have a real teacher and a task that a lesson can help with; in the table's order."""

INK, FAINT, BEFORE, AFTER = "#222222", "#dddddd", "#9a9a9a", "#1f5fa8"
TOP, HEIGHT = 56, 240  # of both plots


def bar_of(family: str) -> dict[str, Any]:
    """Accuracy without and with the lessons of a real teacher: means over all runs of a family.

    The interval is that of the first run with a real teacher: it is of samples, not of runs.
    """
    files = sorted(RUNS.glob(f"{family}-*.json"))
    means = means_of([json.loads(path.read_text(encoding="utf-8")) for path in files])
    first = json.loads((RUNS / f"{family}-ted.json").read_text(encoding="utf-8"))
    without, interval = first["arms"]["none"]["accuracy"], first["arms"]["ted"]["difference"]
    return {
        "family": family,
        "before": means["none"],
        "after": means["ted"],
        "low": without + interval["low"],
        "high": without + interval["high"],
    }


def windows() -> tuple[list[float], int]:
    """The share of right answers in each window of the run with live traffic, and their size."""
    run = json.loads((RUNS / "traffic.json").read_text(encoding="utf-8"))
    return run["windows"], run["window"]


def height_of(share: float) -> float:
    """Where a share from 0 to 1 stands, in pixels from above."""
    return TOP + HEIGHT * (1 - share)


def picture() -> str:
    """Draw it, as SVG."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 350" width="960" height="350" '
        'font-family="sans-serif" font-size="13">',
        "<title>Accuracy without and with lessons, and what an agent learns from traffic</title>",
        '<rect width="960" height="350" fill="#ffffff"/>',
        *_axes(44, 520, "From a data set: held-out tasks, a 0.5B student, a 1.5B teacher"),
        *_bars(),
        *_axes(620, 940, "From live traffic: ten offices, nothing known"),
        *_curve(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "middle", fill: str = INK) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def _axes(left: int, right: int, title: str) -> list[str]:
    lines = [_text(left, 22, title, anchor="start")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = height_of(share)
        lines.append(f'<path d="M{left} {y:.0f}H{right}" stroke="{FAINT}"/>')
        lines.append(_text(left - 6, y + 4, f"{share:.2f}", anchor="end"))
    return lines


def _bars() -> list[str]:
    lines = [
        _text(44, 42, "without", fill=BEFORE, anchor="start"),
        _text(
            104,
            42,
            "with the lessons that were learned, and their interval",
            fill=AFTER,
            anchor="start",
        ),
    ]
    for place, family in enumerate(FAMILIES):
        lines += _bar(60 + place * 66, bar_of(family))
    return lines


def _bar(x: int, bar: dict[str, Any]) -> list[str]:
    lines = []
    for left, share, color in ((x, bar["before"], BEFORE), (x + 22, bar["after"], AFTER)):
        tall = HEIGHT * share
        lines.append(
            f'<rect x="{left}" y="{height_of(share):.1f}" width="20" height="{tall:.1f}" '
            f'fill="{color}"/>'
        )
    top, bottom = height_of(min(bar["high"], 1.0)), height_of(bar["low"])
    lines.append(f'<path d="M{x + 32} {top:.1f}V{bottom:.1f}" stroke="{INK}" stroke-width="2"/>')
    lines.append(_text(x + 21, TOP + HEIGHT + 18, bar["family"]))
    lines.append(_text(x + 21, TOP + HEIGHT + 36, f"{bar['after']:.2f}", fill=AFTER))
    return lines


def _curve() -> list[str]:
    shares, size = windows()
    step = 320 / len(shares)
    points = [(620 + step * (i + 0.5), height_of(share)) for i, share in enumerate(shares)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        f'<polyline points="{path}" fill="none" stroke="{AFTER}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{AFTER}"/>' for x, y in points),
        *_ticks(shares, size),
        _text(780, TOP + HEIGHT + 36, f"requests; right answers in each {size}"),
    ]


def _ticks(shares: Sequence[float], size: int) -> list[str]:
    lines = []
    for share in (0.0, 0.5, 1.0):
        x = 620 + 320 * share
        lines.append(_text(x, TOP + HEIGHT + 18, f"{len(shares) * size * share:.0f}"))
    return lines


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m examples.results_picture", description=__doc__
    ).parse_args()
    PICTURE.write_text(picture(), encoding="utf-8")
