"""``make bench``: measure all areas on a real server of our own, and write the report.

Nothing is asserted. ``python -m bench AREA ...`` measures these areas only (`bench.speed` lists
them) and prints them. ``python -m bench retrieval`` measures what finds the lessons instead
(`bench.retrieval`), ``python -m bench evidence`` what keys take in the server, and our own work for
a replayed pair (`bench.evidence`).
"""

import argparse
import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys

from rich.console import Console

from bench import evidence, report, retrieval
from bench.figures import from_record, to_record
from bench.measuring import FULL, server
from bench.report import Area

AREAS = (
    *("agent_calls", "rendering", "tenants", "loading", "committing", "recording", "learning"),
    *("distilling", "sharing", "going_back", "starting", "footprint", "keyed_store", "tokens"),
    "desk_pages",
)
LONGEST, LONGEST_FULL = 1200, 4 * 3600  # seconds for one area


async def measured(name: str) -> Area:
    """Measure an area in this process, on a server of its own."""
    module = importlib.import_module(f"bench.speed.{name}")
    async with server() as url:
        if inspect.iscoroutinefunction(module.measure):
            found = await module.measure(url)
        else:
            found = await asyncio.to_thread(module.measure, url)
    about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
    return Area(module.TITLE, about, tuple(found))


def in_a_process(name: str) -> Area:
    """Measure an area in a process of its own: no other one has warmed it up, or filled it."""
    command = [sys.executable, "-m", "bench", "--json", name]
    longest = LONGEST_FULL if os.environ.get(FULL) else LONGEST
    done = subprocess.run(command, capture_output=True, text=True, timeout=longest, check=False)
    if done.returncode:
        raise SystemExit(f"{name} could not be measured:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Area(told["title"], told["about"], tuple(map(from_record, told["found"])))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    others = {"retrieval": retrieval.main, "evidence": evidence.main}
    parser.add_argument("area", nargs="*", choices=[[], *AREAS, *others], help="default: all")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    more = "growth to its last decade: 10,000 samples, 10,000 namespaces, 50,000 lessons"
    parser.add_argument("--full", action="store_true", help=more)
    given = parser.parse_args()
    if given.full:
        os.environ[FULL] = "1"  # for the areas' processes, too
    console = Console()
    for name in [name for name in given.area if name in others]:
        asyncio.run(others[name]())
    wanted = [name for name in given.area if name in AREAS]
    if given.json:
        for name in wanted:
            area = asyncio.run(measured(name))
            found = [to_record(one) for one in area.found]
            print(json.dumps({"title": area.title, "about": area.about, "found": found}))
        return
    areas = []
    for name in wanted or ([] if given.area else AREAS):
        areas.append(in_a_process(name))
        console.print(report.table(areas[-1]))
    if not given.area:
        console.print(f"written to {report.write(areas)}")


if __name__ == "__main__":
    main()
