"""What an attempt concludes: the final answer in a text, the choice it picks, the number it ends with."""

import re
import unicodedata
from fractions import Fraction

# possessive (*+): with blanks in plenty, trying again with one less would take for ever
ANSWER_MARK = re.compile(r"(?:final answer|answer)\s*+(?:is|:)\s*+:?+\s*+(?=\S)", re.IGNORECASE)
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*+\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?(?:\s*+/\s*+\d++)?")
LONG = 1000  # characters; a longer needle is no word among others
_LETTER = re.compile(r"\(?([A-Z])\)?[.:)]?")


def final_answer(text: str) -> str:
    r"""Return what an attempt concludes: ``\boxed{}``, else what follows the last "Answer:", else all of it.

    Thoughts, up to ``</think>``, are none of it.
    """
    said = text.rpartition("</think>")[2]
    text = said if said.strip() else text
    if boxed := _last_boxed(text):
        return boxed
    if marks := list(ANSWER_MARK.finditer(text)):
        return text[marks[-1].end() :].splitlines()[0].strip("*` ")
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
    return " ".join(text.split()).strip(" .,;:!?\"'`*")


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
