"""From a text to what retrieval compares: the stems of its words, in the language that it is in.

Words are in lower case, without stop words and single letters. In languages that are written
without blanks every two neighbouring characters stand for a word. Which language a text is in is
told by its script, its small words and letters; short texts borrow it from those around them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ted_memory.errors import SettingsError

AUTO = "auto"
DEFAULT = "en"  # of a text that shows no language

# ISO 639-1 -> the name of its stemmer
STEMMERS: Mapping[str, str] = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
# Written without blanks, or with endings that no stemmer of ours knows: compared by pairs of
# characters.
PAIRED = ("ja", "ko", "zh")
LANGUAGES = tuple(sorted((*STEMMERS, *PAIRED)))
# no list of stop words is shipped
UNLISTED = frozenset({"et", "eu", "ga", "hy", "lt", "ne", "sr", "ta", "yi"})
LATIN = (
    "en",
    "es",
    "fr",
    "de",
    "pt",
    "it",
    "nl",
    "pl",
    "tr",
    "sv",
    "cs",
    "hu",
    "ro",
    "da",
    "no",
    "fi",
    "id",
    "ca",
)
"""Languages that small words tell apart. Of two that come out equal the first one is taken."""

# the classical list, with what is left of a contraction when its apostrophe splits it
_ENGLISH = """
a about above after again against ain all am an and any are aren as at be because been before being
below between both but by can couldn d did didn do does doesn doing don down during each few for
from further had hadn has hasn have haven having he her here hers herself him himself his how i if
in into is isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now
o of off on once only or other our ours ourselves out over own re s same shan she should shouldn so
some such t than that the their theirs them themselves then there these they this those through to
too under until up ve very was wasn we were weren what when where which while who whom why will
with won wouldn y you your yours yourself yourselves
"""
# of the pairs of kana those that only inflect, join or are polite
_KANA = """
です ます まし した して ている てい いる ある ない なら たい たら ください くだ
だい さい され れる られ せん から まで より って とき こと もの ので のに
では には とは への での また など どう この その あの どの ここ そこ これ
それ あれ どれ いて いま すか ませ ょう しょ でし んで んな えて いた なる
なり なっ った する ると ため よう うに うか たが ほし しい いで しま がで
"""
_HAN = (
    "我们 你们 他们 她们 这个 那个 这些 那些 什么 怎么 怎样 "
    "可以 需要 一个 因为 所以 如果 但是 还是 没有 已经 应该 请问"
)

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")  # kana, Han, Hangul
# vowel signs and points belong to words, and are no \w: combining ones, Hebrew's, Arabic's, those
# of India's scripts
_IN_WORDS = (
    "[\\w\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0dff]+"
)
_WORD = re.compile(rf"{_IN_WORDS}(?:-{_IN_WORDS})*")
_LETTERED = re.compile(_IN_WORDS)
LOOKED_AT = 1000  # characters of a text that tell its language
LETTER = 2  # words that a letter counts for
# language -> a word in its script. Of most scripts a single letter is none: it may be one of a
# formula
_WORDS_OF = {
    "zh": re.compile(r"[\u3040-\u30ff\u3400-\u9fff]{1,2}"),  # or Japanese
    "ko": re.compile(r"[\uac00-\ud7af]{1,2}"),
    "ru": re.compile(r"[\u0400-\u04ff]{2,}"),
    "el": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{2,}"),
    "hy": re.compile(r"[\u0530-\u058f]{2,}"),
    "yi": re.compile(r"[\u0590-\u05ff]{2,}"),
    "ar": re.compile(r"[\u0600-\u06ff]{2,}"),
    "hi": re.compile(r"[\u0900-\u097f]{2,}"),
    "ta": re.compile(r"[\u0b80-\u0bff]{2,}"),
}
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]{2,}")
# language by its script -> who has letters of his own there, these, the least share of all letters
# that they must have
_WITHIN = {
    "zh": ("ja", re.compile(r"[\u3040-\u30ff]"), 0.1),
    "ru": ("sr", re.compile(r"[ђјљњћџЂЈЉЊЋЏ]"), 0.02),
    "ar": ("fa", re.compile(r"[پچژگکی]"), 0.02),
}
QUOTED = 0.5
"""Least share of a text's words in another script that decides, where Latin ones show a language.

