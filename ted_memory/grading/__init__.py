"""Is an answer right? Graders, what an answer concludes, and a model as a judge.

The judge is `ted_memory.distill.Judge`.
"""

from ted_memory.grading.graders import (
    GRADERS,
    Grade,
    Grader,
    auto,
    contains,
    exact,
    find_grader,
    mathematics,
    multiple_choice,
    numeric,
)

__all__ = [
    "GRADERS",
    "Grade",
    "Grader",
    "auto",
    "contains",
    "exact",
    "find_grader",
    "mathematics",
    "multiple_choice",
    "numeric",
]
