"""The report of `make bench`: docs/results/benchmarks.md, with a picture of how costs grow."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from rich.table import Table

from bench.figures import Growth, Measured, number
from ted_memory.storage.embedded.server import find_server

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "benchmarks.md"
PICTURE = PAGE.with_suffix(".svg")
NAMED = ("langchain", "langgraph", "langchain-core", "redis", "pydantic")
MET = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Area:
    """What was measured of one area."""

    title: str
    about: str
    found: tuple[Measured, ...]


def table(area: Area) -> Table:
    """An area as the terminal shows it."""
    shown = Table("what", "ours", "beside it", "ratio", "target", "met", title=area.title)
    for one in area.found:
        shown.add_row(*(cell.replace("**", "") for cell in _cells(one)))
    return shown


def write(areas: Sequence[Area]) -> Path:
    """Write the report and its picture."""
    growths = [one for area in areas for one in area.found if isinstance(one, Growth)]
    _draw(growths)
    parts = [_head(areas)]
    parts += [_section(area) for area in areas]
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    return PAGE


def _head(areas: Sequence[Area]) -> str:
    found = [one.is_met for area in areas for one in area.found if one.is_met is not None]
    libraries = ", ".join(f"{name} {version(name)}" for name in NAMED)
    server = subprocess.run(
        [find_server(), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    named = next((part[2:] for part in server if part.startswith("v=")), "")
    told = (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}. "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {libraries}; {server[0]} "
        f"{named} over a unix socket, without persistence. What is random has fixed seeds. Ratios "
        "are of one run; each area runs in a process of its own. Models and embedders are scripted "
        f"and answer at once, unless it says otherwise. Of {len(found)} targets {sum(found)} are "
        "met; a target is of the ratio where something stands beside, else of the value. "
        "[What is behind the misses](../scale.md#what-misses-its-target-and-why)."
    )
    return f"# Benchmarks\n\n{fill(told, 124)}\n\n![How costs grow]({PICTURE.name})\n"


def _section(area: Area) -> str:
    rows = ["| what | ours | beside it | ratio | target | met |", "|---|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_cells(one))} |" for one in area.found]
    return f"## {area.title}\n\n{fill(area.about, 124)}\n\n" + "\n".join(rows) + "\n"


def _cells(one: Measured) -> tuple[str, str, str, str, str, str]:
    if isinstance(one, Growth):
        points = ", ".join(f"{number(cost)} at {size:,.0f}" for size, cost in one.points)
        ratio = f"exponent {one.exponent:.2f}, last {one.ratio:.2f}x"
        what = f"{one.what}, by {one.of}"
        return what, f"{points} {one.unit}", "", ratio, one.target, MET[one.is_met]
    note = f" ({one.note})" if one.note else ""
    beside = "" if one.theirs is None else f"{one.beside}: {number(one.theirs)} {one.unit}".strip()
    ratio = "" if one.ratio is None else f"{number(one.ratio)}x"
    ours = f"{number(one.ours)} {one.unit}".strip() + note
    return one.what, ours, beside, ratio, one.target, MET[one.is_met]


def _draw(growths: Sequence[Growth]) -> None:
    """Draw each cost by the cost at the smallest size: what is flat stays at 1."""
    mpl.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    for growth in growths:
        sizes = [size for size, _ in growth.points]
        costs = [cost / growth.points[0][1] for _, cost in growth.points]
        axes.plot(sizes, costs, marker="o", label=f"{growth.what}, by {growth.of}")
    axes.set(xscale="log", yscale="log", xlabel="size", ylabel="cost, by that of the smallest size")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
