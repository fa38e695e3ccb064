"""What a report shows of a set: its lifts, its sizes, and plots of them as PNG.

The plots need matplotlib (extra ``plots``), which is imported when the first one is drawn.

Only figures of its own are used, never pyplot: whoever calls us in a notebook keeps their figures
and backend.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ted_memory.errors import MissingExtra
from ted_memory.evaluation.results import Arm, CurvePoint
from ted_memory.experience.lift import estimate
from ted_memory.experience.lineage import undone
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.fields import Frozen
from ted_memory.models import Caps, Experience, ExperienceSet, LogEntry, Usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 50  # characters of a lesson beside its bar
MOST_BARS = 100  # what one can still scroll through
DOTS = 150  # per inch
BLUE, ORANGE, GREY = "#1f5fa8", "#c8601a", "#777777"
FONT = "DejaVu Sans"  # comes with matplotlib, so that a report looks the same everywhere
SUBSTITUTE = "\N{WHITE SQUARE}"


class LessonLift(Frozen):
    """One experience with its lift and the 90 % bounds, in units of score.

    Where it is not ``measured`` they are those of the prior.
    """

    id: str
    state: str
    when: str
    text: str
    tokens: int
    lift: float
    low: float
    high: float
    measured: bool

    @property
    def lesson(self) -> str:
        """The experience on one line."""
        return f"When {self.when}: {self.text}" if self.when else self.text


class VersionSize(Frozen):
    """The size of one version of the set.

    ``at`` is ISO 8601 in UTC, None where the log does not reach.
    """

    version: int
    at: str | None
    active: int
    tokens: int


def lifts_of(experiences: Iterable[Experience], usage: Mapping[str, Usage]) -> list[LessonLift]:
    """Estimate the experiences' lifts, highest first; the set's order breaks ties."""
    rows = []
    for e in experiences:
        used = usage.get(e.id, Usage())
        lift = estimate(used)
        rows.append(
            LessonLift(
                id=e.id,
                state=e.state,
                when=e.when,
                text=e.text,
                tokens=e.tokens,
                lift=lift.mean,
                low=lift.low,
                high=lift.high,
                measured=used.weight > 0 or bool(used.n_with and used.n_without),
            )
        )
    return sorted(rows, key=lambda row: -row.lift)


def sizes_of(snapshot: ExperienceSet, log: Iterable[LogEntry]) -> list[VersionSize]:
    """Measure each version that a log (newest first) leads back to, oldest first.

    The last is the snapshot itself, the first the version before the log's oldest entry.
    """
    experiences, version = snapshot.experiences, snapshot.version
    sizes = []
    for entry in log:
        if entry.version > version:
            continue  # committed after the snapshot was taken
        if entry.version < version:
            break  # a gap: what came before cannot be told
        sizes.append(_size(version, entry.at.isoformat(), experiences))
        experiences, version = undone(experiences, [entry]), version - 1
    sizes.append(_size(version, None, experiences))
    return sizes[::-1]


def _size(version: int, at: str | None, experiences: Iterable[Experience]) -> VersionSize:
    active = [e for e in experiences if e.state == "active"]
    tokens = FRAME_TOKENS + sum(e.tokens for e in active) if active else 0
    return VersionSize(version=version, at=at, active=len(active), tokens=tokens)


def check_installed() -> None:
    """Make sure that plots can be drawn.

    Raises:
        MissingExtra: matplotlib is missing, or cannot be imported.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtra("matplotlib", "plots", "a report with plots") from error


def learning_curve(points: Sequence[CurvePoint], without: float) -> bytes:
    """Draw accuracy, and the number of active experiences, over versions; a PNG.

    Args:
        points: oldest version first; at least one.
        without: accuracy with no experiences, drawn as a line.
    """
    versions = [point.version for point in points]
    figure, (above, below) = _panels(2, versions)
    above.axhline(without, color=GREY, linestyle="--", label=f"without experiences ({without:.3f})")
    label = f"with the experiences of that version (now {points[-1].accuracy:.3f})"
    above.plot(versions, [point.accuracy for point in points], "o-", color=BLUE, label=label)
    above.set_ylim(-0.03, 1.03)
    above.set_ylabel("accuracy\n(mean score, 0 to 1)")
    # above the panel: inside, no place is free of the line for every curve
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    below.plot(versions, [point.active for point in points], "s-", color=ORANGE, clip_on=False)
    below.set_ylim(bottom=0)
    below.set_ylabel("active experiences\n(number)")
    _whole_numbers(below)
    figure.suptitle("Learning curve")
    return _png(figure)


