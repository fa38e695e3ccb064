"""How big a fault test is: small in `make test`, full in `make chaos`; and the figures it found."""

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("TED_MEMORY_CHAOS") == "full"
"""Only then is anything with a unit of time asserted."""

SOAK_SECONDS = int(os.environ.get("TED_MEMORY_SOAK_SECONDS", "300"))
"""Of traffic in the soak at full size."""

VERSIONS_SECONDS = int(os.environ.get("TED_MEMORY_VERSIONS_SECONDS", "3600"))
"""Of traffic of two versions side by side at full size."""

FIGURES: list[str] = []


def size(small: T, full: T) -> T:
    """Return the size of a test."""
    return full if FULL else small


def report(figure: str) -> None:
    """Have a line printed at the end of `make chaos`."""
    FIGURES.append(figure)
