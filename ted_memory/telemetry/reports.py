"""What callers tell of an evaluation, and of an episode while a learner works on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """What the answer of a run was found to be worth.

    Attributes:
        name: ``feedback`` of somebody, or the ``grade`` of a learner.
        score: in [0, 1].
        comment: what was said of it, in words.
        verdict: of the store, on feedback (see `ted_memory.episodes.Verdict`).
    """

    name: str
    namespace: str
    run_id: str
    score: float
    comment: str = ""
    verdict: str = ""

    @property
    def label(self) -> str:
        """The score in words."""
        if self.score >= 1:
            return "pass"
        return "partial" if self.score > 0 else "fail"


@dataclass
class Learned:
    """What became of one episode, by the names of `learner.report.LearnerReport`; "" so far."""

    outcome: str = ""
