"""Which experiences stand in a prompt."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.experience.trust import Selector
from ted_memory.experience.utility import rank
from ted_memory.models import Experience, Usage
from ted_memory.settings import Selection

NEARLY_ALL = 0.9  # share of the texts that a common word stands in
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+")  # kana and Han
LONGEST_QUESTION = 4000  # characters that are looked at on an agent's path
FEWEST = 5  # texts that show their common form; what fewer have in common may be what they are about


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
    words = list(dict.fromkeys(_stems((question,))[0]))  # once each: a task's form repeats its own words
    if index is None or not words:
        return [0.0] * len(documents)
    return [float(score) for score in index.get_scores(words)]


def stems(text: str) -> frozenset[str]:
    """Return the stems of a text's words; stop words and single letters have none."""
    return frozenset(_stems((text,))[0])


def applying(experiences: Sequence[Experience], question: str) -> frozenset[str]:
    """Return the ids of those whose ``when`` shares a word with the question, or that apply everywhere."""
    asked = stems(question[:LONGEST_QUESTION]) if any(e.when for e in experiences) else frozenset()
    return frozenset(e.id for e in experiences if not e.when or _lesson_stems(e.when) & asked)


def warm() -> None:
    """Import now what the first request would wait for."""
    stems("warm")


@lru_cache(maxsize=4096)
def _lesson_stems(when: str) -> frozenset[str]:
    return stems(when)


def common_words(texts: Sequence[str]) -> frozenset[str]:
    """Return the stems that stand in nearly all of these texts: their form, not what one of them is about."""
    if len(texts) < FEWEST:
        return frozenset()
    counts = Counter(stem for text in texts for stem in stems(text))
    return frozenset(stem for stem, count in counts.items() if count >= NEARLY_ALL * len(texts))


def distinctive(when: str, question: str, *, common: Collection[str], foreign: Collection[str] = ()) -> str:
    """Return a condition, given as key words or phrases with commas between, without what says nothing.

    Words that stand in every question (stems, `common`) make a lesson apply to all of them: phrases are cut where they
    stand. Phrases of nothing but `foreign` stems go, and so do repetitions. A condition that would no longer match the
    question that it was written for stays as it is.
    """
    phrases = (telling for phrase in re.split(r"[,;]", when) for telling in _cut(phrase, common))
    kept = ", ".join(dict.fromkeys(phrase for phrase in phrases if stems(phrase) - set(foreign)))
    return kept if match([kept], question)[0] > 0 else when


def _cut(phrase: str, common: Collection[str]) -> list[str]:
    """Return what is left of a phrase between common words; the phrase itself where there is none."""
    words = [(word, stems(word)) for word in phrase.split()]
    if all(its.isdisjoint(common) for _, its in words):
        return [" ".join(word for word, _ in words)]
    groups = [list(group) for own, group in groupby(words, lambda w: w[1].isdisjoint(common)) if own]
    return [_trimmed(group) for group in groups]


def _trimmed(words: Sequence[tuple[str, Collection[str]]]) -> str:
    """Return the words from the first to the last that says something: small words would hang in the air."""
    telling = [i for i, (_, its) in enumerate(words) if its]
    return " ".join(word for word, _ in words[telling[0] : telling[-1] + 1]) if telling else ""


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

    spaced = [_UNSPACED.sub(_pairs, text) for text in texts]
    words = bm25s.tokenize(spaced, stopwords="en_plus", stemmer=_stemmer(), return_ids=False, show_progress=False)
    return [[str(word) for word in text] for text in words]


def _pairs(run: re.Match[str]) -> str:
    """Return what stands for words in a language that writes none apart: every two neighbouring characters."""
    text = run[0]
    return f" {' '.join(text[i : i + 2] for i in range(max(1, len(text) - 1)))} "


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
