"""What an attempt concludes: its final answer, the choice that it picks, its last number."""

import re
import unicodedata
from fractions import Fraction

# what is called the answer -> the word that may stand for a colon behind it
_SPACED = {
    r"final answer|answer": r"is",
    r"antwort": r"ist|lautet",
    r"r[ée]ponse(?: finale| correcte)?": r"est",
    r"respuesta(?: final| correcta)?": r"es",
    r"resposta(?: final| correta)?": r"é",
    r"risposta(?: finale| corretta)?": r"è",
    r"antwoord": r"is",
    r"svaret": r"är|er",
    r"odpowiedź": r"to|brzmi",
    r"odpověď": r"je|zní",
    r"vastaus": r"on",
    r"răspunsul|răspuns": r"este",
    r"jawabannya|jawaban": r"adalah",
    r"ответ|відповідь": r"это|це|—",
    r"الجواب|الإجابة": r"هو|هي",
}
_WITHOUT_A_VERB = ("cevap", "válasz", "svar", "απάντηση", "उत्तर")
_UNSPACED = {r"答案": r"是|为|為", r"答え": r"は", r"정답|답": r"은"}
# possessive (*+): with blanks in plenty, trying again with one less would take for ever
_COLON = r"[:\uff1a]"
_NAMED = [
    *(rf"(?:{noun})\s*+(?:{_COLON}|(?:{verb})(?!\w))" for noun, verb in _SPACED.items()),
    *(rf"(?:{noun})\s*+{_COLON}" for noun in _WITHOUT_A_VERB),
    *(rf"(?:{noun})\s*+(?:{_COLON}|{verb})" for noun, verb in _UNSPACED.items()),
]
ANSWER_MARK = re.compile(rf"(?:{'|'.join(_NAMED)})\s*+{_COLON}?+\s*+(?=\S)", re.IGNORECASE)
_VERB_AT_THE_END = re.compile(
    r"(?:です|(?<=\d)だ|である|となります|になります|입니다|이다)"
    r"[。.!\uff01]?$"
)
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*+\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?(?:\s*+/\s*+\d++)?")
LONG = 1000  # characters; a longer needle is no word among others
_CLOSING = " .,;:!?\"'`*。।«»„“”「」"
_LETTER = re.compile(r"\(?([A-Z])\)?[.:)]?")
_LETTER_FIRST = re.compile(r"\(?([A-Z])[.:)]\s")


def final_answer(text: str) -> str:
    r"""Find what an attempt concludes.

    It stands in ``\boxed{}``, else behind the last "Answer:" up to the end of that line, else it is
    the whole text. "The answer is", and both in other languages, are marks as well. Thoughts, up to
    ``</think>``, are left aside.
    """
    answer = text.rpartition("</think>")[2]
    text = answer if answer.strip() else text
    if boxed := _last_boxed(text):
        return boxed
    if marks := list(ANSWER_MARK.finditer(text)):
        line = text[marks[-1].end() :].splitlines()[0].strip("*` ")
        return _VERB_AT_THE_END.sub("", line).strip("*` ")
    return text.strip()


def _last_boxed(text: str) -> str:
    r"""Find what stands in the last complete ``\boxed{}``, whatever braces it holds, or ""."""
    found = ""
    for part in text.split(r"\boxed{")[1:]:
        depth = 1
        for brace in re.finditer(r"[{}]", part):
            depth += 1 if brace.group() == "{" else -1
            if not depth:
                found = part[: brace.start()].strip()
                break
    return found


def plain(text: str) -> str:
    """Make a text comparable: case, spaces, width and closing punctuation make no difference."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip(_CLOSING)


def stands_in(needle: str, text: str) -> bool:
    """Tell whether a text holds the needle as whole words.

    Where a needle of more than `LONG` characters begins and ends is not looked at.
    """
    if not needle or needle not in text:
        return False
    return len(needle) > LONG or bool(re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text))


def picked(answer: str, choices: list[str]) -> int | None:
    """Find the index of the one choice that an answer names; None: it names none, or several.

    It may be the choice itself, its letter, or a sentence that holds it. ``choices`` are `plain`.
    """
    text = plain(answer)
    if text in choices:
        return choices.index(text)
    letter = _LETTER.fullmatch(answer.strip()) or _LETTER_FIRST.match(answer.strip())
    if letter:
        index = ord(letter.group(1)) - ord("A")
        if index < len(choices):
            return index
    named = [i for i, choice in enumerate(choices) if stands_in(choice, text)]
    longest = [i for i in named if not _is_within_another(i, named, choices)]
    return longest[0] if len(longest) == 1 else None


def _is_within_another(index: int, named: list[int], choices: list[str]) -> bool:
    """Tell whether another choice holds this one.

    An answer that names "team a plus" also holds "team a": the longer one is meant.
    """
    return any(choices[index] in choices[other] for other in named if other != index)


def last_number(text: str) -> float | None:
    """Read the last number of a text, None without one."""
    found = NUMBER.findall(text)
    if not found:
        return None
    number = found[-1].replace(",", "").replace(" ", "")
    try:
        return float(Fraction(number)) if "/" in number else float(number)
    except (ValueError, ArithmeticError):
        return None
