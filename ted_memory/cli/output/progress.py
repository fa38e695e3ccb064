"""How far a command has come that takes minutes or hours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ted_memory.cli.output.terminal import err

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill.scoring import OnProgress
    from ted_memory.distill.scoring import Progress as Step

_PLAIN_PERIOD = 5.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Show a bar on a terminal, a line every few seconds elsewhere."""
    if not err.is_terminal:
        yield _on_lines()
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err) as bars:
        yield _on_bars(bars)


def _on_bars(bars: Progress) -> OnProgress:
    tasks: dict[str, TaskID] = {}

    def show(step: Step) -> None:
        if step.phase not in tasks:
            tasks[step.phase] = bars.add_task(step.phase, total=step.total, note="")
        bars.update(tasks[step.phase], completed=step.done, note=_note(step))

    return show


def _on_lines() -> OnProgress:
    last: dict[str, float] = {}
    began: dict[str, tuple[float, int]] = {}

    def show(step: Step) -> None:
        now = time.monotonic()
        since, done_before = began.setdefault(step.phase, (now, step.done))
        due = step.phase not in last or now - last[step.phase] >= _PLAIN_PERIOD
        if due or step.done == step.total:
            last[step.phase] = now
            left = time_left(step.done - done_before, step.total - step.done, now - since)
            notes = ", ".join(note for note in (_note(step), left) if note)
            err.print(f"{step.phase}: {step.done}/{step.total} {notes}".rstrip(), markup=False)

    return show


def time_left(done: int, left: int, seconds: float) -> str:
    """Say how long the rest takes at the pace so far, "" where nothing shows it.

    ``done`` pieces took so many seconds; what was done before the command began is not among them.
    """
    if done <= 0 or left <= 0:
        return ""
    return f"about {rounded(left * seconds / done)} left"


def rounded(seconds: float) -> str:
    """Write a time in the largest unit that it has two of."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _note(step: Step) -> str:
    return f"learned {step.learned}, set aside {step.set_aside}" if step.phase == "distil" else ""
