"""Is an attempt right? Graders have the signature of openevals: keyword-only inputs, outputs, reference_outputs."""

import inspect
import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from typing import Any

from ted_memory.errors import SettingsError
from ted_memory.models import Sample

Grade = float | bool | Mapping[str, Any]
"""A score in [0, 1], or openevals' ``{"key", "score", "comment"}``."""

Grader = Callable[..., Grade | Awaitable[Grade]]

_MARK = re.compile(r"(?:final answer|answer)\s*(?:is|:)\s*:?\s*(?=\S)", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")  # one level of braces within, as in \frac{1}{2}
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?")
_LETTER = re.compile(r"\(?([A-Z])\)?[.:)]?")


def final_answer(text: str) -> str:
    r"""Return what an attempt concludes: ``\boxed{}``, else what follows the last "Answer:", else all of it."""
    if boxed := _BOXED.findall(text):
        return str(boxed[-1]).strip()
    if marks := list(_MARK.finditer(text)):
        return text[marks[-1].end() :].splitlines()[0].strip("*` ")
    return text.strip()


def exact(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the final answer is the reference, case, spaces and closing punctuation aside."""
    return _plain(final_answer(outputs)) == _plain(reference_outputs)


def contains(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the reference stands in the answer as whole words."""
    return _stands_in(_plain(reference_outputs), _plain(outputs))


def numeric(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the last number of the final answer equals the reference (relative difference 1e-6)."""
    said, wanted = _last_number(final_answer(outputs)), _last_number(reference_outputs)
    return said is not None and wanted is not None and math.isclose(said, wanted, rel_tol=1e-6, abs_tol=1e-9)


def multiple_choice(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> bool:
    """Right when the answer picks the reference among ``inputs["choices"]``, by text or letter, and no other."""
    choices = [_plain(choice) for choice in inputs["choices"]]
    wanted = _picked(reference_outputs, choices)
    return wanted is not None and _picked(final_answer(outputs), choices) == wanted


def auto(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> Grade | Awaitable[Grade]:
    """Choose by the sample: multiple choice where there are choices, numeric for a number, else exact."""
    if inputs["choices"]:
        chosen: Grader = multiple_choice
    else:
        chosen = numeric if _NUMBER.fullmatch(reference_outputs.strip()) else exact
    return chosen(inputs=inputs, outputs=outputs, reference_outputs=reference_outputs)


GRADERS: Mapping[str, Grader] = {
    "auto": auto,
    "exact": exact,
    "contains": contains,
    "numeric": numeric,
    "multiple_choice": multiple_choice,
}


def find_grader(grader: str | Grader) -> Grader:
    """Return a grader by its name, or the callable itself.

    Raises:
        SettingsError: there is no grader of this name.
    """
    if callable(grader):
        return grader
    if grader not in GRADERS:
        raise SettingsError(f"there is no grader {grader!r}; use one of {', '.join(GRADERS)}, or a callable")
    return GRADERS[grader]


async def grade(grader: Grader, sample: Sample, answer: str, reference: str) -> tuple[float, str]:
    """Return score in [0, 1] and comment.

    Raises:
        ValueError: the grader gave no number in [0, 1].
        Exception: whatever the grader raises.
    """
    inputs = {"input": sample.text, "choices": list(sample.choices)}
    given = grader(inputs=inputs, outputs=answer, reference_outputs=reference)
    result = await given if inspect.isawaitable(given) else given
    score = result.get("score") if isinstance(result, Mapping) else result
    comment = str(result.get("comment") or "") if isinstance(result, Mapping) else ""
    if not isinstance(score, bool | int | float) or not 0 <= score <= 1:
        raise ValueError(f"the grader gave {score!r}, not a score between 0 and 1")
    return float(score), comment


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip(" .,;:!?\"'`*")


def _stands_in(needle: str, text: str) -> bool:
    return bool(needle) and re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) is not None


def _picked(answer: str, choices: list[str]) -> int | None:
    """Return the index of the one choice that an answer names, or None."""
    plain = _plain(answer)
    if plain in choices:
        return choices.index(plain)
    letter = _LETTER.fullmatch(answer.strip()) or re.match(r"\(?([A-Z])[.:)]\s", answer.strip())
    if letter and ord(letter.group(1)) - ord("A") < len(choices):
        return ord(letter.group(1)) - ord("A")
    named = [i for i, choice in enumerate(choices) if _stands_in(choice, plain)]
    # "team a" also stands in "team a plus": the longer one is meant
    named = [i for i in named if not any(i != j and choices[i] in choices[j] for j in named)]
    return named[0] if len(named) == 1 else None


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    if not found:
        return None
    number = found[-1].replace(",", "").replace(" ", "")
    try:
        return float(Fraction(number)) if "/" in number else float(number)
    except (ValueError, ZeroDivisionError):
        return None
