"""Is the student better with the experiences than without? Measured in pairs."""

from ted_memory.evaluation.compare import evaluate
from ted_memory.evaluation.report import write_report
from ted_memory.evaluation.results import Evaluation, TrainingComparison, compare_with_training

__all__ = ["Evaluation", "TrainingComparison", "compare_with_training", "evaluate", "write_report"]
