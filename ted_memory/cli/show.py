"""``ted-memory show``: the lessons of a set."""

import asyncio
from dataclasses import asdict

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.experience.lift import Utility, estimate, observed
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet


def show(
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Show the lessons of a set, and what each adds to the score.

    What a lesson adds, its lift, is known where it was measured. The two numbers behind it are its
    90 % bounds.

    Keys of --json: namespace, epoch, version, presentation (as the set carries it, or null), shown
    (as agents with these settings see it), experiences (a list), lifts (by id: mean, low, high).

    Examples:
        ted-memory show --namespace support
        ted-memory show -n support --json | jq -r '.experiences[].text'
    """

    async def run() -> None:
        async with place.memory_of(url, namespace, home) as memory:
            snapshot, usage = await memory.load(), await memory.usage()
            lifts = {id: estimate(counted) for id, counted in usage.items() if observed(counted)}
            if json:
                _print_json(memory, snapshot, lifts)
            else:
                _print_lessons(memory, snapshot, lifts)

    asyncio.run(run())


def _print_lessons(memory: TedMemory, snapshot: ExperienceSet, lifts: dict[str, Utility]) -> None:
    output.out.print(
        f"namespace {memory.namespace!r}, version {snapshot.version}, {len(snapshot)} experiences"
    )
    output.print_presentation(memory.presentation(snapshot), snapshot.presentation)
    for experience in snapshot:
        output.print_experience(experience, lifts.get(experience.id))


def _print_json(memory: TedMemory, snapshot: ExperienceSet, lifts: dict[str, Utility]) -> None:
    carried = snapshot.presentation
    output.print_json(
        {
            "namespace": memory.namespace,
            "epoch": snapshot.epoch,
            "version": snapshot.version,
            "presentation": carried.model_dump() if carried else None,
            "shown": memory.presentation(snapshot).model_dump(),
            "experiences": [experience.model_dump(mode="json") for experience in snapshot],
            "lifts": {id: asdict(lift) for id, lift in lifts.items()},
        }
    )
