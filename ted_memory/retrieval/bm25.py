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
NONE: "array[int]" = array("l")


class Index:
    """The words of some texts, to be searched again and again; it does not change.

    The first question looks through the texts for its own words, since many sets are asked once:
    those that a verification tries, or a share that one attempt sees. A second question has all
    words listed, which takes a few milliseconds with 5,000 texts. What is found is the same.
    """

    def __init__(self, texts: Sequence[Terms], languages: Iterable[str]) -> None:
        self.languages: tuple[str, ...] = tuple(dict.fromkeys(languages))
        self.size: int = len(texts)
        self._counts = [text.counts for text in texts]
        average = sum(text.length for text in texts) / len(texts) if texts else 0.0
        self._held_back = [
            K1 * (1 - B + B * (text.length / average if average else 1.0)) for text in texts
        ]
        self._asked_before = False
        self._listed: dict[str, array[int]] | None = None  # the texts with each word
        self._postings: dict[str, Posting] = {}

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
        if self._asked_before and self._listed is None:
            self._listed = self._list_words()
        self._asked_before = True
        scores = [0.0] * self.size
        for term, weight in terms.items():
            numbers, weighed = self._posting(term)
            for number, score in zip(numbers, weighed, strict=True):
                scores[number] += weight * score
        return scores

    def _posting(self, term: str) -> Posting:
        held = self._postings.get(term)
        if held is not None:
            return held
        numbers = self._with(term)
        rarity = math.log(1 + (self.size - len(numbers) + 0.5) / (len(numbers) + 0.5))
        posting = numbers, array("d", (rarity * self._frequency(n, term) for n in numbers))
        if numbers:  # a word that no text has would be kept for each question with another one
            self._postings[term] = posting
        return posting

    def _frequency(self, number: int, term: str) -> float:
        count = self._counts[number][term]
        return count / (count + self._held_back[number])

    def _with(self, term: str) -> "array[int]":
        """Return the places of the texts with this word."""
        if self._listed is not None:
            return self._listed.get(term, NONE)
        return array("l", (n for n, counts in enumerate(self._counts) if term in counts))

    def _list_words(self) -> "dict[str, array[int]]":
        listed: dict[str, array[int]] = {}
        for number, counts in enumerate(self._counts):
            for term in counts:
                held = listed.get(term)
                if held is None:
                    held = listed[term] = array("l")
                held.append(number)
        return listed


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
        self._says = says or condition_of
        self._readings: Derived[_Reading] = Derived()
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
        readings = [self._reading(e) for e in experiences]
        documents = [reading.document for reading in readings]
        held = self._indexes.get(experiences[0])
        if held is not None and held[0] == documents and _speaks(held[1], asked):
            return held[1:]
        spoken = [reading.spoken for reading in readings]
        languages = settled(spoken, documents, detect(asked))
        terms = [r.terms(language) for r, language in zip(readings, languages, strict=True)]
        silent = "" if any(spoken) else languages[0]
        return self._indexes.put(experiences[0], (documents, silent, Index(terms, languages)))[1:]

    def _reading(self, experience: Experience) -> "_Reading":
        held = self._readings.get(experience)
        if held is not None:
            return held
        document = self._says(experience)
        spoken = detect(document) if self.language == AUTO else self.language
        return self._readings.put(experience, _Reading(document, spoken))


class _Reading:
    """What is matched of one experience: its words, and the language that they show, or ""."""

    __slots__ = ("_read", "document", "spoken")

    def __init__(self, document: str, spoken: str) -> None:
        self.document, self.spoken = document, spoken
        self._read: tuple[str, Terms] | None = None

    def terms(self, language: str) -> Terms:
        """Return its words, read in this language."""
        if self._read is None or self._read[0] != language:
            self._read = language, analyse(self.document, language)
        return self._read[1]


def condition_of(experience: Experience) -> str:
    """What is matched of an experience, where nothing else is asked for."""
    return f"{experience.when or experience.text} {experience.index_terms}".rstrip()


def _speaks(language: str, asked: str) -> bool:
    """Tell whether a question may be in this language, "" for any."""
    return not language or detect(asked) in {"", language}
