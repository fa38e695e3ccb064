"""Learning from live traffic: from what agents did to lessons that all of them see.

| file | question |
|---|---|
| `learner.py` | which episode is worked on next, and what follows on a failure? |
| `episode.py`, `samples.py` | what does one episode teach? |
| `spaces.py` | which namespaces, and what is kept of each? |
| `beside.py` | what goes on beside the episodes? |
| `trials.py` | which steps of lessons are taken now? |
| `replay.py`, `reach.py` | which lesson is replayed on which archived episode? |
| `allowance.py` | how many replays does the day still allow? |
| `standing.py`, `overview.py`, `report.py` | how far has it come, and where is a lesson? |
| `archive.py` | what of it may a run over a data set learn from? |
"""

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