Fewer are a quotation.
"""
MENTIONED = 0.2
"""Least share where the Latin words show no language: they may be names of products."""
# letters that set a language apart where a text has no small words
_LETTERS = {
    "ß": ("de",),
    "ä": ("de", "sv", "fi"),
    "ö": ("de", "sv", "fi", "hu", "tr"),
    "ü": ("de", "tr", "hu"),
    "ñ": ("es",),
    "ã": ("pt",),
    "õ": ("pt",),
    "è": ("fr", "it", "ca"),
    "ê": ("fr", "pt"),
    "ù": ("fr", "it"),
    "œ": ("fr",),
    "ø": ("da", "no"),
    "æ": ("da", "no"),
    "å": ("sv", "da", "no"),
    "ł": ("pl",),
    "ż": ("pl",),
    "ś": ("pl",),
    "ę": ("pl",),
    "ř": ("cs",),
    "ě": ("cs",),
    "ů": ("cs",),
    "ő": ("hu",),
    "ű": ("hu",),
    "ş": ("tr",),
    "ğ": ("tr",),
    "ı": ("tr",),
    "ț": ("ro",),
    "ș": ("ro",),
    "ă": ("ro",),
}
FIRST_OF_HAN = "\u3400"
PART = 0.5
"""Count of a part of a hyphenated word: for an e-bike, lessons on bikes are not the first ones."""


@dataclass(frozen=True)
class Terms:
    """What a text is compared by.

    Attributes:
        counts: of each stem; a part of a hyphenated word counts `PART`.
        length: how many words the text has, without stop words.
    """

    counts: Mapping[str, float]
    length: int


def check_language(language: str) -> str:
    """Return the language, or raise SettingsError that lists the known ones."""
    if language != AUTO and language not in LANGUAGES:
        raise SettingsError(
            f"setting language={language!r} is unknown: use {AUTO!r} or one of "
            f"{', '.join(LANGUAGES)} (argument or TED_MEMORY_LANGUAGE)"
        )
    return language


def detect(text: str) -> str:
    """Return the language of a text, "" where it shows none.

    Words in another script than Latin decide, unless they are just quoted or mentioned. In Latin
    script the signs of a language are its small words, and letters that only it and few others
    have; a letter counts for two. A language other than English needs two signs, and more than
    English has: most lessons are short, and words are lent most often to English and from it.
    """
    latin = _in_latin(text)
    if not text.isascii():
        language, share = _by_script(text[:LOOKED_AT])
        if share >= (QUOTED if latin else MENTIONED):
            return language
    return latin


def _by_script(text: str) -> tuple[str, float]:
    """Return the language of the script of most words, Latin aside, and those words' share."""
    words = {language: word.findall(text) for language, word in _WORDS_OF.items()}
    language = max(words, key=lambda language: len(words[language]))
    count = len(words[language])
    if not count:
        return "", 0.0
    share = count / (count + len(_LATIN_WORD.findall(text)))
    if language in _WITHIN:
        other, own, least = _WITHIN[language]
        letters = "".join(words[language])
        if len(own.findall(letters)) >= least * len(letters):
            return other, share
    return language, share


def _in_latin(text: str) -> str:
    """Return the language of a text in Latin letters, "" where these show none."""
    signs = _signs(text)
    hits = _hits(signs)
    english = hits.pop(DEFAULT, 0)
    if hits and max(hits.values()) > max(english, 1):

        def likelihood(language: str) -> tuple[float, ...]:
            return hits[language], _rarity(language, signs), -LATIN.index(language)

        return max(hits, key=likelihood)
    return DEFAULT if english else ""


def _signs(text: str) -> list[tuple[str, ...]]:
    """Return the languages of each small word and each special letter of a text: its signs."""
    lowered, known = text[:LOOKED_AT].lower(), _small_words()
    words = set(_LETTERED.findall(lowered))
    signs = [known[word] for word in words if word in known]
    if not lowered.isascii():
        # "5 Å" is not Norwegian
        letters = {letter for word in words if len(word) > 1 for letter in word}
        signs += [_LETTERS[letter] for letter in letters if letter in _LETTERS] * LETTER
    return signs


def _hits(signs: Iterable[tuple[str, ...]]) -> Counter[str]:
    return Counter(language for languages in signs for language in languages)


