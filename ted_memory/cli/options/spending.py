"""What may be spent, and what a token costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from ted_memory.errors import SettingsError

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill import Budget
    from ted_memory.distill import Prices as PriceList

_option = partial(typer.Option, rich_help_panel="Costs")

MaxCalls = Annotated[
    int | None, _option("--max-calls", min=1, help="Stop before more model calls than this.")
]
MaxTokens = Annotated[
    int | None, _option("--max-tokens", min=1, help="Stop before more tokens than this.")
]
MaxCost = Annotated[
    float | None, _option("--max-cost", help="Stop before it costs more; needs --prices.")
]
CallsADay = Annotated[
    int | None, _option("--max-calls", help="Calls of models a day, for each namespace.", min=1)
]
TokensADay = Annotated[
    int | None, _option("--max-tokens", help="Tokens a day, for each namespace.", min=1)
]
CostADay = Annotated[
    float | None, _option("--max-cost", help="Cost a day, for each namespace; needs --prices.")
]
Prices = Annotated[
    str | None,
    _option(
        "--prices",
        metavar="IN,OUT,IN,OUT",
        help="Money for a million tokens: student in and out, teacher in and out.",
    ),
]


def prices_of(given: str | None) -> PriceList | None:
    """Read the prices, which are four numbers with commas between.

    Raises:
        SettingsError: it is something else.
    """
    from ted_memory.distill import Prices as PriceList

    if given is None:
        return None
    try:
        student_in, student_out, teacher_in, teacher_out = map(float, given.split(","))
        return PriceList(
            student_in=student_in,
            student_out=student_out,
            teacher_in=teacher_in,
            teacher_out=teacher_out,
        )
    except (ValueError, ValidationError):
        raise SettingsError(
            f"--prices {given!r}: four numbers from 0 on are needed, with commas between: "
            "money for a million tokens of the student in and out, of the teacher in and out, "
            "such as 0.1,0.4,2,8"
        ) from None


def budget_of(
    calls: int | None, tokens: int | None, money: float | None, prices: str | None
) -> Budget | None:
    """Make the budget that a command's options name; without one nothing is limited.

    Raises:
        SettingsError: money is limited, and nothing has a price.
    """
    from ted_memory.distill import Budget
    from ted_memory.distill import Prices as PriceList

    if calls is None and tokens is None and money is None:
        return None
    try:
        return Budget(
            calls=calls, tokens=tokens, money=money, prices=prices_of(prices) or PriceList()
        )
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"--max-cost {money}: {reason}; give --prices") from None
