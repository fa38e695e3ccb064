"""Is an attempt right?

Graders have the signature of openevals: keyword-only inputs, outputs, reference_outputs.
"""

import asyncio
import functools
import importlib.util
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from numbers import Real
from typing import Any

from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.grading import formulas
from ted_memory.grading.answers import NUMBER, final_answer, last_number, picked, plain, stands_in
from ted_memory.models import Sample

Grade = float | bool | Mapping[str, Any]
"""A score in [0, 1], or openevals' ``{"key", "score", "comment"}``."""

Grader = Callable[..., Grade | Awaitable[Grade]]

_Inputs = Mapping[str, Any]  # "input", the text of the question, and "choices", a list


def exact(*, inputs: _Inputs, outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the final answer is the reference, case, spaces and closing punctuation aside."""
    return plain(final_answer(outputs)) == plain(reference_outputs)


def contains(*, inputs: _Inputs, outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the reference stands in the answer as whole words."""
    return stands_in(plain(reference_outputs), plain(outputs))


def numeric(*, inputs: _Inputs, outputs: str, reference_outputs: str) -> bool:  # noqa: ARG001
    """Right when the last number of the final answer is the reference, within 1e-6 of it."""
    number, wanted = last_number(final_answer(outputs)), last_number(reference_outputs)
    if number is None or wanted is None:
        return False
    return math.isclose(number, wanted, rel_tol=1e-6, abs_tol=1e-9)


def multiple_choice(*, inputs: _Inputs, outputs: str, reference_outputs: str) -> bool:
    """Right when the answer picks the reference among the choices, and no other.

    The choices are ``inputs["choices"]``; a text or a letter picks one.
    """
    choices = [plain(choice) for choice in inputs["choices"]]
    wanted = picked(reference_outputs, choices)
    return wanted is not None and picked(final_answer(outputs), choices) == wanted


def auto(*, inputs: _Inputs, outputs: str, reference_outputs: str) -> Grade | Awaitable[Grade]:
    """Choose a grader by the sample.

    Where there are choices it is `multiple_choice`, where the reference is a number `numeric`, else
    `exact`.
    """
    if inputs["choices"]:
        chosen: Grader = multiple_choice
    else:
        chosen = numeric if NUMBER.fullmatch(reference_outputs.strip()) else exact
    return chosen(inputs=inputs, outputs=outputs, reference_outputs=reference_outputs)


async def mathematics(
    *,
    inputs: _Inputs,  # noqa: ARG001
    outputs: str,
    reference_outputs: str,
) -> bool:
    r"""Right when the final answer is mathematically equal to the reference.

    However both are written, as math-verify sees it: units are dropped, ``50\%`` is 50 and also
    1/2, ``x = 3`` is 3, sets have no order.

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
    """Find a grader by its name; a callable is one.

    Raises:
        SettingsError: there is no grader of this name.
        MissingExtra: what it needs is not installed.
    """
    if callable(grader):
        return grader
    if grader == "math" and importlib.util.find_spec("math_verify") is None:
        raise MissingExtra("math-verify", "math", "the grader 'math'")
    if grader not in GRADERS:
        raise SettingsError(
            f"there is no grader {grader!r}; use one of {', '.join(GRADERS)}, or a callable"
        )
    return GRADERS[grader]


async def grade(grader: Grader, sample: Sample, answer: str, reference: str) -> tuple[float, str]:
    """Score an answer: a number in [0, 1], and the grader's comment.

    A grader that is not async runs in a thread, so that no event loop waits for it.

    Raises:
        ValueError: the grader gave no number in [0, 1].
        Exception: whatever the grader raises.
    """
    inputs = {"input": sample.text, "choices": list(sample.choices)}
    arguments = {"inputs": inputs, "outputs": answer, "reference_outputs": reference}
    result = await _call(grader, arguments)
    if isinstance(result, list) and len(result) == 1:
        result = result[0]
    score, comment = result, ""
    if isinstance(result, Mapping):
        score, comment = result.get("score"), str(result.get("comment") or "")
    if type(score).__module__ == "numpy":
        score = score.item()  # its numbers are not all Python's
    if not isinstance(score, Real) or not 0 <= float(score) <= 1:
        raise ValueError(f"the grader gave {_short(score)}, not a score between 0 and 1")
    return float(score), comment


async def _call(grader: Grader, arguments: Mapping[str, Any]) -> Any:
    """Call a grader with what its signature takes, where it does no harm."""
    if any(grader is own for own in GRADERS.values()):
        result: Any = grader(**arguments)
    else:
        call = functools.partial(grader, **_taken(grader, arguments))
        result = call() if _is_async(grader) else await asyncio.to_thread(_contained, call)
    return await result if inspect.isawaitable(result) else result


def _taken(grader: Grader, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Choose the arguments that a callable has a name for: all, where it takes any or is silent."""
    try:
        parameters = inspect.signature(grader).parameters.values()
    except (TypeError, ValueError):
        return arguments
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return arguments
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    return {name: value for name, value in arguments.items() if name in names}


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
