"""``ted-memory feedback``: how good a run was."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.errors import InvalidInput

_MEANINGS = {
    "unknown": "no such run is recorded here (yet); should it come, this waits for it",
    "kept": "kept",
    "foreign": "not counted: the run is another principal's; "
    "--reviewer for who may speak of others' runs",
}
"""What the answers of `TedMemory.give_feedback` mean."""


def feedback(
    run_id: Annotated[
        str, typer.Argument(help='Of the run: response_metadata["ted_memory"]["run_id"].')
    ],
    score: Annotated[
        float | None, typer.Option("--score", help="From 0 (wrong) to 1 (right).")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="What was said about it.")] = "",
    correction: Annotated[
        str, typer.Option("--correction", help="The answer that would have been right.")
    ] = "",
    principal: Annotated[str, typer.Option("--principal", help="Who says so.")] = "anonymous",
    reviewer: Annotated[
        bool, typer.Option("--reviewer", help="That one may speak of others' runs.")
    ] = False,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Say how good a run was.

    It is credited to the lessons that the run had seen.

    Keys of --json: run_id, verdict (kept, unknown or foreign).

    Examples:
        ted-memory feedback 0197f3c2 --score 0 --correction "Within 30 days." --principal anna
    """
    if score is None and not comment and not correction:
        raise InvalidInput("there is nothing to say: give --score, --comment or --correction")

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            verdict = await memory.give_feedback(
                run_id,
                score=score,
                comment=comment,
                correction=correction,
                principal=principal,
                reviewer=reviewer,
            )
        if json:
            output.print_json({"run_id": run_id, "verdict": verdict})
        else:
            output.out.print(_MEANINGS.get(verdict, verdict), markup=False)

    asyncio.run(run())
