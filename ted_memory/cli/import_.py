"""``ted-memory import``: an exported set is taken in. The plain name is a keyword of Python."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.errors import InvalidInput
from ted_memory.memory.commits import REASONS


def import_(
    file: Annotated[
        Path, typer.Argument(help="What `ted-memory export` wrote.", exists=True, dir_okay=False)
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Add to a set that is not empty what it lacks.")
    ] = False,
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Take in an exported set.

    Without --merge: into an empty one, all or nothing.

    Keys of --json: namespace, version, added, unchanged, duplicates, conflicts (ids), refused
    (pairs of id and reason).

    Examples:
        ted-memory import support.jsonl --namespace support-eu
    """

    async def run() -> None:
        text = _read(file)
        async with place.memory_of(url, namespace, home) as memory:
            report = await memory.import_set(text, merge=merge, name=str(file))
        if json:
            output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
            return
        output.out.print(
            f"namespace {memory.namespace!r} is at version {report.version}: "
            f"{len(report.added)} added, {len(report.unchanged)} were there, "
            f"{len(report.duplicates)} are there under another id, "
            f"{len(report.conflicts)} say something else here and were left out, "
            f"{len(report.refused)} refused"
        )
        for id, reason in report.refused:
            output.out.print(f"  {id}: {REASONS.get(reason, reason)}", markup=False)

    asyncio.run(run())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read ({error}); nothing was imported") from error
