"""Lessons, what changed them, and how agents are shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from ted_memory.cli.output.terminal import one_line, out, print_json
from ted_memory.experience.rendering import render_line

if TYPE_CHECKING:
    from ted_memory.episodes import Standing
    from ted_memory.experience.lift import Utility
    from ted_memory.models import Commit, Experience, LogEntry, Presentation


STATE_STYLES = {"active": "green", "trial": "yellow", "proposed": "blue", "retired": "dim"}
"""What is shown to all, to some, to nobody yet, to nobody any more. Red is for what is to be done.
"""


def print_presentation(shown: Presentation, carried: Presentation | None) -> None:
    """Print how agents with these settings are shown the set, which carries a way of its own."""
    selected = {
        "all": "all lessons",
        "budget": "the best lessons within the token budget",
        "relevant": f"at most {shown.top_k} lessons that are relevant to the question",
    }[shown.selection]
    place = {"system": "at the end of the system message", "user": "at the end of the user turn"}[
        shown.placement
    ]
    if carried is None:
        reason = "by the settings"
    elif shown == carried:
        reason = "as the set carries it"
    else:
        reason = "by the settings where they differ from the set's own"
    examples = "with" if shown.examples else "without"
    out.print(f"shown: {selected}, {examples} examples, {place} ({reason})")


def print_experience(experience: Experience, lift: Utility | None = None) -> None:
    """Print one lesson on one line, with its lift and the 90 % bounds if they are known."""
    known = f"  [dim]lift {lift.mean:+.2f} ({lift.low:+.2f} to {lift.high:+.2f})[/]" if lift else ""
    out.print(f"[cyan]{experience.id}[/]  {_state_and_text(experience)}{known}")


def print_difference(before: Experience | None, after: Experience | None) -> None:
    """Print how one lesson changed: without ``before`` it was added, without ``after`` removed."""
    for sign, style, experience in (("-", "dim", before), ("+", "bold", after)):
        if experience is not None:
            out.print(f"[{style}]{sign}[/] {experience.id}  {_state_and_text(experience)}")


def print_entry(entry: LogEntry) -> None:
    """Print one version with what it changed."""
    said = f"{entry.author}: {entry.why}" if entry.why else entry.author
    out.print(
        f"[bold]version {entry.version}[/]  {entry.at:%Y-%m-%d %H:%M:%S}Z  {escape(one_line(said))}"
    )
    for change in entry.changes:
        for before in change.before:
            out.print(f"  [dim]-[/] {before.id}  {_state_and_text(before)}")
        for after in change.after:
            out.print(f"  [bold]+[/] {after.id}  {_state_and_text(after)}")


def print_commit(namespace: str, commit: Commit, *, as_json: bool) -> None:
    """Print which version a person's change has made, and as JSON also the ids that it changed."""
    if as_json:
        changed = [applied.id for applied in commit.applied]
        print_json({"namespace": namespace, "version": commit.version, "changed": changed})
    else:
        out.print(f"namespace {namespace!r} is at version {commit.version}")


def waits_for(standing: Standing) -> str:
    """Say what a lesson waits for, and about how much more of it."""
    lesson, trial = standing.experience, standing.experience.trial
    waiting = f"waits for {standing.waits_for}"
    decided = lesson.state == "active" or (trial is not None and (trial.ended or trial.passed))
    if decided or not standing.left:
        return waiting
    unit = "graded requests that it applies to" if lesson.state == "trial" else "pairs"
    return f"{waiting}; about {standing.left} {unit} more"


def _state_and_text(experience: Experience) -> str:
    line = render_line(experience.text, experience.when, experience.example, experience.task)
    state = f"[{STATE_STYLES[experience.state]}]{experience.state:<8}[/]"
    return f"{state}  {escape(line)}"
