"""The result of a health check, such as those of `ted-memory doctor`."""

from typing import Literal

from ted_memory.fields import Frozen

__all__ = ["Finding"]


class Finding(Frozen):
    """The result of one check.

    ``of`` names what was checked; ``told`` says what was found and, where that is not well, what
    to do.
    """

    of: str
    state: Literal["ok", "warning", "problem", "unknown"]
    told: str
