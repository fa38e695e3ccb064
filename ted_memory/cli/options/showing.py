"""Which lessons a model is shown, and where."""

from functools import partial
from typing import Annotated

import typer

_option = partial(typer.Option, rich_help_panel="What the student is shown")

Selection = Annotated[
    str | None,
    _option("--selection", help="Which experiences are shown: all, budget, relevant."),
]
TopK = Annotated[int | None, _option("--top-k", help="How many, for --selection relevant.")]
Retrieval = Annotated[
    str | None,
    _option("--retrieval", help="How lessons are found: words, or local (words and embeddings)."),
]
Language = Annotated[
    str | None,
    _option("--language", help="Of lessons and questions: auto, or an ISO code such as de."),
]
Placement = Annotated[
    str | None,
    _option("--placement", help="Where they stand: system (message) or user (turn)."),
]
