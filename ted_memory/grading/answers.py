"""What an attempt concludes: the final answer in a text, the choice it picks, the number it ends with."""

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
    r"(?:です|(?<=\d)だ|である|となります|になります|입니다|이다)[。.!\uff01]?$"
)
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*+\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?(?:\s*+/\s*+\d++)?")
LONG = 1000  # characters; a longer needle is no word among others
_CLOSING = " .,;:!?\"'`*。।«»„“”「」"
_LETTER = re.compile(r"\(?([A-Z])\)?[.:)]?")


def final_answer(text: str) -> str:
    r"""Return what an attempt concludes: ``\boxed{}``, else what follows the last "Answer:", else all of it.

    "The answer is", and both in other languages, are marks as well. Thoughts, up to ``</think>``,
    are none of it.
    """
    said = text.rpartition("</think>")[2]
    text = said if said.strip() else text
    if boxed := _last_boxed(text):
        return boxed
    if marks := list(ANSWER_MARK.finditer(text)):
        return _VERB_AT_THE_END.sub("", text[marks[-1].end() :].splitlines()[0].strip("*` ")).strip(
            "*` "
        )
    return text.strip()


def _last_boxed(text: str) -> str:
    r"""Return what stands in the last complete ``\boxed{}``, whatever braces it holds; "" without one."""
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
    """Return a text for comparison: case, spaces, width and closing punctuation aside."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip(_CLOSING)


def stands_in(needle: str, text: str) -> bool:
    """Tell whether the needle stands in the text as whole words; where a long one begins and ends is not looked at."""
    if len(needle) > LONG:
        return needle in text
    return bool(needle) and re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) is not None


def picked(answer: str, choices: list[str]) -> int | None:
    """Return the index of the one choice that an answer names, or None."""
    said = plain(answer)
    if said in choices:
        return choices.index(said)
    letter = _LETTER.fullmatch(answer.strip()) or re.match(r"\(?([A-Z])[.:)]\s", answer.strip())
    if letter and ord(letter.group(1)) - ord("A") < len(choices):
        return ord(letter.group(1)) - ord("A")
    named = [i for i, choice in enumerate(choices) if stands_in(choice, said)]
    # "team a" also stands in "team a plus": the longer one is meant
    named = [i for i in named if not any(i != j and choices[i] in choices[j] for j in named)]
    return named[0] if len(named) == 1 else None


def last_number(text: str) -> float | None:
    """Return the last number of a text, None without one."""
    found = NUMBER.findall(text)
    if not found:
        return None
    number = found[-1].replace(",", "").replace(" ", "")
    try:
        return float(Fraction(number)) if "/" in number else float(number)
    except (ValueError, ArithmeticError):
        return None
