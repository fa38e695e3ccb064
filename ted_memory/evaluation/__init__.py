"""Is the student better with the experiences than without? Measured in pairs."""

from ted_memory.evaluation.compare import Evaluation, TrainingComparison, beside_training, evaluate
from ted_memory.evaluation.datasets import read_samples
from ted_memory.evaluation.report import write_report

__all__ = ["Evaluation", "TrainingComparison", "beside_training", "evaluate", "read_samples", "write_report"]
