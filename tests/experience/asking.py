"""What a question is about, by its words, for tests of what follows from it."""

from collections.abc import Sequence

from ted_memory.experience.ranking import Ranking
from ted_memory.models import Experience
from ted_memory.retrieval import WordRetriever


def ranked(lessons: Sequence[Experience], asked: str) -> Ranking:
    return Ranking(tuple(e.id for e in WordRetriever().rank_now(lessons, asked)) if asked else None)


def applying(lessons: Sequence[Experience], asked: str) -> frozenset[str]:
    return ranked(lessons, asked).applying(lessons)
