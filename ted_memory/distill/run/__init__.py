"""Learning from a data set."""

from ted_memory.distill.run.loop import distill, split

__all__ = ["distill", "split"]
