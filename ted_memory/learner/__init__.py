"""Online learning: from what live agents did to lessons, safely."""

from ted_memory.learner.archive import archived_samples
from ted_memory.learner.learner import Learner
from ted_memory.learner.overview import Departure, Funnel, Pace, departure, funnel, pace
from ted_memory.learner.report import LearnerReport
from ted_memory.learner.standing import explain, standings

__all__ = [
    "Departure",
    "Funnel",
    "Learner",
    "LearnerReport",
    "Pace",
    "archived_samples",
    "departure",
    "explain",
    "funnel",
    "pace",
    "standings",
]
