"""What is measured beside the lessons, and the report that is written of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ted_memory.errors import InvalidInput, SettingsError

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill import Prices, Report
    from ted_memory.evaluation import TrainingComparison

_option = partial(typer.Option, rich_help_panel="Report")

Repeats = Annotated[
    int,
    typer.Option("--repeats", min=1, help="Answers to each sample on each side."),
]
OlderVersions = Annotated[
    int,
    typer.Option(
        "--checkpoints", min=0, help="Older versions to measure too, for a learning curve."
    ),
]
Examples = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        metavar="FILE",
        help="Solved samples, such as those learned from: "
        "the nearest are shown in place of lessons, as a third side.",
    ),
]
ExamplesSplit = Annotated[
    str | None, typer.Option("--examples-split", help="Which part of saved --examples.")
]
ReportFolder = Annotated[
    Path | None,
    _option("--report", metavar="FOLDER", help="Write report.md, report.json and plots there."),
]
Learning = Annotated[
    Path | None,
    _option(
        "--learning",
        metavar="FILE",
        help="What 'distill --json' printed: its cost goes into the report.",
    ),
]
GpuHours = Annotated[
    float | None,
    _option(
        "--gpu-hours", help="Of training the weights instead, to compare the cost of learning."
    ),
]
GpuHourPrice = Annotated[
    float | None, _option("--gpu-hour-price", help="Price of one, in the money of --prices.")
]


@dataclass(frozen=True)
class ReportOptions:
    """The folder that a report goes into, and what else stands in it."""

    folder: Path
    learning: Report | None
    training: TrainingComparison | None
    prices: Prices | None


def report_options_of(
    folder: Path | None,
    learning: Path | None,
    prices: Prices | None,
    gpu_hours: float | None,
    gpu_hour_price: float | None,
) -> ReportOptions | None:
    """Check what a report needs, before anything is paid for; without a folder there is none.

    Raises:
        SettingsError: one option needs another that was not given.
        InvalidInput: the file of ``learning`` holds no report.
        MissingExtra: the plots need a package that is not installed.
    """
    from ted_memory.evaluation.plots import check_installed

    if folder is None:
        if learning or gpu_hours is not None or gpu_hour_price is not None:
            raise SettingsError(
                "--learning, --gpu-hours and --gpu-hour-price are for a report; "
                "give --report FOLDER"
            )
        return None
    check_installed()
    learned = _read_learning(learning)
    training = _training_of(learned, prices, gpu_hours, gpu_hour_price)
    return ReportOptions(folder, learned, training, prices)


def _training_of(
    learned: Report | None,
    prices: Prices | None,
    gpu_hours: float | None,
    gpu_hour_price: float | None,
) -> TrainingComparison | None:
    from ted_memory.evaluation import compare_with_training

    if gpu_hours is None and gpu_hour_price is None:
        return None
    if learned is None or prices is None or gpu_hours is None or gpu_hour_price is None:
        raise SettingsError(
            "to compare with training, "
            "--learning, --prices, --gpu-hours and --gpu-hour-price are all needed"
        )
    return compare_with_training(prices.cost(learned.spend), gpu_hours, gpu_hour_price)


def _read_learning(path: Path | None) -> Report | None:
    from ted_memory.distill import Report

    if path is None:
        return None
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(
            f"{path} is not what 'ted-memory distill --json' prints ({reason})"
        ) from None
