"""Is the student better with the experiences than without? Measured in pairs."""

from ted_memory.evaluation.compare import Evaluation, evaluate
from ted_memory.evaluation.datasets import read_samples

__all__ = ["Evaluation", "evaluate", "read_samples"]
