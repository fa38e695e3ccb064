"""Which words of a condition set its task apart from others.

For the critic's proposals in runs and from traffic (`distill`). A condition is what retrieval finds
a lesson by. Words that stand in every task, such as those of its form, would make the lesson apply
to all of them.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import groupby

from ted_memory.retrieval.bm25 import match
from ted_memory.retrieval.language import AUTO, DEFAULT, analyse, detect, languages_of

NEARLY_ALL = 0.9  # share of the texts that a common word stands in
FEWEST = 5  # texts that show a common form: what fewer share may be what they are about


def spoken_in(when: str, task: str, language: str = AUTO) -> str:
    """Return the language that retrieval reads a condition in.

    That is the set's ``language``, or with "auto" the condition's own, or where it is too short to
    show one, the task's.
    """
    return languages_of([when], detect(task))[0] if language == AUTO else language


def stems(text: str, *, language: str = AUTO) -> frozenset[str]:
    """Return the stems of a text's words, without stop words and single letters."""
    spoken = detect(text) or DEFAULT if language == AUTO else language
    return frozenset(analyse(text, spoken).counts)


def common_words(texts: Sequence[str], *, language: str = AUTO) -> frozenset[str]:
    """Return the stems that nearly all of these texts share: their form, not what one is about.

    Fewer than `FEWEST` texts show no form.
    """
    if len(texts) < FEWEST:
        return frozenset()
    spoken = languages_of(texts) if language == AUTO else [language] * len(texts)
    counts: Counter[str] = Counter()
    for text, its_language in zip(texts, spoken, strict=True):
        counts.update(stems(text, language=its_language))
    return frozenset(stem for stem, count in counts.items() if count >= NEARLY_ALL * len(texts))


def distinctive(
    when: str,
    question: str,
    *,
    common: Collection[str],
    foreign: Collection[str] = (),
    language: str = AUTO,
) -> str:
    """Return a condition without what does not set its task apart.

    Phrases are cut where words stand that all tasks share. Phrases of nothing but words that were
    copied from elsewhere go, and so do repetitions. A condition that would no longer match its own
    task stays as it is.

    Args:
        when: key words or phrases, with commas between them.
        question: the task that it was written for.
        common: stems that all tasks share (`common_words`).
        foreign: stems of what other lessons' conditions say.
        language: of the set; with "auto" the question's.
    """
    if language == AUTO:
        language = detect(question) or detect(when) or DEFAULT
    kept: dict[str, None] = {}
    for phrase in re.split(r"[,;、，；]", when):
        for part in _cut(phrase, common, language):
            if stems(part, language=language) - set(foreign):
                kept[part] = None
    shortened = ", ".join(kept)
    return shortened if match([shortened], question, language=language)[0] > 0 else when


def _cut(phrase: str, common: Collection[str], language: str) -> list[str]:
    """Return the parts of a phrase between common words; the whole phrase where there is none."""
    words = [(word, stems(word, language=language)) for word in phrase.split()]
    if all(its.isdisjoint(common) for _, its in words):
        return [" ".join(word for word, _ in words)]
    groups = [
        list(group) for own, group in groupby(words, lambda w: w[1].isdisjoint(common)) if own
    ]
    return [_trimmed(group) for group in groups]


def _trimmed(words: Sequence[tuple[str, Collection[str]]]) -> str:
    """Return the words without the small ones at both ends, which would hang in the air."""
    telling = [i for i, (_, its) in enumerate(words) if its]
    return " ".join(word for word, _ in words[telling[0] : telling[-1] + 1]) if telling else ""
