"""What things of a run are called: in lessons' sources, in its record, and in its identity."""

import hashlib

from ted_memory.grading.graders import Grader
from ted_memory.models import Sample


def source_of(name: str, sample: Sample) -> str:
    """Return what a lesson names as its source that came from a sample of this data set."""
    return f"dataset:{name}#{sample.id}"


def name_of(grader: str | Grader) -> str:
    """Return what a grader is known by in another process.

    The text of a function has its address in it, so that is its name.
    """
    if isinstance(grader, str):
        return grader
    return str(getattr(grader, "__qualname__", None) or repr(grader))


def digest(*parts: str) -> str:
    """Return a name for these texts in their order: 64 hex digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
