"""Words of training samples by which a lesson is found besides its condition.

They are words that other askers may use, too. A condition of few words misses most of what is about
the same thing. What is added to the index is what documents are expanded with for search (Nogueira
et al., "Document Expansion by Query Prediction", arXiv 1904.08375), only that the questions need
not be predicted: they are there.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from ted_memory.distill.leaks import is_computed
from ted_memory.distill.merging import label_in
from ted_memory.grading.answers import plain
from ted_memory.llm.messages import question, sample_messages
from ted_memory.models import Experience, Sample
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.language import AUTO, languages_of, stemmed
from ted_memory.retrieval.questions import looked_at

MOST = 24  # words of one sample
# share of what an answer has of its own that other samples with a word must have, in the mean
ALIKE = 0.5
OTHERS = 2  # samples that a word must have, besides
COMMON = 0.5  # of the answers: what so many have sets none apart


def terms_of(
    samples: Sequence[Sample], labels: Collection[str], *, language: str = AUTO
) -> Mapping[str, str]:
    """Return by sample id the words, with blanks between, that no sample with another answer has.

    Those that more samples with the same answer have come first. Only of samples whose answer is
    one of the ``labels`` (in plain form, see `ted_memory.distill.leaks.recurring_answers`): what
    sets a sample with an answer of its own apart is its details. None of samples that hold
    somebody's words, which name their ``sources``.
    """
    words = _words_of(samples, language)
    answers = {s.id: plain(s.reference or "") for s in samples}
    # of each stem, how many samples of each answer have it
    met: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        for stem in words[sample.id]:
            met[stem][answers[sample.id]] += 1

    terms = {}
    for sample in samples:
        if answers[sample.id] in labels and not sample.sources:
            terms[sample.id] = " ".join(_telling(words[sample.id], met))
    return terms


def _telling(words: Mapping[str, str], met: Mapping[str, Counter[str]]) -> list[str]:
    """Return the words of a sample that none with another answer has, the most frequent first."""
    telling = [stem for stem, word in words.items() if len(met[stem]) == 1 and not word.isdigit()]
    telling.sort(key=lambda stem: met[stem].total(), reverse=True)
    return [words[stem] for stem in telling[:MOST]]


def kindred_words(
    samples: Sequence[Sample], *, language: str = AUTO
) -> Mapping[str, tuple[str, ...]]:
    """Return by sample id those of its words that go with answers like its own.

    They stand in the order of the text. An answer in parts (a code, a place, a closing line) has
    some that its own task does not say. A word goes with them where at least two other samples have
    it, and these share at least half of the parts, in the mean: "seeds" does, the day of the month
    does not. Samples whose answers have no such part are left out, and so are numbers, dates, and
    whatever holds somebody's words.
    """
    ours = [s for s in samples if not s.sources and not is_computed(plain(s.reference or ""))]
    words, parts = _words_of(ours, language), _parts_of(ours, language)
    together = _Together(ours, words, parts)
    found = dict[str, tuple[str, ...]]()
    for sample in ours:
        own = parts[sample.id]
        if own:
            found[sample.id] = tuple(
                word
                for stem, word in words[sample.id].items()
                if not word.isdigit() and together.go(stem, own)
            )
    return found


class _Together:
    """How often words stand in tasks whose answers have the same parts."""

    def __init__(
        self,
        samples: Sequence[Sample],
        words: Mapping[str, Mapping[str, str]],
        parts: Mapping[str, set[str]],
    ) -> None:
        self._samples_with: Counter[str] = Counter()
        self._parts_with: dict[str, Counter[str]] = defaultdict(Counter)
        for sample in samples:
            for stem in words[sample.id]:
                self._samples_with[stem] += 1
                self._parts_with[stem].update(parts[sample.id])

    def go(self, stem: str, parts: Collection[str]) -> bool:
        """Tell whether the other samples with a word have most of these parts of an answer."""
        others = self._samples_with[stem] - 1
        shared = sum(self._parts_with[stem][part] - 1 for part in parts)
        return others >= OTHERS and shared >= ALIKE * len(parts) * others


def _parts_of(samples: Sequence[Sample], language: str) -> Mapping[str, set[str]]:
    """Return by sample id the stems that its answer has, and neither its task nor most answers."""
    said = _stems_of([plain(s.reference or "") for s in samples], language)
    asked = _stems_of([s.text for s in samples], language)
    counts = Counter(stem for stems in said for stem in stems)
    common = {stem for stem, count in counts.items() if count > COMMON * len(samples)}
    return {s.id: ours - common - its for s, ours, its in zip(samples, said, asked, strict=True)}


def _stems_of(texts: Sequence[str], language: str) -> list[set[str]]:
    """Return the stems of each text."""
    return [{stem for _, stem in words} for words in _stemmed_all(texts, language)]


def _stemmed_all(texts: Sequence[str], language: str) -> list[Sequence[tuple[str, str]]]:
    """Return the words of each text with their stems, as retrieval reads them."""
    read = [looked_at(text) for text in texts]
    spoken = languages_of(read) if language == AUTO else [language] * len(read)
    return [stemmed(text, one) for text, one in zip(read, spoken, strict=True)]


def _words_of(samples: Sequence[Sample], language: str) -> Mapping[str, Mapping[str, str]]:
    """Return by sample id what it asks, each word by its stem, in the order of the text."""
    asked = [question(sample_messages(sample)) for sample in samples]
    found = dict[str, Mapping[str, str]]()
    for sample, words in zip(samples, _stemmed_all(asked, language), strict=True):
        found[sample.id] = {stem: word for word, stem in words}
    return found


def lesson_for(
    sample: Sample, lessons: Sequence[Experience], labels: Collection[str], *, language: str = AUTO
) -> Experience | None:
    """Return the lesson that tells the answer of a sample, None where none does.

    Of several it is the one that is found first for the sample.
    """
    answer = plain(sample.reference or "")
    if not answer:
        return None
    conditional = [e for e in lessons if not e.applies_always]
    telling = [e for e in conditional if label_in(e.text, labels) == answer]
    found = WordRetriever(language).rank_now(telling, question(sample_messages(sample)))
    return next(iter([*found, *telling]), None)
