"""Is the student better with the experiences than without? Measured in pairs."""

from ted_memory.evaluation.compare import evaluate
from ted_memory.evaluation.report import write_report
from ted_memory.evaluation.results import (
    Arm,
    CategoryResult,
    CurvePoint,
    Difference,
    Evaluation,
    ExamplesArm,
    Failure,
    TrainingComparison,
    compare_with_training,
)

__all__ = [
    "Arm",
    "CategoryResult",
    "CurvePoint",
    "Difference",
    "Evaluation",
    "ExamplesArm",
    "Failure",
    "TrainingComparison",
    "compare_with_training",
    "evaluate",
    "write_report",
]
