"""``ted-memory export``: a set as a file."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.errors import InvalidInput


def export(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write; - is standard output.  [default: -]")
    ] = None,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Write a set as JSON Lines that `ted-memory import` takes in.

    The first line describes the set, each of the others is an experience.

    Keys of --json: namespace, file, experiences (a number). It needs a FILE.

    Examples:
        ted-memory export support.jsonl --namespace support
        ted-memory export -n support | ssh elsewhere 'cat > support.jsonl'
    """
    to_output = file is None or str(file) == "-"
    if json and to_output:
        raise InvalidInput("what export writes is JSON Lines already; --json is for a FILE")
    memory = place.memory_of(url, namespace, home)

    async def run() -> str:
        async with memory:
            return await memory.export()

    text = asyncio.run(run())
    if file is None or to_output:
        sys.stdout.write(text)
        return
    _write_whole(file, text)
    count = text.count("\n") - 1
    if json:
        output.print_json({"namespace": memory.namespace, "file": str(file), "experiences": count})
    else:
        output.err.print(f"{count} experiences written to {file}", markup=False)


def _write_whole(file: Path, text: str) -> None:
    """Write all of a file, or leave what was there before.

    Raises:
        InvalidInput: it cannot be written.
    """
    unfinished = file.with_name(f"{file.name}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be written ({error.strerror}); nothing was exported"
        ) from error
