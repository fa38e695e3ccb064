"""Is an attempt right? Graders have the signature of openevals: keyword-only inputs, outputs, reference_outputs."""

import asyncio
import atexit
import contextlib
import functools
import importlib.util
import inspect
import json
import logging
import math
import re
import signal
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any

from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.models import Sample

Grade = float | bool | Mapping[str, Any]
"""A score in [0, 1], or openevals' ``{"key", "score", "comment"}``."""

Grader = Callable[..., Grade | Awaitable[Grade]]

COMPARING = 5.0
"""Seconds that the comparison of two mathematical answers may take; a power tower takes for ever."""
LONGEST_FORMULA = 500  # characters; the parser's time grows faster than these
MOST_BYTES = 2**31  # of address space for the comparison: 9^{9^{9}} fills any machine before it is done

# possessive (*+): with blanks in plenty, trying again with one less would take for ever
ANSWER_MARK = re.compile(r"(?:final answer|answer)\s*+(?:is|:)\s*+:?+\s*+(?=\S)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?")
_SYMBOLS = {"pi": r"\pi", "infinity": r"\infty"}
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
    if len(said) > LONGEST_FORMULA:  # a text without a mark: what it concludes stands at its end
        said = said.splitlines()[-1]
    if said == wanted or not said or not wanted or len(said) > LONGEST_FORMULA:
        return bool(said) and said == wanted
    return await asyncio.to_thread(_COMPARER.equal, wanted, said)


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
        SettingsError: there is no grader of this name, or what it needs is not installed.
    """
    if callable(grader):
        return grader
    if grader == "math" and importlib.util.find_spec("math_verify") is None:
        raise SettingsError(str(MissingExtra("math-verify", "math", "the grader 'math'")))
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


class _Comparer:
    """Compares formulas in a process of its own: one that computes for ever, or eats all memory, can be ended.

    The library's own time limits are signals, which only a main thread can have, and which long arithmetic ignores.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def equal(self, wanted: str, said: str) -> bool:
        """Tell whether two formulas are equal; blocks for `COMPARING` seconds at most.

        Raises:
            ValueError: it took too long.
        """
        with self._lock:
            process = self._running()
            alarm = threading.Timer(COMPARING, process.kill)
            alarm.start()
            reply = _exchange(process, [wanted, said])
            alarm.cancel()
            if not reply:
                self.close()
                raise ValueError(f"the answer could not be compared with the reference in {COMPARING:g} s")
            return bool(json.loads(reply))

    def close(self) -> None:
        """End the process; the next comparison starts another one."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):
                self._process.communicate()
            self._process = None

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
            command = [sys.executable, "-c", "from ted_memory.distill import grading; grading.serve()"]
            self._process = subprocess.Popen(
                command, text=True, encoding="utf-8", stdin=pipe, stdout=pipe, stderr=nowhere
            )
            if not _exchange(self._process, None):  # its start takes time that is not the comparison's
                self.close()
                raise ValueError("the process that compares formulas does not start")
        return self._process


_COMPARER = _Comparer()
atexit.register(_COMPARER.close)


def _exchange(process: "subprocess.Popen[str]", question: object) -> str:
    """Send one line, return the line that comes back; nothing when the process has ended."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        return ""
    with contextlib.suppress(OSError):
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
    return stdout.readline()


def serve() -> None:
    """Compare the formulas that come as lines of JSON, until no more come: the other side of `_Comparer`."""
    from math_verify import verify  # type: ignore[import-untyped]

    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        if hasattr(signal, "alarm"):
            signal.alarm(int(2 * COMPARING))  # ends this process, should nobody be left to do it
        pair = json.loads(line)
        wanted, said = (_formula(text) for text in pair) if pair else ("5", "5")
        equal = verify(wanted, said, timeout_seconds=None)
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        sys.stdout.write(json.dumps(bool(equal)) + "\n")
        sys.stdout.flush()


def _formula(text: str) -> Any:
    """Return what math-verify reads in a text. Words would be products of letters, so a sentence is only searched."""
    from math_verify import parse

    text = text.strip("*` ").replace("**", "^").replace("\N{GREEK SMALL LETTER PI}", r"\pi ")
    text = re.sub(r"(\d)[eE]([+-]?\d+)", r"\1 \\cdot 10^{\2}", text)
    text = re.sub(r"(?<![\\a-zA-Z])(pi|infinity)(?![a-zA-Z])", lambda found: _SYMBOLS[found.group()], text)
    words = re.findall(r"(?<![\\{a-zA-Z])(?!sqrt)[a-zA-Z]{3,}", text)
    is_formula = "$" not in text and "\\(" not in text and "\\[" not in text and len(words) < 2
    return parse(f"${text}$" if is_formula else text, parsing_timeout=None)


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
