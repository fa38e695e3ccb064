"""What somebody who looks whether all is well has found."""

from typing import Literal

from ted_memory.fields import Frozen


class Finding(Frozen):
    """What one look found, and what to do where it is not well."""

    of: str
    state: Literal["ok", "warning", "problem", "unknown"]
    told: str
