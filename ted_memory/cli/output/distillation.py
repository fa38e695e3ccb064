"""What a run over a data set did: what was learned, what the gate said, what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from ted_memory.cli.output.terminal import out

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.distill.report import Report
    from ted_memory.llm.spend import Prices, Spend

REASONS_SHOWN = 5
_VERDICTS = {
    "helps": "helps",
    "hurts": "hurts",
    "useless": "does not help",
    "open": "shows no difference",
}


def print_report(report: Report, prices: Prices | None = None) -> None:
    """Print what a run did; with prices also what it cost."""
    if report.stopped:
        out.print(f"[yellow]stopped early:[/] {escape(report.stopped)}")
    _print_samples(report)
    _print_gate(report)
    for conflict in report.conflicts:
        out.print(f"  not promoted: {conflict}", markup=False)
    out.print(
        f"namespace {report.namespace!r} is at version {report.version}: "
        f"{report.experiences.active} active experiences, {report.experiences.tokens} tokens"
    )
    print_spend(report.spend)
    if prices is not None:
        out.print(f"cost: {prices.cost(report.spend):.4f} {prices.currency}")
    out.print(f"took {report.seconds:.0f} s")


def print_spend(spend: Spend) -> None:
    """Print calls and tokens of student and teacher."""
    for name, role in (("student", spend.student), ("teacher", spend.teacher)):
        guessed = f" ({role.estimated} calls estimated)" if role.estimated else ""
        tokens = f"{role.tokens_in} tokens in, {role.tokens_out} out"
        out.print(f"{name}: {role.calls} calls, {tokens}{guessed}")


def _print_samples(report: Report) -> None:
    resumed = ""
    if report.resumed:
        resumed = f" ({report.resumed} of them by an earlier, interrupted run)"
    taught_nothing = report.samples - report.learned - report.set_aside
    out.print(
        f"{report.samples} samples{resumed}: {report.learned} taught something, "
        f"{taught_nothing} had nothing to teach, {report.set_aside} set aside"
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
            f"{report.collapsed} samples got the same attempt every time, and little can be "
            "learned from that. If answers are long, give the attempts a temperature that the "
            "model takes (--temperature 0.7 or TED_MEMORY_TEMPERATURE=0.7), or look for a cache "
            "between here and the model"
        )


def _print_gate(report: Report) -> None:
    if report.gate is None:
        _print_without_gate(report)
        return
    gate = report.gate
    kept = sum(lesson.kept for lesson in gate.lessons)
    verdict = "not promoted; agents keep the lessons that they had"
    if gate.passed and report.promoted:
        verdict = "promoted"
    out.print(
        f"gate: {gate.before:.2f} before, {gate.after:.2f} after, "
        f"in {gate.pairs} pairs of answers to {gate.samples} samples "
        f"(the set {_VERDICTS[gate.verdict]}); "
        f"{kept} of {len(gate.lessons)} lessons passed: {verdict}"
    )
    if kept < len(gate.lessons):
        out.print(
            "what was refused is kept as proposed lessons, which no agent is shown "
            "(ted-memory show, approve)"
        )
    if report.shown:
        out.print(
            f"{len(report.shown)} ways to show the set were compared; "
            "it carries the best one (ted-memory show)"
        )
    _print_solved_tasks(report)
    for lesson in report.carried:
        out.print(f"  learned by another student, {lesson.verdict}: {lesson.lesson}", markup=False)
    for failure in gate.failures[:REASONS_SHOWN]:
        out.print(f"  left out: {failure.sample}: {failure.reason}", markup=False)


def _print_without_gate(report: Report) -> None:
    if report.promoted and report.solved_tasks is None:
        out.print("validation: none; what was learned is live")
    else:
        out.print("no lesson came of it")
    _print_solved_tasks(report)


def _print_solved_tasks(report: Report) -> None:
    tried = report.solved_tasks
    if tried is None:
        return
    scores = ""
    if tried.pairs:
        scores = (
            f"{tried.before:.2f} without, {tried.after:.2f} with them, "
            f"in {tried.pairs} pairs of answers; "
        )
    verdict = "live, as earlier turns" if tried.kept else "left out"
    out.print(
        f"{tried.offered} samples as solved tasks beside the lessons: "
        f"{scores}{tried.reason}: {verdict}"
    )
