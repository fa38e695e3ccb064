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

    def show(step: Step) -> None:
        now = time.monotonic()
        due = step.phase not in last or now - last[step.phase] >= _PLAIN_PERIOD
        if due or step.done == step.total:
            last[step.phase] = now
            line = f"{step.phase}: {step.done}/{step.total} {_note(step)}"
            err.print(line.rstrip(), markup=False)

    return show


def _note(step: Step) -> str:
    return f"learned {step.learned}, set aside {step.set_aside}" if step.phase == "distil" else ""
