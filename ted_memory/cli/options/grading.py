"""How answers are scored."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ted_memory.wiring import make_chat_model

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.grading.graders import Grader as AnyGrader

_option = partial(typer.Option, rich_help_panel="Grading")

Grader = Annotated[
    str,
    _option(
        "--grader",
        help="How answers are scored: auto, exact, contains, numeric, multiple_choice, math.",
    ),
]
Judge = Annotated[
    str | None,
    _option("--judge", help="A model that scores the answers instead of a --grader."),
]
JudgeUrl = Annotated[
    str | None, _option("--judge-base-url", help="OpenAI-compatible server of the judge.")
]


def grader_of(name: str, judge: str | None, judge_base_url: str | None) -> str | AnyGrader:
    """Name the grader, or make the model that judges in its place."""
    if judge is None:
        return name
    from ted_memory.distill import Judge as JudgingModel

    return JudgingModel(make_chat_model(judge, base_url=judge_base_url))
