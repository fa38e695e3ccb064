"""Is an attempt right? Graders have the signature of openevals: keyword-only inputs, outputs, reference_outputs."""

import asyncio
import functools
import importlib.util
import inspect
import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any

from ted_memory import formulas
from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.models import Sample

Grade = float | bool | Mapping[str, Any]
"""A score in [0, 1], or openevals' ``{"key", "score", "comment"}``."""

Grader = Callable[..., Grade | Awaitable[Grade]]

# possessive (*+): with blanks in plenty, trying again with one less would take for ever
ANSWER_MARK = re.compile(r"(?:final answer|answer)\s*+(?:is|:)\s*+:?+\s*+(?=\S)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?")
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


async def mathematics(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    r"""Right when the final answer is mathematically equal to the reference, however both are written.

    As math-verify sees it: units are dropped, ``50\%`` is 50 and also 1/2, ``x = 3`` is 3, sets have no order.

    Raises:
        ValueError: the two could not be compared.
    """
    said, wanted = final_answer(outputs), final_answer(reference_outputs)
    if len(said) > formulas.LONGEST:  # a text without a mark: what it concludes stands at its end
        said = said.splitlines()[-1]
    if said == wanted or not said or not wanted or len(said) > formulas.LONGEST:
        return bool(said) and said == wanted
    return await asyncio.to_thread(formulas.COMPARER.equal, wanted, said)


GRADERS: Mapping[str, Grader] = {
    "auto": auto,
    "exact": exact,
    "contains": contains,
    "numeric": numeric,
    "multiple_choice": multiple_choice,
    "math": mathematics,
}


def find_grader(grader: str | Grader) -> Grader:
    """Return a grader by its name, or the callable itself.

    Raises:
        SettingsError: there is no grader of this name.
        MissingExtra: what it needs is not installed.
    """
    if callable(grader):
        return grader
    if grader == "math" and importlib.util.find_spec("math_verify") is None:
        raise MissingExtra("math-verify", "math", "the grader 'math'")
    if grader not in GRADERS:
        raise SettingsError(f"there is no grader {grader!r}; use one of {', '.join(GRADERS)}, or a callable")
    return GRADERS[grader]


async def grade(grader: Grader, sample: Sample, answer: str, reference: str) -> tuple[float, str]:
    """Return score in [0, 1] and comment. A sync callable runs in a thread, so that no loop waits for it.

    Raises:
        ValueError: the grader gave no number in [0, 1].
        Exception: whatever the grader raises.
    """
    inputs = {"input": sample.text, "choices": list(sample.choices)}
    given = {"inputs": inputs, "outputs": answer, "reference_outputs": reference}
    result = await _call(grader, given)
    if isinstance(result, list) and len(result) == 1:
        result = result[0]
    score: Any = result.get("score") if isinstance(result, Mapping) else result
    comment = str(result.get("comment") or "") if isinstance(result, Mapping) else ""
    if type(score).__module__ == "numpy":
        score = score.item()  # its numbers are not all Python's
    if not isinstance(score, Real) or not 0 <= float(score) <= 1:
        raise ValueError(f"the grader gave {_short(score)}, not a score between 0 and 1")
    return float(score), comment


async def _call(grader: Grader, given: Mapping[str, Any]) -> Any:
    """Call a grader with what its signature takes, where it does no harm."""
    if any(grader is own for own in GRADERS.values()):
        result: Any = grader(**given)
    else:
        call = functools.partial(grader, **_taken(grader, given))
        result = call() if _is_async(grader) else await asyncio.to_thread(_contained, call)
    return await result if inspect.isawaitable(result) else result


def _taken(grader: Grader, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that a callable has a name for; all where it takes any, or does not say."""
    try:
        parameters = inspect.signature(grader).parameters.values()
    except (TypeError, ValueError):
        return given
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    return {name: value for name, value in given.items() if name in names}


def _is_async(grader: Grader) -> bool:
    while isinstance(grader, functools.partial):
        grader = grader.func
    return inspect.iscoroutinefunction(grader) or inspect.iscoroutinefunction(type(grader).__call__)


def _contained(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except StopIteration as error:  # no future carries it: who waits would wait for ever
        raise RuntimeError("the grader raised StopIteration") from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


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
    except (ValueError, ArithmeticError):
        return None
