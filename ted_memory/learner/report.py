"""What a learner did."""

from collections import Counter
from dataclasses import dataclass, field

STEPS = 1000  # that are kept


@dataclass
class LearnerReport:
    """What one learner did, by outcome: learned, nothing, set_aside, failed, dead, released, fenced."""

    outcomes: Counter[str] = field(default_factory=Counter)
    steps: list[str] = field(default_factory=list)
    """What it did with lessons on trial, in words; the last thousand."""
    earlier: int = 0  # steps that were taken before those
    replayed: int = 0  # pairs of answers that were counted
    last_error: str = ""
    # why a provider refuses a model at present: the learner pauses, and no episode fails for that
    refused: str = ""

    def keep_latest(self) -> None:
        """Let go of the oldest steps where there are too many."""
        excess = max(0, len(self.steps) - STEPS)
        del self.steps[:excess]
        self.earlier += excess

    def steps_since(self, number: int) -> tuple[list[str], int]:
        """Return what was done after so many steps, as far as it is kept, and how many there are by now."""
        return self.steps[max(0, number - self.earlier) :], self.earlier + len(self.steps)

    @property
    def settled(self) -> int:
        """Episodes that were taken out of the queue."""
        return sum(self.outcomes[name] for name in ("learned", "nothing", "set_aside"))
