"""Plots as PNG, drawn with matplotlib (extra ``plots``), which is imported when the first one is drawn.

Only figures of its own are used, never pyplot: whoever calls us in a notebook keeps their figures and backend.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ted_memory.distill.report import SetSize
from ted_memory.errors import SettingsError
from ted_memory.evaluation.compare import CurvePoint
from ted_memory.experience.utility import Utility
from ted_memory.models import Caps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 50  # characters of a lesson beside its bar
MOST_BARS = 100  # what one can still scroll through
DOTS = 150  # per inch
BLUE, ORANGE, GREY = "#1f5fa8", "#c8601a", "#777777"
FONT = "DejaVu Sans"  # comes with matplotlib, so that a report looks the same everywhere
SUBSTITUTE = "\N{WHITE SQUARE}"


def check_installed() -> None:
    """Make sure that plots can be drawn.

    Raises:
        SettingsError: matplotlib is missing, or cannot be imported.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f'plots need the package matplotlib ({error}); install it with: pip install "ted-memory[plots]", '
            "or ask for a report without plots"
        ) from error


def learning_curve(points: Sequence[CurvePoint], without: float) -> bytes:
    """Return a PNG of accuracy, and of the number of active experiences, over versions.

    Args:
        points: oldest version first; at least one.
        without: accuracy with no experiences, drawn as a line.
    """
    figure, (above, below) = _panels(2)
    versions = [point.version for point in points]
    above.axhline(without, color=GREY, linestyle="--", label=f"without experiences ({without:.3f})")
    label = f"with the experiences of that version (now {points[-1].accuracy:.3f})"
    above.plot(versions, [point.accuracy for point in points], "o-", color=BLUE, label=label)
    above.set_ylim(-0.03, 1.03)
    above.set_ylabel("accuracy\n(mean score, 0 to 1)")
    # above the panel: inside, no place is free of the line for every curve
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    below.plot(versions, [point.active for point in points], "s-", color=ORANGE)
    below.set_ylim(bottom=0)
    below.set_ylabel("active experiences\n(number)")
    _whole_numbers(below)
    figure.suptitle("Learning curve")
    return _png(figure)


def lift(rows: Sequence[tuple[str, Utility, bool]]) -> bytes:
    """Return a PNG of the lift of each experience with its 90 % bounds, in the order given, the first on top.

    Args:
        rows: label, lift, and whether anything was measured; at least one. Of more than 100 the first and last 50.
    """
    shown = list(rows)
    if len(rows) > MOST_BARS:
        shown = [*rows[: MOST_BARS // 2], *rows[-MOST_BARS // 2 :]]
    figure = _figure(10.0, 1.6 + 0.24 * max(len(shown), 4))
    axes = figure.subplots()
    places = range(len(shown))
    for tested, color, name in ((True, BLUE, "measured"), (False, GREY, "not measured yet: only the prior")):
        group = [(place, row[1]) for place, row in zip(places, shown, strict=True) if row[2] is tested]
        if group:
            _bars(axes, group, color, name, filled=tested)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(places), [short(row[0]) for row in shown], fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("lift (difference in mean score, with minus without the experience)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    part = f", the first and last of {len(rows)}" if len(rows) > len(shown) else ""
    figure.suptitle(f"Lift of each experience with 90 % bounds{part}")
    return _png(figure)


def _bars(axes: "Axes", group: Sequence[tuple[int, Utility]], color: str, name: str, *, filled: bool) -> None:
    means = [utility.mean for _, utility in group]
    # rounding can put a bound on the wrong side of its mean, which matplotlib refuses
    arms = (
        [max(utility.mean - utility.low, 0) for _, utility in group],
        [max(utility.high - utility.mean, 0) for _, utility in group],
    )
    axes.errorbar(
        means,
        [place for place, _ in group],
        xerr=arms,
        fmt="o",
        color=color,
        markerfacecolor=color if filled else "white",
        markersize=5,
        capsize=3,
        label=name,
    )


def set_size(sizes: Sequence[tuple[int, SetSize]], caps: Caps, period: str = "") -> bytes:
    """Return a PNG of active experiences and tokens over versions, with their caps.

    Args:
        sizes: version and size, oldest first; at least one.
        caps: today's, drawn as lines.
        period: when these versions were made, for the title.
    """
    figure, panels = _panels(2)
    versions = [version for version, _ in sizes]
    curves = (
        ([size.active for _, size in sizes], caps.max_experiences, BLUE, "active experiences\n(number)"),
        ([size.tokens for _, size in sizes], caps.token_budget, ORANGE, "size of the block\n(tokens)"),
    )
    marker = "o" if len(sizes) <= 40 else ""
    for axes, (values, cap, color, label) in zip(panels, curves, strict=True):
        axes.axhline(cap, color=GREY, linestyle="--", label=f"cap today ({cap:,})")
        axes.step(versions, values, where="post", color=color, marker=marker, label=f"now {values[-1]:,}")
        axes.set_ylim(0, 1.08 * max(cap, *values, 1))
        axes.set_ylabel(label)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, frameon=False)
        _whole_numbers(axes)
    figure.suptitle("Size of the set" + (f", {period}" if period else ""))
    return _png(figure)


def short(text: str, limit: int = LABEL) -> str:
    """Return a text on one line of at most `limit` characters, with a square for what the font cannot show."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    line = " ".join(text.split())
    line = line if len(line) <= limit else line[: limit - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    return "".join(char if ord(char) in known else SUBSTITUTE for char in line)


def _figure(width: float, height: float) -> "Figure":
    check_installed()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panels(number: int) -> tuple["Figure", Any]:
    """Return a figure with panels one above the other, which share the axis of versions."""
    figure = _figure(8.0, 6.0)
    panels = figure.subplots(number, 1, sharex=True)
    for axes in panels:
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("version of the set")
    _whole_numbers(panels[-1], "x")
    return figure, panels


def _whole_numbers(axes: "Axes", which: str = "y") -> None:
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def _png(figure: "Figure") -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    return drawn.getvalue()
