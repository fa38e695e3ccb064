"""What a measurement found: the student with lessons, without them, and with solved examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ted_memory.cli.output.distillation import REASONS_SHOWN, print_spend
from ted_memory.cli.output.terminal import out

if TYPE_CHECKING:  # commands that call no model start without LangChain
    from ted_memory.evaluation import Evaluation


def print_evaluation(result: Evaluation) -> None:
    """Print the comparison."""
    d = result.difference
    out.print(
        f"{result.samples} samples, namespace {result.namespace!r} at version {result.version}"
    )
    out.print(f"accuracy without experiences: {result.without.accuracy:.3f}")
    out.print(f"accuracy with experiences:    {result.with_.accuracy:.3f}")
    out.print(
        f"difference: {d.mean:+.3f} (95 % interval {d.low:+.3f} to {d.high:+.3f}; "
        f"McNemar p = {result.mcnemar_p:.2g})"
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
        f"accuracy with solved examples: {examples.accuracy:.3f} "
        f"({examples.k:.1f} in a prompt, {examples.tokens:.0f} tokens; "
        f"the experiences take {result.with_.tokens:.0f})"
    )
    out.print(
        f"experiences - examples: {d.mean:+.3f} (95 % interval {d.low:+.3f} to {d.high:+.3f})"
    )