def _rarity(language: str, signs: Sequence[tuple[str, ...]]) -> float:
    """Return how much these signs say for a language: a word of one language more than of five."""
    return sum(1 / len(languages) for languages in signs if language in languages)


def languages_of(texts: Sequence[str], otherwise: str = "") -> list[str]:
    """Return the language of each of some texts that belong together.

    One that shows none by itself is taken for what its few signs say among the languages of the
    others, else for what most of them are in, else for `otherwise`, else for English.
    """
    return settled([detect(text) for text in texts], texts, otherwise)


def settled(detected: Sequence[str], texts: Sequence[str], otherwise: str = "") -> list[str]:
    """Do what `languages_of` does for texts of which `detect` was asked before ("" for none)."""
    # A text that shows none is in Latin letters: others are known by their script.
    counts = Counter(language for language in detected if language in LATIN)
    fallback = otherwise if otherwise in LATIN else DEFAULT
    if len(counts) < 2:
        fallback = next(iter(counts), fallback)
        return [language or fallback for language in detected]

    def likely(text: str) -> str:
        hits = _hits(_signs(text))

        def likelihood(language: str) -> tuple[int, ...]:
            return hits[language], counts[language], -LATIN.index(language)

        return max(counts, key=likelihood)

    return [language or likely(text) for language, text in zip(detected, texts, strict=True)]


def analyse(text: str, language: str) -> Terms:
    """Return what a text is compared by, read in this language."""
    stopped, stemmer = _stop_words(language), _stemmer(language)
    words, parts = _words(text, stopped)
    counts: dict[str, float] = {}
    for stem in stemmer.stemWords(words):
        counts[stem] = counts.get(stem, 0.0) + 1.0
    for stem in stemmer.stemWords(parts):
        counts[stem] = counts.get(stem, 0.0) + PART
    return Terms(counts, len(words))


def stemmed(text: str, language: str) -> list[tuple[str, str]]:
    """Return the words of a text in their order, each with its stem, without stop words."""
    words, _ = _words(text, _stop_words(language))
    return list(zip(words, _stemmer(language).stemWords(words), strict=True))


def _words(text: str, stopped: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the words of a text without stop words, and the parts of its hyphenated words."""
    lowered = text.lower()
    if not lowered.isascii():
        # one spelling of each letter
        lowered = _UNSPACED.sub(_pairs, unicodedata.normalize("NFC", lowered))
    found = _WORD.findall(lowered)
    parts: list[str] = []
    if "-" in lowered:
        parts = [part for word in found if "-" in word for part in word.split("-")]
    return _telling(found, stopped), _telling(parts, stopped)


def _telling(words: Sequence[str], stopped: frozenset[str]) -> list[str]:
    """Return the words that say something: without stop words and single letters.

    A single character of Han may be a word.
    """
    return [
        word for word in words if word not in stopped and (len(word) > 1 or word >= FIRST_OF_HAN)
    ]


def _pairs(run: re.Match[str]) -> str:
    """Return a run of characters without blanks as words: every two neighbours are one."""
    text = run[0]
    return f" {' '.join(text[i : i + 2] for i in range(max(1, len(text) - 1)))} "


@cache  # one for each language
def _stemmer(language: str) -> Any:
    import Stemmer

    return Stemmer.Stemmer(STEMMERS.get(language, STEMMERS[DEFAULT]))


@cache
def _stop_words(language: str) -> frozenset[str]:
    if language == DEFAULT:
        return frozenset(_ENGLISH.split())
    if language in PAIRED:  # English words stand among theirs
        return frozenset((*_KANA.split(), *_HAN.split(), *_ENGLISH.split()))
    if language in UNLISTED:
        return frozenset()
    from stop_words import get_stop_words

    listed = {"no": "nb"}.get(language, language)
    words = (word.lower() for word in get_stop_words(listed))
    return frozenset(part for word in words for part in (word, *_LETTERED.findall(word)))


@cache
def _small_words() -> Mapping[str, tuple[str, ...]]:
    """Return in which languages each small word occurs."""
    found: dict[str, tuple[str, ...]] = {}
    for language in LATIN:
        for word in _stop_words(language):
            found[word] = (*found.get(word, ()), language)
    return found
