"""What a learner did."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class LearnerReport:
    """What one learner did, by outcome: learned, nothing, set_aside, failed, dead, released, fenced."""

    outcomes: Counter[str] = field(default_factory=Counter)
    steps: list[str] = field(default_factory=list)
    """What it did with lessons on trial, in words; the last thousand."""
    replayed: int = 0  # pairs of answers that were counted
    last_error: str = ""
    refused: str = ""  # why a provider refuses a model at present: the learner pauses, and no episode fails for that

    @property
    def settled(self) -> int:
        """Episodes that were taken out of the queue."""
        return sum(self.outcomes[name] for name in ("learned", "nothing", "set_aside"))
