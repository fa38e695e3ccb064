"""``ted-memory purge``: what came from one source goes."""

import asyncio
from typing import Annotated

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.models import PurgeReport


def purge(
    source: Annotated[
        str, typer.Option("--source", help="As in --json output, such as principal:anna or run:17.")
    ],
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    yes: place.Yes = False,
    json: place.Json = False,
) -> None:
    """Take out for good what came from one source, and refuse it from now on.

    Also what it became through rewrites and merges, its texts in the log, and archived episodes.
    What it was merged with comes back as it was before.

    Keys of --json: namespace, version, removed, restored, waiting, unknown (ids), blanked
    (versions of the log), archived (a number).

    Examples:
        ted-memory purge --source dataset:tickets#12 --namespace support
    """
    place.ask(f"Take out all that came from {source!r}? It cannot come back", yes=yes)

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            report = await memory.purge(source)
        if json:
            output.print_json({"namespace": memory.namespace, **report.model_dump(mode="json")})
        else:
            _print_report(source, report)

    asyncio.run(run())


def _print_report(source: str, report: PurgeReport) -> None:
    output.out.print(
        f"version {report.version}: {len(report.removed)} lessons removed, "
        f"{len(report.restored)} put back as they were before this source, "
        f"{len(report.blanked)} versions of the log emptied of it, "
        f"{report.archived} archived episodes forgotten"
    )
    if report == PurgeReport(version=report.version):
        output.out.print(
            f"  nothing here came from {source!r}. Sources stand in `ted-memory show --json`, "
            "such as principal:anna, run:17, author:cli, dataset:tickets#12",
            markup=False,
        )
    if report.waiting:
        waiting = ", ".join(report.waiting)
        output.out.print(f"  proposed only, for want of room: {waiting}", markup=False)
    if report.unknown:
        unknown = ", ".join(report.unknown)
        output.out.print(
            f"  what these had been made from is no longer in the history: {unknown}",
            markup=False,
        )
