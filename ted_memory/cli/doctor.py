"""``ted-memory doctor``: is this memory set up as it should be?"""

import asyncio
from importlib.util import find_spec

import typer

from ted_memory.cli import output
from ted_memory.cli.options import place
from ted_memory.episodes import Traffic
from ted_memory.errors import StoreError
from ted_memory.findings import Finding
from ted_memory.memory.client import TedMemory

_EXTRAS = {
    "langchain": "langchain",
    "embeddings": "wordllama",
    "math": "math_verify",
    "data": "pyarrow",
    "plots": "matplotlib",
    "web": "starlette",
    "otel": "opentelemetry",
}
_STALE = 3600.0  # seconds that an episode may wait before somebody should ask why
_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "problem": "[red]problem[/]",
    "unknown": "?",
}


def doctor(
    namespace: place.Namespace = None,
    url: place.Url = None,
    home: place.Home = None,
    json: place.Json = False,
) -> None:
    """Say what is not well with this memory, and what to do.

    Looks at server, rights, set and queue. Ends with 1 on a problem.

    Keys of --json: findings (a list: of, state, told; state is ok, warning, problem or unknown).

    Examples:
        ted-memory doctor --url redis://memory:6379/0 --namespace support
    """

    async def look() -> list[Finding]:
        async with place.memory_of(url, namespace, home) as memory:
            found = await memory.examine()
            return [*found, await _set(memory), *await _queue(memory), _extras()]

    findings = asyncio.run(look())
    if json:
        output.print_json({"findings": [finding.model_dump() for finding in findings]})
    else:
        for finding in findings:
            output.out.print(f"{_MARKS[finding.state]:<20} {finding.of}: ", end="")
            output.out.print(finding.told, markup=False)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


async def _set(memory: TedMemory) -> Finding:
    try:
        snapshot = await memory.load()
    except StoreError as error:
        return Finding(of="set", state="problem", told=str(error))
    if not snapshot.version:
        told = f"namespace {memory.namespace!r} is empty; is it the right one?"
        return Finding(of="set", state="warning", told=told)
    told = (
        f"namespace {memory.namespace!r}, version {snapshot.version}: "
        f"{len(snapshot.active)} active lessons"
    )
    return Finding(of="set", state="ok", told=told)


async def _queue(memory: TedMemory) -> list[Finding]:
    try:
        traffic = await memory.traffic()
    except StoreError as error:
        return [Finding(of="traffic", state="unknown", told=str(error))]
    if not traffic.counts.get("recorded"):
        return [Finding(of="traffic", state="ok", told="nothing was recorded here")]
    found = [_waiting(traffic)]
    if traffic.dead:
        told = f"{traffic.dead} dead letters: `ted-memory dead list` tells why"
        found.append(Finding(of="dead letters", state="warning", told=told))
    return found


def _waiting(traffic: Traffic) -> Finding:
    told = f"{traffic.waiting} episodes wait, {traffic.learners} learners are at work"
    oldest = traffic.oldest or 0.0
    if traffic.waiting and not traffic.learners and oldest > _STALE:
        hint = f"{told}; the oldest has waited {oldest:.0f} s: start `ted-memory learn`"
        return Finding(of="traffic", state="warning", told=hint)
    return Finding(of="traffic", state="ok", told=told)


def _extras() -> Finding:
    here = [name for name, module in _EXTRAS.items() if find_spec(module)]
    return Finding(
        of="extras", state="ok", told=", ".join(here) or "none: pip install 'ted-memory[langchain]'"
    )
