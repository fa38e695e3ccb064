"""What a learner did: the result of `Learner.run`, and what it shows while it runs."""

from collections import Counter
from dataclasses import dataclass, field

STEPS = 1000  # that are kept


@dataclass
class LearnerReport:
    """What one learner did.

    Attributes:
        outcomes: of episodes: ``learned``, ``nothing`` (to learn) or ``set_aside`` (no lesson
            passed) settle it, and so does ``settled``, where the server did not say that it is
            safe on disk; ``released`` and ``failed`` give it back; it is ``dead`` after too many
            failures, and ``fenced`` where another learner had taken it over.
        steps: what was done with lessons on trial, in words; the last `STEPS`.
        earlier: how many steps were taken before those.
        replayed: pairs of answers that were counted.
        last_error: in one line.
        refused: why a provider refuses a model at present, "" where none does. The learner pauses,
            and no episode fails for that.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    steps: list[str] = field(default_factory=list)
    earlier: int = 0
    replayed: int = 0
    last_error: str = ""
    refused: str = ""

    def keep_latest(self) -> None:
        """Let go of the oldest steps where there are too many."""
        excess = max(0, len(self.steps) - STEPS)
        del self.steps[:excess]
        self.earlier += excess

    def steps_since(self, number: int) -> tuple[list[str], int]:
        """Return the steps after the first ``number``, as far as they are kept, and their count.

        The count is that of all steps so far: the ``number`` for the next call.
        """
        return self.steps[max(0, number - self.earlier) :], self.earlier + len(self.steps)

    @property
    def settled(self) -> int:
        """How many episodes were settled, with a lesson or without, and safely stored."""
        return sum(self.outcomes[name] for name in ("learned", "nothing", "set_aside"))
