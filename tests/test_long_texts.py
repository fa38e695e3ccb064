"""No text function takes long, whatever it is given: they run on event loops, where others wait."""

import re
from collections.abc import Callable, Mapping

import pytest

from ted_memory import Sample
from ted_memory.distill.attempts import take_apart
from ted_memory.distill.leaks import leaks, recurring_answers
from ted_memory.experience.concerns import concern
from ted_memory.experience.edits import tidy_terms, tidy_when
from ted_memory.experience.rendering import render_line, strip_block, tidy_text, tidy_turn
from ted_memory.grading.answers import final_answer, picked, plain, stands_in
from ted_memory.grading.graders import auto
from ted_memory.llm.calls import hash_images
from ted_memory.models import Experience
from ted_memory.redaction import redact
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.language import detect

EPISODE = 64 * 1024  # characters
HOSTILE: Mapping[str, str] = {
    "a number and a letter": "1" * EPISODE + "x",
    "thousands": "1," * (EPISODE // 2) + "x",
    "a number and blanks": "1" + " " * EPISODE + "/",
    "closing braces": "\\boxed{a" + "}" * EPISODE + "x",
    "opening braces": "\\boxed{" * (EPISODE // 7),
    "brackets and blanks": "[" + " " * EPISODE + "INST",
    "tags and blanks": "<" + " " * EPISODE + "think",
    "open tags": "<" * EPISODE,
    "single letters": "a " * (EPISODE // 2),
    "one letter": "a" * EPISODE,
    "blanks": "answer is" + " " * EPISODE,
    "full stops": ". " * (EPISODE // 2),
    "fences": "```json\n" * (EPISODE // 8),
    "lines": "\n" * EPISODE,
    "hyphens": "a-" * (EPISODE // 2),
    "dates": "1-1-" * (EPISODE // 4),
    "addresses": "a@a." * (EPISODE // 4),
    "names with dots": "a-a." * (EPISODE // 4),
    "dates with dots": "1-1-1." * (EPISODE // 6),
    "verbs": "call " * (EPISODE // 5),
    "digits": "1 1" * (EPISODE // 3),
    "hidden letters": "\u200b\ufe0f" * (EPISODE // 2),
    "letters that are many": "\ufdfa" * EPISODE,
    "assignments": "token=" * (EPISODE // 6),
    "ideographs": "雨" * EPISODE,
}
LESSON = Experience(id="a", text="Be brief.", when="a ticket")


def _graded(text: str) -> None:
    for reference in (text, text[: EPISODE // 4], "35", "a"):
        auto(inputs={"choices": ()}, outputs=text, reference_outputs=reference)


def _leaks(text: str) -> None:
    sample = Sample(id="a", input=f"? {text}", reference=text[: EPISODE // 4])
    leaks(text, sample, sample.reference or "", frozenset())
    recurring_answers([sample.model_copy(update={"id": str(i)}) for i in range(3)])


FUNCTIONS: Mapping[str, Callable[[str], object]] = {
    "final_answer": final_answer,
    "plain": plain,
    "picked": lambda text: picked(text, ["a", text[: EPISODE // 4]]),
    "stands_in": lambda text: stands_in(text[: EPISODE // 4], text),
    "auto": _graded,
    "leaks": _leaks,
    "take_apart": take_apart,
    "render_line": lambda text: render_line(text, text, text, text),
    "tidy": lambda text: (tidy_text(text), tidy_turn(text), tidy_when(text), tidy_terms(text)),
    "strip_block": strip_block,
    "hash_images": hash_images,
    "redact": redact,
    "concern": lambda text: concern(LESSON.model_copy(update={"text": text})),
    "detect": detect,
    "rank": lambda text: WordRetriever().rank_now(
        [LESSON], text
    ),  # how much of it: tests/retrieval/test_long_questions.py
}


@pytest.mark.timeout(30)  # a function that tries again with one character less takes minutes
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_text_takes_long(function: str) -> None:
    for text in HOSTILE.values():
        FUNCTIONS[function](text)


QUADRATIC = re.compile(r"\b[a-z0-9][a-z0-9-]*+(?:\.[a-z0-9-]++)*?\.(?:com|org)\b")
"""Looks for the end of a name from each of its beginnings: minutes for an episode."""


@pytest.mark.timeout(3)
def test_what_tries_again_from_each_letter_is_found_out() -> None:
    """The control."""
    with pytest.raises(pytest.fail.Exception, match="Timeout"):
        QUADRATIC.search(HOSTILE["names with dots"])
