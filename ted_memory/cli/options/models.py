"""Which models are called, and how many calls are made at a time."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

_option = partial(typer.Option, rich_help_panel="Models")

Student = Annotated[
    str,
    _option("--student", help="provider:model, or a model's name with --student-base-url."),
]
StudentUrl = Annotated[
    str | None, _option("--student-base-url", help="OpenAI-compatible server of the student.")
]
StudentTokens = Annotated[
    int | None, _option("--student-max-tokens", min=1, help="Longest answer of the student.")
]
StudentTemperature = Annotated[
    float | None,
    _option(
        "--student-temperature",
        min=0,
        help="Of the student; attempts while learning may have their own, --temperature.",
    ),
]
Temperature = Annotated[
    str | None,
    _option(
        "--temperature",
        help="Of the attempts while learning; none: the student's own.  [default: none]",
    ),
]
Teacher = Annotated[
    str,
    _option("--teacher", help="provider:model, or a model's name with --teacher-base-url."),
]
TeacherUrl = Annotated[
    str | None, _option("--teacher-base-url", help="OpenAI-compatible server of the teacher.")
]
Concurrency = Annotated[
    int | None, _option("--concurrency", help="Model calls in flight.  [default: 8]")
]
