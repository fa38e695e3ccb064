"""The plots are images that show something."""

import io
import itertools
import sys
from datetime import UTC, datetime

import pytest
from PIL import Image

from ted_memory import Add, Remove, TedMemory
from ted_memory.errors import MissingExtra
from ted_memory.evaluation import plots
from ted_memory.evaluation.plots import LessonLift, VersionSize, lifts_of, sizes_of
from ted_memory.evaluation.results import CurvePoint
from ted_memory.experience.lift import estimate
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Caps, Usage
from ted_memory.testing import in_memory
from tests.distill.scripts import CODES

CAPS = Caps(max_experiences=50, token_budget=2000)
HOSTILE = (
    r"$x_{1$ \frac{ | `rm` <script>alert(1)</script>" + "\n# a second line\x1b[31m \u202e漢字 🙂"
)


def image(drawn: bytes) -> Image.Image:
    """Open a plot; it must be a PNG of a size that one can read, with more than one colour."""
    opened = Image.open(io.BytesIO(drawn))
    opened.load()
    assert opened.format == "PNG"
    assert opened.width > 300
    assert opened.height > 200
    colours = opened.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colours is not None
    assert len(colours) > 10, "a blank image"
    return opened


def row(text: str = "say it", *, lift: float = 0.1, measured: bool = True) -> LessonLift:
    return LessonLift(
        id="a", state="active", when="", text=text, tokens=5,
        lift=lift, low=lift - 0.1, high=lift + 0.1, measured=measured,
    )  # fmt: skip


def size(version: int, active: int = 1) -> VersionSize:
    return VersionSize(version=version, at=None, active=active, tokens=40 * active)


def test_a_learning_curve_is_drawn_of_one_version_and_of_many() -> None:
    for versions in ([4], [0, 1], range(0, 900, 9)):
        points = [CurvePoint(version=v, active=v % 50, accuracy=v / 900) for v in versions]
        image(plots.learning_curve(points, without=0.1))


def test_the_size_of_a_set_is_drawn_of_one_version_and_of_many() -> None:
    for versions in ([7], [0, 1], range(1000)):
        image(plots.set_size([size(v, v % 50) for v in versions], CAPS))


def test_lifts_are_drawn_of_none_measured_and_of_all() -> None:
    for measured in (True, False):
        image(plots.lift([row(measured=measured)]))
    image(plots.lift([row(), row(measured=False)]))


def test_an_image_grows_with_its_experiences_until_nobody_would_look_at_more() -> None:
    few, many, most, more = (image(plots.lift([row()] * n)).height for n in (10, 50, 100, 500))
    assert few < many < most == more


def test_labels_of_fifty_experiences_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(plots, "_png", figures.append)
    plots.lift([row("wide words " * 30, lift=0.5 - i / 50) for i in range(50)])
    (figure,) = figures
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 50
    assert all(below.y1 <= above.y0 for above, below in itertools.pairwise(boxes))
    inside = figure.axes[0].get_window_extent(renderer)
    assert all(box.x0 >= 0 and box.x1 <= inside.x0 for box in boxes), "cut off, or in the plot"


def test_hostile_texts_are_drawn_as_text() -> None:
    image(plots.lift([row(HOSTILE), row(HOSTILE[::-1]), row("$$"), row("\\$"), row("\ud800")]))


def test_a_label_is_one_line_of_bearable_length_in_signs_that_the_font_has() -> None:
    assert plots.short("a\nb\t c") == "a b c"
    assert plots.short("x" * 80) == "x" * 49 + "…"
    assert plots.short("ä ж 漢 \x1b") == "ä ж □ □"


def test_nothing_of_a_users_own_plots_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    # another test's package may use it
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plots.lift([row()])
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"ted-memory\[plots\]"):
        plots.check_installed()
    with pytest.raises(MissingExtra, match="matplotlib"):
        plots.lift([row()])


async def test_lifts_are_those_of_the_usage_highest_first(scratch: TedMemory) -> None:
    await scratch.commit([Add(text=f"lesson {name}") for name in ("a", "b", "c")], author="me")
    a, b, c = await scratch.load()
    usage = {
        a.id: Usage(weight=10, weighted_difference=-4),
        c.id: Usage(n_with=8, successes_with=8, n_without=8),
    }
    rows = lifts_of(await scratch.load(), usage)
    assert [(r.id, r.measured) for r in rows] == [(c.id, True), (b.id, False), (a.id, True)]
    known = estimate(usage[a.id])
    assert (rows[2].lift, rows[2].low, rows[2].high) == (known.mean, known.low, known.high)
    assert rows[2].lift == pytest.approx(-4 / 0.25 / (1 / 0.04 + 10 / 0.25))


async def test_sizes_are_those_that_each_version_had(scratch: TedMemory) -> None:
    seen = [(0, 0, 0)]
    for thing in list(CODES)[:4]:
        await scratch.commit(
            [Add(text=f"say {CODES[thing]}", when=f"asked about {thing}")], author="me"
        )
        now = await scratch.load()
        seen.append(
            (now.version, len(now.active), FRAME_TOKENS + sum(e.tokens for e in now.active))
        )
    await scratch.commit(
        [Remove(id=now.experiences[0].id), Add(text="wait", state="proposed")], author="me"
    )
    now = await scratch.load()
    seen.append((5, 3, FRAME_TOKENS + sum(e.tokens for e in now.active)))
    sizes = sizes_of(now, await scratch.log(limit=99))
    assert [(s.version, s.active, s.tokens) for s in sizes] == seen
    assert [s.at is None for s in sizes] == [True] + [False] * 5
    assert datetime.fromisoformat(sizes[-1].at or "").astimezone(UTC) <= datetime.now(UTC)


async def test_sizes_reach_as_far_back_as_the_log(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", history_versions=3)
    for thing in list(CODES)[:6]:
        await memory.commit([Add(text=f"say {CODES[thing]}")], author="me")
        if thing == "dates":
            earlier = await memory.load()
    log = await memory.log(limit=99)
    assert [(s.version, s.active) for s in sizes_of(await memory.load(), log)] == [
        (3, 3),
        (4, 4),
        (5, 5),
        (6, 6),
    ]
    assert [s.version for s in sizes_of(earlier, log)] == [3, 4], (
        "what came after the snapshot is passed over"
    )
    assert [s.version for s in sizes_of(await memory.load(), log[2:])] == [6], (
        "after a gap nothing is known"
    )
    assert [s.version for s in sizes_of(await memory.load(), [])] == [6]


async def test_a_set_that_was_purged_still_has_sizes(scratch: TedMemory) -> None:
    await scratch.commit(
        [Add(text="from anna", sources=("principal:anna",)), Add(text="from me")], author="me"
    )
    await scratch.purge("principal:anna")
    sizes = sizes_of(await scratch.load(), await scratch.log(limit=99))
    assert [s.active for s in sizes] == [0, 2, 1]
