"""Online learning: from what live agents did to lessons, safely."""

from ted_memory.learner.archive import archived_samples
from ted_memory.learner.learner import Learner
from ted_memory.learner.overview import Funnel, Pace, funnel, pace
from ted_memory.learner.report import LearnerReport
from ted_memory.learner.trials import explain, standings

__all__ = [
    "Funnel",
    "Learner",
    "LearnerReport",
    "Pace",
    "archived_samples",
    "explain",
    "funnel",
    "pace",
    "standings",
]
