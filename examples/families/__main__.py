"""Measure what right lessons do for a student: ``python -m examples.families [FAMILY ...]``.

Lessons are written by hand, the student answers held-out tasks at temperature 0, and nothing is
learned. The figures go to ``docs/results/families``, one file for each family and student.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from langchain_core.language_models import BaseChatModel

from examples.families import FAMILIES, Family
from examples.families.arms import arms
from examples.families.measure import Figures, Measurement
from examples.local_models import STUDENT, TEACHER, LocalModel, fetch, serve
from ted_memory.cli import output
from ted_memory.llm.calls import model_name
from ted_memory.wiring import make_chat_model

ORDER = (
    "none",
    *(f"{dose}, {place}" for place in ("system", "user") for dose in ("all", "best 3", "best 1")),
    *(f"{k} retrieved, {place}" for place in ("user", "turns") for k in (1, 3)),
)
"""Of the arms, in the table."""
RESULTS = Path(__file__).parent.parent.parent / "docs" / "results" / "families"

INTRODUCTION = Path(__file__).with_name("introduction.md")


class Size(NamedTuple):
    """How much is measured: held-out samples at most, and which arms; none named: all of them."""

    limit: int | None = None
    arms: tuple[str, ...] = ()


async def measure(family: Family, student: BaseChatModel, size: Size, path: Path) -> None:
    """Measure each arm that has no figures yet; keep them as soon as an arm is done."""
    train, held_out = family.read()
    held_out = held_out[: size.limit]
    who = "scripted" if family.student else model_name(student)
    figures = _kept(path)
    if figures.get("held_out") != len(held_out):
        head = {
            "family": family.name,
            "about": family.about,
            "student": who,
            "control": family.control,
        }
        figures = {
            **head,
            "train": len(train),
            "held_out": len(held_out),
            "lessons": len(family.rules),
            "arms": {},
        }
    measurement = Measurement(family, student, held_out)
    for arm in await arms(family, train, family.lessons):
        is_wanted = not size.arms or arm.name in size.arms
        if is_wanted and arm.name not in figures["arms"]:
            figures["arms"][arm.name] = await measurement.arm(arm)
            _keep(path, figures)
            output.out.print(
                f"  {arm.name:24} {figures['arms'][arm.name]['accuracy']:.3f}", markup=False
            )


def _kept(path: Path) -> Figures:
    figures: Figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def _keep(path: Path, figures: Figures) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(folder: Path) -> None:
    """Write ``README.md`` from the figures that are there.

    It has a row for each family and student, and a column for each arm.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = {name: i for i, name in enumerate(FAMILIES)}
    found.sort(key=lambda figures: (order.get(figures["family"], len(order)), figures["student"]))
    columns = [arm for arm in ORDER if any(arm in figures["arms"] for figures in found)]
    rows = [
        "| family | student | held out | " + " | ".join(columns) + " |",
        "|---" * (3 + len(columns)) + "|",
    ]
    for figures in found:
        cells = [figures["family"], figures["student"], str(figures["held_out"])]
        for column in columns:
            arm = figures["arms"].get(column)
            cells.append(f"{arm['accuracy']:.2f}" if arm else "")
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join(rows)
    introduction = INTRODUCTION.read_text(encoding="utf-8")
    (folder / "README.md").write_text(f"{introduction}\n{table}\n", encoding="utf-8")


async def _run(families: Sequence[Family], model: LocalModel, url: str, size: Size) -> None:
    for family in families:
        if family.student:
            student, short = family.student(), "scripted"
        else:
            student = _local(model.name, url, family)
            short = "1.5b" if model is TEACHER else "0.5b"
        output.out.print(f"[bold]{family.name}[/], {short}")
        await measure(family, student, size, RESULTS / f"{family.name}-{short}.json")
    write_table(RESULTS)


def _local(name: str, url: str, family: Family) -> BaseChatModel:
    return make_chat_model(name, base_url=url, temperature=0, max_tokens=family.answer_tokens)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Families; none: all of them.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="A server that runs already; none: one is started.")
    ] = None,
    large: Annotated[bool, typer.Option(help="The 1.5B as student instead of the 0.5B.")] = False,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(help="Held-out samples at most.")] = None,
) -> None:
    """Measure what has no figures yet, then write the table."""
    families = [FAMILIES[name] for name in names or FAMILIES]
    model = TEACHER if large else STUDENT
    size = Size(limit, tuple(arm or ()))
    if base_url:
        asyncio.run(_run(families, model, base_url, size))
        return
    with serve(fetch(model)) as (url,):
        asyncio.run(_run(families, model, url, size))


if __name__ == "__main__":
    typer.run(main)
