"""What commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import contextlib
import json
import time
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ted_memory.experience.rendering import render_line

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill.report import Report
    from ted_memory.distill.scoring import OnProgress
    from ted_memory.distill.scoring import Progress as Step
    from ted_memory.evaluation import Evaluation
    from ted_memory.experience.lift import Utility
    from ted_memory.llm.spend import Prices, Spend
    from ted_memory.models import Experience, LogEntry, Presentation

PLAIN_PERIOD = 5.0  # seconds between lines where there is no terminal
REASONS_SHOWN = 5
VERDICTS = {
    "helps": "helps",
    "hurts": "hurts",
    "useless": "does not help",
    "open": "shows no difference",
}

# the last two belong to the spelling of some languages, and to emoji
_KEPT = {"\n", "\t", "\u200c", "\u200d"}


def visible(text: str) -> str:
    """Return a text in which nothing moves a terminal's cursor or turns its letters round: what does is spelled out."""
    if text.isascii() and text.isprintable():
        return text
    hidden = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}} - _KEPT
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in hidden})


def one_line(text: str) -> str:
    """Return what somebody wrote without its line breaks: the next line of a list is ours."""
    return " ".join(text.split())


class _Terminal(Console):
    """Prints what others wrote: lessons, reasons, names."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(
            *(visible(one) if isinstance(one, str) else one for one in objects), **options
        )


out = _Terminal(soft_wrap=True, highlight=False)
err = _Terminal(stderr=True, highlight=False)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    out.print(json.dumps(value, ensure_ascii=False, indent=2), markup=False)


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Show a bar on a terminal, a line every few seconds elsewhere."""
    if err.is_terminal:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=err) as bars:
            yield _on_bars(bars)
    else:
        yield _on_lines()


def _on_bars(bars: Progress) -> OnProgress:
    tasks: dict[str, Any] = {}

    def show(step: Step) -> None:
        if step.phase not in tasks:
            tasks[step.phase] = bars.add_task(step.phase, total=step.total, note="")
        bars.update(tasks[step.phase], completed=step.done, note=_note(step))

    return show


def _on_lines() -> OnProgress:
    last: dict[str, float] = {}

    def show(step: Step) -> None:
        now = time.monotonic()
        if step.done == step.total or now - last.get(step.phase, 0.0) >= PLAIN_PERIOD:
            last[step.phase] = now
            err.print(
                f"{step.phase}: {step.done}/{step.total} {_note(step)}".rstrip(), markup=False
            )

    return show


def _note(step: Step) -> str:
    return f"learned {step.learned}, set aside {step.set_aside}" if step.phase == "distil" else ""


def print_report(report: Report, prices: Prices | None = None) -> None:
    """Print what a run did."""
    if report.stopped:
        out.print(f"[yellow]stopped early:[/] {escape(report.stopped)}")
    taught = report.samples - report.learned - report.set_aside
    resumed = (
        f" ({report.resumed} of them by an earlier, interrupted run)" if report.resumed else ""
    )
    out.print(
        f"{report.samples} samples{resumed}: {report.learned} taught something, {taught} had nothing to teach, "
        f"{report.set_aside} set aside"
    )
    for aside in report.reasons[:REASONS_SHOWN]:
        out.print(f"  {aside.sample}: {aside.reason}", markup=False)
    if len(report.reasons) > REASONS_SHOWN:
        out.print(f"  ... and {len(report.reasons) - REASONS_SHOWN} more (--json lists all)")
    if report.samples and report.set_aside == report.samples:
        out.print(
            "Nothing was learned: every sample was set aside. The reasons above say what to change."
        )
    if report.collapsed:
        out.print(
            f"{report.collapsed} samples got the same attempt every time, and little can be learned from that. If "
            "answers are long, give the attempts a temperature that the model takes (--temperature 0.7 or "
            "TED_MEMORY_TEMPERATURE=0.7), or look for a cache between here and the model"
        )
    _print_gate(report)
    for conflict in report.conflicts:
        out.print(f"  not promoted: {conflict}", markup=False)
    out.print(
        f"namespace {report.namespace!r} is at version {report.version}: {report.experiences.active} active "
        f"experiences, {report.experiences.tokens} tokens"
    )
    print_spend(report.spend)
    if prices is not None:
        out.print(f"cost: {prices.cost(report.spend):.4f} {prices.currency}")
    out.print(f"took {report.seconds:.0f} s")


def _print_gate(report: Report) -> None:
    gate = report.gate
    if gate is None:
        tried = report.solved_tasks is not None
        out.print(
            "validation: none; what was learned is live"
            if report.promoted and not tried
            else "no lesson came of it"
        )
        _print_solved_tasks(report)
        return
    kept = sum(lesson.kept for lesson in gate.lessons)
    verdict = (
        "promoted"
        if gate.passed and report.promoted
        else "not promoted; agents keep the lessons that they had"
    )
    out.print(
        f"gate: {gate.before:.2f} before, {gate.after:.2f} after, in {gate.pairs} pairs of answers to {gate.samples} "
        f"samples (the set {VERDICTS[gate.verdict]}); {kept} of {len(gate.lessons)} lessons passed: {verdict}"
    )
    if kept < len(gate.lessons):
        out.print(
            "what was refused is kept as proposed lessons, which no agent is shown (ted-memory show, approve)"
        )
    if report.shown:
        out.print(
            f"{len(report.shown)} ways to show the set were compared; it carries the best one (ted-memory show)"
        )
    _print_solved_tasks(report)
    for lesson in report.carried:
        out.print(f"  learned by another student, {lesson.verdict}: {lesson.lesson}", markup=False)
    for failure in gate.failures[:REASONS_SHOWN]:
        out.print(f"  left out: {failure.sample}: {failure.reason}", markup=False)


