"""Which experiences stand in a prompt."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.experience.utility import rank
from ted_memory.models import Experience, Usage
from ted_memory.settings import Selection

NEARLY_ALL = 0.9  # share of the texts that a common word stands in

Selector = Callable[[Sequence[Experience], Mapping[str, Usage], str], tuple[Experience, ...]]
"""From the experiences that may be shown, their usage and the question at hand to those that are shown."""


def make_selector(selection: Selection, *, top_k: int, token_budget: int) -> Selector:
    """Return the rule for a selection: ``all``, ``budget`` or ``relevant`` (see DESIGN, the hot path)."""

    def select(experiences: Sequence[Experience], usage: Mapping[str, Usage], question: str) -> tuple[Experience, ...]:
        if selection == "all":
            return tuple(experiences)
        if selection == "budget" or not question.strip():
            return _fit(rank(experiences, usage), token_budget)
        return _fit(relevant(experiences, question)[:top_k], token_budget)

    return select


def _fit(ranked: Sequence[Experience], token_budget: int) -> tuple[Experience, ...]:
    """Take experiences in this order as long as the block fits; a long one does not keep shorter ones out."""
    chosen: list[Experience] = []
    left = token_budget - FRAME_TOKENS
    for experience in ranked:
        if experience.tokens <= left:
            chosen.append(experience)
            left -= experience.tokens
    return tuple(chosen)


def relevant(experiences: Sequence[Experience], question: str) -> list[Experience]:
    """Return the experiences that apply to the question, best first, by BM25 over stems.

    What is matched is ``when``, which says where a lesson applies; the text of one without it. What to do there often
    names things that stand in every question, such as its choices.
    """
    scores = match([e.when or e.text for e in experiences], question)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return [experiences[i] for i in order if scores[i] > 0]


def match(documents: Sequence[str], question: str) -> list[float]:
    """Return the BM25 score of each document for the question; 0 where no word is shared."""
    if not documents:
        return []
    index = _index(tuple(documents))
    words = _stems((question,))[0]
    if index is None or not words:
        return [0.0] * len(documents)
    return [float(score) for score in index.get_scores(words)]


def common_words(texts: Sequence[str]) -> frozenset[str]:
    """Return the stems that stand in nearly all of these texts: their form, not what one of them is about."""
    counts = Counter(stem for stems in _stems(tuple(texts)) for stem in set(stems))
    return frozenset(stem for stem, count in counts.items() if count >= NEARLY_ALL * len(texts))


def distinctive(when: str, common: Collection[str], question: str) -> str:
    """Return a condition, given as key words, without the common ones and without repetitions.

    A word that stands in every question makes a lesson apply to all of them. A condition that would no longer match
    the question that it was written for stays as it is.
    """
    parts = (_distinctive_part(part, common) for part in re.split(r"[,;]", when))
    kept = ", ".join(dict.fromkeys(part for part in parts if part))
    return kept if match([kept], question)[0] > 0 else when


def _distinctive_part(part: str, common: Collection[str]) -> str:
    words = part.split()
    stems = [_stems((word,))[0] for word in words]  # none of a stop word
    if not any(stem in common for word in stems for stem in word):
        return " ".join(words) if any(stems) else ""
    left = [(word, stem) for word, stem in zip(words, stems, strict=True) if not any(s in common for s in stem)]
    telling = [i for i, (_, stem) in enumerate(left) if stem]
    return " ".join(word for word, _ in left[telling[0] : telling[-1] + 1]) if telling else ""


# An index costs about a millisecond; the same set is asked again and again.
@lru_cache(maxsize=32)
def _index(documents: tuple[str, ...]) -> Any:
    import bm25s  # brings numpy: not at import

    stems = _stems(documents)
    if not any(stems):
        return None
    index = bm25s.BM25()
    index.index(stems, show_progress=False)
    return index


def _stems(texts: tuple[str, ...]) -> list[list[str]]:
    import bm25s

    words = bm25s.tokenize(list(texts), stopwords="en", stemmer=_stemmer(), return_ids=False, show_progress=False)
    return [[str(word) for word in text] for text in words]


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
