"""Retrieval by words: which lessons' conditions share words with a question, rare words first.

The score is BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond,
2009) over the stems that `language` makes of a text: ``sum of rarity * count / (count + K1 (1 - B +
B length / mean length))`` over the words in common. It is a number above 0 without a unit: it only
orders texts for one question.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

from ted_memory.derived import Derived
from ted_memory.models import Experience
from ted_memory.retrieval.language import (
    AUTO,
    Terms,
    analyse,
    check_language,
    detect,
    languages_of,
    settled,
)
from ted_memory.retrieval.protocol import Numbered
from ted_memory.retrieval.questions import looked_at

K1, B = 1.5, 0.75  # how fast a repeated word stops to count; how much a long text is held back


Posting = tuple["array[int]", "array[float]"]
"""The texts with one word, and its scores there. Flat arrays: objects would busy the collector."""


class Index:
    """The words of some texts, to be searched again and again; it does not change.

    5,000 texts take about a millisecond.
    """

    def __init__(self, texts: Sequence[Terms], languages: Iterable[str]) -> None:
        self.languages: tuple[str, ...] = tuple(dict.fromkeys(languages))
        self.size: int = len(texts)
        postings: dict[str, list[tuple[int, float]]] = {}
        average = sum(text.length for text in texts) / len(texts) if texts else 0.0
        for number, text in enumerate(texts):
            held_back = K1 * (1 - B + B * (text.length / average if average else 1.0))
            for term, count in text.counts.items():
                postings.setdefault(term, []).append((number, count / (count + held_back)))
        self._postings = {term: _weighed(found, self.size) for term, found in postings.items()}

    def scores(self, question: str) -> list[float]:
        """Return the score of each text for the question; 0 where no word is shared."""
        return self._scores(self._asked(question))

    def ranked(self, question: str) -> list[int]:
        """Return the places of the texts that share a word with the question, best first.

        Those with equal scores keep their order.
        """
        scores = self._scores(self._asked(question))
        hits = [number for number, score in enumerate(scores) if score]
        return sorted(hits, key=scores.__getitem__, reverse=True)

    def _asked(self, question: str) -> dict[str, float]:
        """Return the stems of a question, each once: tasks repeat the words of their form.

        They are made as those of the texts are, in all languages that occur there, whatever
        language the question looks like. Parts of hyphenated words weigh less.
        """
        terms: dict[str, float] = {}
        asked = looked_at(question)
        for language in self.languages:
            for term, count in analyse(asked, language).counts.items():
                terms[term] = max(terms.get(term, 0.0), min(count, 1.0))
        return terms

    def _scores(self, terms: Mapping[str, float]) -> list[float]:
        scores = [0.0] * self.size
        for term, weight in terms.items():
            if term in self._postings:
                numbers, weighed = self._postings[term]
                for number, score in zip(numbers, weighed, strict=False):  # as long as each other
                    scores[number] += weight * score
        return scores


def _weighed(found: Sequence[tuple[int, float]], size: int) -> Posting:
    rarity = math.log(1 + (size - len(found) + 0.5) / (len(found) + 0.5))
    numbers, frequencies = zip(*found, strict=True)
    return array("l", numbers), array("d", (rarity * frequency for frequency in frequencies))


def match(documents: Sequence[str], question: str, *, language: str = AUTO) -> list[float]:
    """Return the score of each document for the question; 0 where no word is shared.

    To ask the same documents again, make one `Index` of them (`index_of`).
    """
    if not documents:
        return []
    index = index_of(documents, language=language, otherwise=detect(question))
    return index.scores(question)


def index_of(documents: Sequence[str], *, language: str = AUTO, otherwise: str = "") -> Index:
    """Return the index of some texts.

    With `AUTO` each is read in its own language; where none shows one, in ``otherwise``.
    """
    spoken = languages_of(documents, otherwise) if language == AUTO else [language] * len(documents)
    terms = [analyse(text, its_own) for text, its_own in zip(documents, spoken, strict=True)]
    return Index(terms, spoken)


class WordRetriever(Numbered):
    """Ranks experiences by the words that their condition shares with a question.

    Matched are ``when``, which says where a lesson applies, and the ``index_terms``; of a lesson
    without a condition its text. The text of others is not: what to do often names things that
    stand in every question, such as its choices.

    Args:
        language: an ISO code, or "auto": that of each condition, or where it is too short to show
            one, of most of them.
        says: what is matched of an experience instead.

    Raises:
        SettingsError: the language is not known; the message lists those that are.
    """

    def __init__(
        self, language: str = AUTO, *, says: Callable[[Experience], str] | None = None
    ) -> None:
        self.language: str = check_language(language)
        self._says = says or _condition
        self._spoken: Derived[tuple[str, str]] = Derived()
        self._terms: Derived[tuple[str, str, Terms]] = Derived()
        self._indexes: Derived[tuple[list[str], str, Index]] = Derived()
        self._last: tuple[Sequence[Experience], str, Index] | None = None

    async def order(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that share a word with the question, best first."""
        return self.order_now(experiences, question)

    def rank_now(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """Return those that share a word with the question, best first. Needs no event loop."""
        return [experiences[number] for number in self.order_now(experiences, question)]

    def order_now(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that share a word with the question, best first.

        Needs no event loop. None applies to an empty question.
        """
        if not experiences or not question.strip():
            return []
        return self._index(experiences, question).ranked(question)

    def scores_now(self, experiences: Sequence[Experience], question: str) -> list[float]:
        """Return the score of each experience; 0 where no word is shared."""
        if not experiences:
            return []
        return self._index(experiences, question).scores(question)

    def _index(self, experiences: Sequence[Experience], asked: str) -> Index:
        """Return the index of these lessons, kept for the same tuple.

        Where the lessons show no language it is made in the question's, and anew for another one.
        """
        last = self._last
        if last is not None and last[0] is experiences and _speaks(last[1], asked):
            return last[2]
        silent, index = self._index_of(experiences, asked)
        if isinstance(experiences, tuple):  # a list may be another one when it comes again
            self._last = experiences, silent, index
        return index

    def _index_of(self, experiences: Sequence[Experience], asked: str) -> tuple[str, Index]:
        """Return the language that the index takes a question to be in, and the index.

        "" where the lessons themselves show theirs, so that any question will do. The index is kept
        as long as the first of the lessons lives.
        """
        documents = [self._says(e) for e in experiences]
        held = self._indexes.get(experiences[0])
        if held is not None and held[0] == documents and _speaks(held[1], asked):
            return held[1:]
        spoken = [self._language_of(e, d) for e, d in zip(experiences, documents, strict=True)]
        languages = settled(spoken, documents, detect(asked))
        read = zip(experiences, documents, languages, strict=True)
        terms = [self._terms_of(e, document, language) for e, document, language in read]
        silent = "" if any(spoken) else languages[0]
        return self._indexes.put(experiences[0], (documents, silent, Index(terms, languages)))[1:]

    def _language_of(self, experience: Experience, document: str) -> str:
        if self.language != AUTO:
            return self.language
        held = self._spoken.get(experience)
        if held is None:
            held = self._spoken.put(experience, (document, detect(document)))
        return held[1]

    def _terms_of(self, experience: Experience, document: str, language: str) -> Terms:
        held = self._terms.get(experience)
        if held is None or held[:2] != (document, language):
            held = self._terms.put(experience, (document, language, analyse(document, language)))
        return held[2]


def _condition(experience: Experience) -> str:
    return f"{experience.when or experience.text} {experience.index_terms}".rstrip()


def _speaks(language: str, asked: str) -> bool:
    """Tell whether a question may be in this language, "" for any."""
    return not language or detect(asked) in {"", language}
