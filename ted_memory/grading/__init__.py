"""Is an answer right? Graders; a model as a judge is `ted_memory.distill.Judge`."""

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