def arms(sides: Mapping[str, Arm]) -> bytes:
    """Draw the accuracy of each side, with the tokens of its block; a PNG.

    Args:
        sides: by name, from top to bottom; at least one.
    """
    figure = _figure(8.0, 1.4 + 0.6 * len(sides))
    axes = figure.subplots()
    names, places = list(sides), range(len(sides))
    colors = [GREY, BLUE, ORANGE][: len(sides)]
    axes.barh(places, [arm.accuracy for arm in sides.values()], color=colors, height=0.6)
    for place, arm in enumerate(sides.values()):
        axes.text(
            0.01,
            place,
            f"{arm.accuracy:.3f}, {arm.tokens:,.0f} tokens",
            va="center",
            parse_math=False,
        )
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03)
    axes.set_xlabel("accuracy (mean score, 0 to 1)")
    axes.grid(axis="x", alpha=0.3)
    figure.suptitle("What the student is shown")
    return _png(figure)


def lift(rows: Sequence[LessonLift]) -> bytes:
    """Draw the lift of each experience with its 90 % bounds, the first on top; a PNG.

    Args:
        rows: at least one. Of more than 100 the first and the last 50 are shown.
    """
    shown = list(enumerate(rows, 1))
    if len(rows) > MOST_BARS:
        shown = [*shown[: MOST_BARS // 2], *shown[-MOST_BARS // 2 :]]
    figure = _figure(10.0, 1.6 + 0.24 * max(len(shown), 4))
    axes = figure.subplots()
    for measured, color, name in (
        (True, BLUE, "measured"),
        (False, GREY, "not measured yet: only the prior"),
    ):
        group = [(place, row) for place, (_, row) in enumerate(shown) if row.measured is measured]
        if group:
            _bars(axes, group, color, name, filled=measured)
    axes.axvline(0, color="black", linewidth=0.8)
    labels = [short(f"{number}. {row.lesson}") for number, row in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8, fontfamily=FONT, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("lift (difference in mean score, with minus without the experience)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    part = f", the first and last of {len(rows)}" if len(rows) > len(shown) else ""
    figure.suptitle(f"Lift of each experience with 90 % bounds{part}")
    return _png(figure)


def _bars(
    axes: "Axes", group: Sequence[tuple[int, LessonLift]], color: str, name: str, *, filled: bool
) -> None:
    # rounding can put a bound on the wrong side of its mean, which matplotlib refuses
    arms = (
        [max(row.lift - row.low, 0) for _, row in group],
        [max(row.high - row.lift, 0) for _, row in group],
    )
    axes.errorbar(
        [row.lift for _, row in group],
        [place for place, _ in group],
        xerr=arms,
        fmt="o",
        color=color,
        markerfacecolor=color if filled else "white",
        markersize=5,
        capsize=3,
        label=name,
    )


def set_size(sizes: Sequence[VersionSize], caps: Caps) -> bytes:
    """Draw active experiences and tokens over versions, with their caps; a PNG.

    Args:
        sizes: oldest first; at least one.
        caps: today's, drawn as lines.
    """
    versions = [size.version for size in sizes]
    figure, panels = _panels(2, versions)
    curves = (
        (
            [size.active for size in sizes],
            caps.max_experiences,
            BLUE,
            "active experiences",
            "number",
        ),
        ([size.tokens for size in sizes], caps.token_budget, ORANGE, "size of the block", "tokens"),
    )
    marker = "o" if len(sizes) <= 40 else ""
    for axes, (values, cap, color, what, unit) in zip(panels, curves, strict=True):
        axes.axhline(cap, color=GREY, linestyle="--", label=f"cap today ({cap:,})")
        axes.step(
            versions,
            values,
            where="post",
            color=color,
            marker=marker,
            label=f"{what} (now {values[-1]:,})",
            clip_on=False,
        )
        axes.set_ylim(0, 1.08 * max(cap, *values, 1))
        axes.set_ylabel(f"{what}\n({unit})")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, frameon=False)
        _whole_numbers(axes)
    figure.suptitle(f"Size of the set{_period(sizes)}")
    return _png(figure)


def _period(sizes: Sequence[VersionSize]) -> str:
    days = [size.at[:10] for size in sizes if size.at]
    if not days:
        return ""
    return f", {days[0]} (UTC)" if days[0] == days[-1] else f", {days[0]} to {days[-1]} (UTC)"


def short(text: str, limit: int = LABEL) -> str:
    """Shorten a text to one line of `limit` characters at most.

    A square stands for what the font cannot show.
    """
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


def _panels(number: int, versions: Sequence[int]) -> tuple["Figure", Any]:
    """Make a figure of panels one above the other, which share an axis of versions.

    The versions are ordered, the oldest first.
    """
    figure = _figure(8.0, 6.0)
    panels = figure.subplots(number, 1, sharex=True)
    for axes in panels:
        axes.grid(alpha=0.3)
    # else one version alone gets ticks of fractions
    room = max(0.5, 0.03 * (versions[-1] - versions[0]))
    panels[-1].set_xlim(versions[0] - room, versions[-1] + room)
    panels[-1].set_xlabel("version of the set")
    _whole_numbers(panels[-1], "x")
    return figure, panels


def _whole_numbers(axes: "Axes", which: str = "y") -> None:
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(
        MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )


def _png(figure: "Figure") -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    return drawn.getvalue()
