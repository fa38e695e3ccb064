"""Which samples a command reads."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_option = partial(typer.Option, rich_help_panel="Data")

_FILE = typer.Argument(
    metavar="FILE",
    help="Data set: JSON Lines, CSV, Parquet, or a folder that Hugging Face's datasets saved.",
    show_default=False,
)
File = Annotated[Path, _FILE]
OptionalFile = Annotated[Path | None, _FILE]
FromTraffic = Annotated[
    bool,
    _option(
        "--from-traffic",
        help="Learn from archived episodes, the newest --limit, instead of a FILE.",
    ),
]
UpTo = Annotated[
    str | None,
    _option(
        "--up-to",
        metavar="RUN_ID",
        help="With --from-traffic: the newest run to take, "
        "so that an interrupted command finds the same samples.",
    ),
]
Mapping = Annotated[
    str,
    _option("--mapping", help="What its columns mean: auto, ted, mathvision, visualpuzzles."),
]
Split = Annotated[
    str | None, _option("--split", help="Which part of a saved data set: train, test, ...")
]
Limit = Annotated[int | None, _option("--limit", min=1, help="Use only the first so many samples.")]
