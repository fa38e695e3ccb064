"""Feedback on its way to the store."""

from dataclasses import dataclass

from ted_memory.episodes import Feedback, Verdict


@dataclass(eq=False)
class Said:
    """Feedback in the buffer, and what became of it.

    Either a ``verdict``, or the ``trouble`` for which it was not taken; while it waits, neither.
    """

    feedback: Feedback
    verdict: Verdict | None = None
    trouble: Exception | None = None

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return len(self.feedback.comment) + len(self.feedback.correction)
