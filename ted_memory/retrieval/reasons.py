"""Why lessons were found for a question: their score, and the words that they share with it.

For people who ask (the desk's playground). An agent's request never comes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ted_memory.models import Experience
from ted_memory.retrieval.bm25 import WordRetriever, condition_of
from ted_memory.retrieval.language import AUTO, detect, stemmed
from ted_memory.retrieval.questions import looked_at


@dataclass(frozen=True)
class Reason:
    """What words say of one lesson for a question.

    Attributes:
        lesson: the lesson.
        score: BM25 over its condition and index terms; it has no unit, and 0 means nothing shared.
        words: those of the question that it shares, as the question spells them.
    """

    lesson: Experience
    score: float
    words: tuple[str, ...]


def reasons(
    lessons: Sequence[Experience],
    question: str,
    wanted: Sequence[Experience],
    *,
    language: str = AUTO,
) -> tuple[Reason, ...]:
    """Tell what words say of the lessons that are ``wanted``, in their order.

    How rare a word is, and so a score, depends on all ``lessons``; see `bm25.WordRetriever`.
    """
    scores = _retriever(language).scores_now(lessons, question)
    score_of = {lesson.id: score for lesson, score in zip(lessons, scores, strict=True)}
    asked = looked_at(question)
    return tuple(
        Reason(e, score_of[e.id], _shared(e, asked, language) if score_of[e.id] else ())
        for e in wanted
    )


@lru_cache(maxsize=8)  # it keeps the index of a set for as long as the set is the same
def _retriever(language: str) -> WordRetriever:
    return WordRetriever(language)


def _shared(lesson: Experience, asked: str, language: str) -> tuple[str, ...]:
    condition = condition_of(lesson)
    spoken = (detect(condition) or detect(asked) or "en") if language == AUTO else language
    stems = {stem for _, stem in stemmed(condition, spoken)}
    return tuple(dict.fromkeys(word for word, stem in stemmed(asked, spoken) if stem in stems))
