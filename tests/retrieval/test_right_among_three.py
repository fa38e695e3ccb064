"""The right lesson is among the best three for nearly all held-out tickets of both desks.

`python -m bench retrieval` prints the figures.
"""

import re
from pathlib import Path

import pytest

from bench.retrieval import DESKS, found
from ted_memory.retrieval import WordRetriever

AIM = 0.92
METHOD = Path(__file__).parents[2] / "docs" / "method.md"


@pytest.mark.parametrize("desk", DESKS)
async def test_the_right_lesson_is_among_three(desk: str) -> None:
    _, among, _ = await found(WordRetriever(), desk)
    assert among >= AIM


@pytest.mark.parametrize("desk", DESKS)
async def test_with_the_word_forms_of_another_language_it_is_not(desk: str) -> None:
    """The control."""
    _, among, _ = await found(WordRetriever("fi"), desk)
    assert among < AIM


@pytest.mark.parametrize("desk", DESKS)
async def test_the_method_tells_what_is_measured(desk: str) -> None:
    [row] = re.findall(
        rf"^\| words \| {desk} \| (\S+) \| (\S+) \| (\S+) \|$",
        METHOD.read_text("utf-8"),
        re.MULTILINE,
    )
    assert list(row) == [f"{figure:.2f}" for figure in await found(WordRetriever(), desk)]
