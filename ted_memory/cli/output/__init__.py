"""What commands print: results on standard output, progress and errors on standard error."""

from ted_memory.cli.output.distillation import REASONS_SHOWN, print_report, print_spend
from ted_memory.cli.output.evaluation import print_evaluation
from ted_memory.cli.output.lessons import (
    print_commit,
    print_difference,
    print_entry,
    print_experience,
    print_presentation,
    waits_for,
)
from ted_memory.cli.output.progress import progress, rounded, time_left
from ted_memory.cli.output.terminal import (
    err,
    one_line,
    out,
    print_error,
    print_json,
    print_json_line,
)

__all__ = [
    "REASONS_SHOWN",
    "err",
    "one_line",
    "out",
    "print_commit",
    "print_difference",
    "print_entry",
    "print_error",
    "print_evaluation",
    "print_experience",
    "print_json",
    "print_json_line",
    "print_presentation",
    "print_report",
    "print_spend",
    "progress",
    "rounded",
    "time_left",
    "waits_for",
]