def _print_solved_tasks(report: Report) -> None:
    tried = report.solved_tasks
    if tried is None:
        return
    scores = f"{tried.before:.2f} without, {tried.after:.2f} with them, in {tried.pairs} pairs of answers; "
    verdict = "live, as earlier turns" if tried.kept else "left out"
    measured = f"{scores * bool(tried.pairs)}{tried.reason}"
    out.print(f"{tried.offered} samples as solved tasks beside the lessons: {measured}: {verdict}")


def print_spend(spend: Spend) -> None:
    """Print calls and tokens per role."""
    for name, role in (("student", spend.student), ("teacher", spend.teacher)):
        guessed = f" ({role.estimated} calls estimated)" if role.estimated else ""
        out.print(
            f"{name}: {role.calls} calls, {role.tokens_in} tokens in, {role.tokens_out} out{guessed}"
        )


def print_evaluation(result: Evaluation) -> None:
    """Print the comparison."""
    d = result.difference
    out.print(
        f"{result.samples} samples, namespace {result.namespace!r} at version {result.version}"
    )
    out.print(f"accuracy without experiences: {result.without.accuracy:.3f}")
    out.print(f"accuracy with experiences:    {result.with_.accuracy:.3f}")
    out.print(
        f"difference: {d.mean:+.3f} (95 % interval {d.low:+.3f} to {d.high:+.3f}; McNemar p = {result.mcnemar_p:.2g})"
    )
    _print_examples(result)
    if result.gain_per_lesson is not None:
        out.print(
            f"gained per active lesson: {result.gain_per_lesson:+.4f} ({result.active} lessons)"
        )
    for failure in result.failures[:REASONS_SHOWN]:
        out.print(f"  left out: {failure.sample}: {failure.reason}", markup=False)
    if len(result.categories) > 1:
        for category in result.categories:
            name = category.category or "-"
            figures = f"{category.without:.3f} -> {category.with_:.3f} ({category.samples})"
            out.print(f"  {name}: {figures}", markup=False)
    print_spend(result.spend)
    if result.cost is not None:
        out.print(f"cost: {result.cost:.4f} {result.currency}")


def _print_examples(result: Evaluation) -> None:
    examples = result.examples
    if examples is None:
        return
    d = examples.difference
    out.print(
        f"accuracy with solved examples: {examples.accuracy:.3f} ({examples.k:.1f} in a prompt, {examples.tokens:.0f} "
        f"tokens; the experiences take {result.with_.tokens:.0f})"
    )
    out.print(
        f"experiences - examples: {d.mean:+.3f} (95 % interval {d.low:+.3f} to {d.high:+.3f})"
    )


def print_presentation(shown: Presentation, carried: Presentation | None) -> None:
    """Print how agents with these settings are shown the set."""
    selected = {
        "all": "all lessons",
        "budget": "the best lessons within the token budget",
        "relevant": f"at most {shown.top_k} lessons that are relevant to the question",
    }[shown.selection]
    place = {"system": "at the end of the system message", "user": "at the end of the user turn"}[
        shown.placement
    ]
    reason = "by the settings"
    if carried is not None:
        reason = (
            "as the set carries it"
            if shown == carried
            else "by the settings where they differ from the set's own"
        )
    out.print(
        f"shown: {selected}, {'with' if shown.examples else 'without'} examples, {place} ({reason})"
    )


def print_experience(experience: Experience, lift: Utility | None = None) -> None:
    """Print one experience on one line, with its lift and the 90 % bounds if they are known."""
    known = f"  [dim]lift {lift.mean:+.2f} ({lift.low:+.2f} to {lift.high:+.2f})[/]" if lift else ""
    out.print(
        f"[cyan]{experience.id}[/]  {experience.state:<8}  {escape(_lesson(experience))}{known}"
    )


def _lesson(experience: Experience) -> str:
    return render_line(experience.text, experience.when, experience.example, experience.task)


def print_difference(before: Experience | None, after: Experience | None) -> None:
    """Print how one experience changed."""
    for sign, colour, experience in (("-", "red", before), ("+", "green", after)):
        if experience is not None:
            out.print(
                f"[{colour}]{sign}[/] {experience.id}  {experience.state:<8}  {escape(_lesson(experience))}"
            )


def print_entry(entry: LogEntry) -> None:
    """Print one version with what it changed."""
    why = f": {entry.why}" if entry.why else ""
    out.print(
        f"[bold]version {entry.version}[/]  {entry.at:%Y-%m-%d %H:%M:%S}Z  {escape(one_line(entry.author + why))}"
    )
    for change in entry.changes:
        for before in change.before:
            out.print(f"  [red]-[/] {before.id}  {escape(_lesson(before))}")
        for after in change.after:
            out.print(f"  [green]+[/] {after.id}  {escape(_lesson(after))}")
