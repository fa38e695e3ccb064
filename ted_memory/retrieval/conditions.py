"""What a condition may be made of: the words that set a task apart from others."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby

from ted_memory.retrieval.bm25 import match
from ted_memory.retrieval.language import AUTO, DEFAULT, analyse, detect, languages_of

NEARLY_ALL = 0.9  # share of the texts that a common word stands in
# texts that show their common form; what fewer have in common may be what they are about
FEWEST = 5


def spoken_in(when: str, task: str, language: str = AUTO) -> str:
    """Return the language that retrieval reads a condition in, where it stands beside a task.

    That is the set's ``language``, or with "auto" its own, or where it shows none the task's.
    """
    return languages_of([when], detect(task))[0] if language == AUTO else language


def stems(text: str, *, language: str = AUTO) -> frozenset[str]:
    """Return the stems of a text's words; stop words and single letters have none."""
    spoken = detect(text) or DEFAULT if language == AUTO else language
    return frozenset(analyse(text, spoken).counts)


def common_words(texts: Sequence[str], *, language: str = AUTO) -> frozenset[str]:
    """Return the stems that stand in nearly all of these texts: their form, not what one of them is about."""
    if len(texts) < FEWEST:
        return frozenset()
    spoken = languages_of(texts) if language == AUTO else [language] * len(texts)
    counts = Counter(
        stem for text, one in zip(texts, spoken, strict=True) for stem in stems(text, language=one)
    )
    return frozenset(stem for stem, count in counts.items() if count >= NEARLY_ALL * len(texts))


def distinctive(
    when: str,
    question: str,
    *,
    common: Collection[str],
    foreign: Collection[str] = (),
    language: str = AUTO,
) -> str:
    """Return a condition, given as key words or phrases with commas between, without what says nothing.

    Words that stand in every question (stems, `common`) make a lesson apply to all of them: phrases
    are cut where they stand. Phrases of nothing but `foreign` stems go, and so do repetitions. A
    condition that would no longer match the question that it was written for stays as it is.
    """
    spoken = (detect(question) or detect(when) or DEFAULT) if language == AUTO else language
    phrases = (
        telling
        for phrase in re.split(r"[,;、，；]", when)
        for telling in _cut(phrase, common, spoken)
    )
    kept = ", ".join(dict.fromkeys(p for p in phrases if stems(p, language=spoken) - set(foreign)))
    return kept if match([kept], question, language=spoken)[0] > 0 else when


def _cut(phrase: str, common: Collection[str], language: str) -> list[str]:
    """Return what is left of a phrase between common words; the phrase itself where there is none."""
    words = [(word, stems(word, language=language)) for word in phrase.split()]
    if all(its.isdisjoint(common) for _, its in words):
        return [" ".join(word for word, _ in words)]
    groups = [
        list(group) for own, group in groupby(words, lambda w: w[1].isdisjoint(common)) if own
    ]
    return [_trimmed(group) for group in groups]


def _trimmed(words: Sequence[tuple[str, Collection[str]]]) -> str:
    """Return the words from the first to the last that says something: small words would hang in the air."""
    telling = [i for i, (_, its) in enumerate(words) if its]
    return " ".join(word for word, _ in words[telling[0] : telling[-1] + 1]) if telling else ""
