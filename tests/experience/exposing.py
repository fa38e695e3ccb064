"""What requests are shown: helpers for tests of the assignment."""

import math
from datetime import datetime

from ted_memory.episodes import Exposure
from ted_memory.experience.assignment import (
    Selector,
    expose,
)
from ted_memory.experience.ranking import Ranking
from ted_memory.models import Experience
from ted_memory.retrieval.selection import make_selector
from tests.experience.asking import ranked
from tests.experience.lessons import NOW, TOKEN_BUDGET, a_set

UNITS = 6000


ALL = make_selector("all", top_k=3, token_budget=TOKEN_BUDGET)


SELECTORS = [
    ALL,
    *(make_selector(name, top_k=2, token_budget=90) for name in ("budget", "relevant")),
]


WORDS = ["tea", "coffee", "rain", "tea or rain"]


def shown(
    *lessons: Experience,
    unit: str = "u",
    by: str = "carl",
    withhold: float = 0,
    choose: Selector = ALL,
    asked: str = "",
    epoch: str = "epoch",
    ranking: Ranking | None = None,
    now: datetime = NOW,
) -> Exposure:
    held = a_set(*lessons, epoch=epoch)
    ranking = ranking or ranked(held.candidates, asked)
    return expose(held, choose, ranking, unit=unit, principal=by, withhold_share=withhold, now=now)


def near(share: float, expected: float, count: int = UNITS) -> bool:
    """Tell whether a share is within four standard errors."""
    return abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)
