"""The options of `examples.paper`."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(
        help="MathVision or VisualPuzzles: saved to disk by datasets, Parquet, CSV, JSON Lines."
    ),
]
Student = Annotated[
    str, typer.Option(help="provider:model, or a name with --student-base-url. It must see.")
]
Teacher = Annotated[
    str, typer.Option(help="provider:model, or a name with --teacher-base-url. It must see.")
]
StudentBaseUrl = Annotated[
    str | None, typer.Option(help="OpenAI-compatible server of the student.")
]
TeacherBaseUrl = Annotated[
    str | None, typer.Option(help="OpenAI-compatible server of the teacher.")
]
Benchmark = Annotated[
    str | None, typer.Option(help="mathvision or visualpuzzles; without it the columns tell.")
]
TrainSplit = Annotated[str | None, typer.Option(help="Part of the data set to learn from.")]
TestSplit = Annotated[
    str | None, typer.Option(help="Part to measure on; without it the rest of --train-split.")
]
Train = Annotated[int, typer.Option(min=1, help="Training samples, chosen by chance.")]
TestLimit = Annotated[int | None, typer.Option(min=1, help="Measure on so many, chosen by chance.")]
Seed = Annotated[int, typer.Option(help="The same seed chooses the same samples.")]
Rollouts = Annotated[int, typer.Option(help="Attempts a sample.")]
ShownShare = Annotated[float, typer.Option(help="Share of the set that each attempt sees.")]
Selection = Annotated[str, typer.Option(help="Experiences that are shown: all, budget, relevant.")]
Validation = Annotated[
    float, typer.Option(help="Share of the training samples for a validation gate; 0: all teach.")
]
Grader = Annotated[
    str | None,
    typer.Option(help="How answers are scored; without it by math for MathVision, else by auto."),
]
Repeats = Annotated[int, typer.Option(min=1, help="Answers to each test sample on each side.")]
Namespace = Annotated[
    str | None, typer.Option(help="Experience set; without it the benchmark's name.")
]
Url = Annotated[
    str | None, typer.Option(help="Redis or Valkey server; without it an embedded one.")
]
Home = Annotated[str | None, typer.Option(help="Folder of the embedded server.")]
Report = Annotated[
    Path | None, typer.Option(help="Write report.md, report.json and plots to this folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
