"""Online learning: from what live agents did to lessons, safely."""

from ted_memory.learner.learner import Learner
from ted_memory.learner.report import LearnerReport
from ted_memory.learner.trials import standings

__all__ = ["Learner", "LearnerReport", "standings"]
