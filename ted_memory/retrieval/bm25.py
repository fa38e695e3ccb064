"""BM25 over stems: what a lesson's condition and a question have in common, rare words first."""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

from ted_memory.models import Experience
from ted_memory.retrieval.derived import Derived
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


# flat: many small objects would keep the garbage collector busy
Posting = tuple["array[int]", "array[float]"]


class Index:
    """The postings of some texts. Immutable; 5,000 texts are searched in about a millisecond."""

    def __init__(self, texts: Sequence[Terms], languages: Iterable[str]) -> None:
        self.languages = tuple(dict.fromkeys(languages))
        self.size = len(texts)
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
        """Return the numbers of the texts that share a word with the question, best first; equals in their order."""
        scores = self._scores(self._asked(question))
        hits = [number for number, score in enumerate(scores) if score]
        return sorted(hits, key=scores.__getitem__, reverse=True)

    def _asked(self, question: str) -> dict[str, float]:
        """Return the question's terms, each once: a task's form repeats its own words.

        They are stemmed as the texts are: in the languages that occur there, whatever the question
        looks like.
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
    """Return the BM25 score of each document for the question; 0 where no word is shared.

    Who asks the same documents again and again makes one `Index` of them (`index_of`).
    """
    return (
        index_of(documents, language=language, otherwise=detect(question)).scores(question)
        if documents
        else []
    )


def index_of(documents: Sequence[str], *, language: str = AUTO, otherwise: str = "") -> Index:
    """Return the index of some texts; `otherwise` is their language where none of them shows one."""
    languages = (
        languages_of(documents, otherwise) if language == AUTO else [language] * len(documents)
    )
    return Index([analyse(d, one) for d, one in zip(documents, languages, strict=True)], languages)


class WordRetriever(Numbered):
    """Ranks experiences by the words that their condition shares with a question.

    What is matched is ``when``, which says where a lesson applies, with the ``index_terms``; the
    text of a lesson without a condition. What to do there often names things that stand in every
    question, such as its choices. ``language``: an ISO code, or "auto": that of each condition, or
    where it is too short to show one, of most of them. ``says``: what is matched instead.

    Raises:
        SettingsError: the language is not known; the message lists those that are.
    """

    def __init__(
        self, language: str = AUTO, *, says: Callable[[Experience], str] | None = None
    ) -> None:
        self.language = check_language(language)
        self._says = says or _condition
        self._spoken: Derived[tuple[str, str]] = Derived()
        self._terms: Derived[tuple[str, str, Terms]] = Derived()
        self._indexes: Derived[tuple[list[str], str, Index]] = Derived()
        self._last: tuple[Sequence[Experience], str, Index] | None = None

    async def order(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that share a word with the question, best first. Nothing is waited for."""
        return self.order_now(experiences, question)

    def rank_now(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """Return those that share a word with the question, best first, without an event loop."""
        return [experiences[number] for number in self.order_now(experiences, question)]

    def order_now(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return their places."""
        if not experiences or not question.strip():
            return []
        return self._index(experiences, question).ranked(question)

    def scores_now(self, experiences: Sequence[Experience], question: str) -> list[float]:
        """Return the score of each of them; 0 where no word is shared."""
        if not experiences:
            return []
        return self._index(experiences, question).scores(question)

    def _index(self, experiences: Sequence[Experience], asked: str) -> Index:
        """Return the index of these lessons."""
        last = self._last
        if last is not None and last[0] is experiences and _speaks(last[1], asked):
            return last[2]
        silent, index = self._index_of(experiences, asked)
        if isinstance(experiences, tuple):  # a list may be another one when it comes again
            self._last = experiences, silent, index
        return index

    def _index_of(self, experiences: Sequence[Experience], asked: str) -> tuple[str, Index]:
        """Return the index, which lives as long as the first of the lessons, and the question's language it relies on.

        That is "" where the lessons themselves show theirs.
        """
        documents = [self._says(e) for e in experiences]
        held = self._indexes.get(experiences[0])
        if held is not None and held[0] == documents and _speaks(held[1], asked):
            return held[1:]
        spoken = [self._language_of(e, d) for e, d in zip(experiences, documents, strict=True)]
        languages = settled(spoken, documents, detect(asked))
        terms = [
            self._terms_of(e, d, one)
            for e, d, one in zip(experiences, documents, languages, strict=True)
        ]
        silent = "" if any(spoken) else languages[0]
        return self._indexes.put(experiences[0], (documents, silent, Index(terms, languages)))[1:]

    def _language_of(self, experience: Experience, document: str) -> str:
        if self.language != AUTO:
            return self.language
        held = self._spoken.get(experience) or self._spoken.put(
            experience, (document, detect(document))
        )
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
