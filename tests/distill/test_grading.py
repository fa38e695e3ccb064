"""Is an attempt right?"""

from typing import Any

import pytest

from ted_memory import Sample
from ted_memory.distill.grading import GRADERS, final_answer, find_grader, grade
from ted_memory.errors import SettingsError

QUESTION = Sample(id="q", input="?")


async def score(grader: Any, answer: str, reference: str, choices: tuple[str, ...] = ()) -> float:
    return (await grade(find_grader(grader), Sample(id="q", input="?", choices=choices), answer, reference))[0]


@pytest.mark.parametrize(
    ("text", "conclusion"),
    [
        ("Paris", "Paris"),
        ("Let me think.\nAnswer: Paris", "Paris"),
        ("The answer is 3. No, the final answer is **4**", "4"),
        (r"So \boxed{1} or rather \boxed{12}.", "12"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("", ""),
    ],
)
def test_what_an_attempt_concludes(text: str, conclusion: str) -> None:
    assert final_answer(text) == conclusion


@pytest.mark.parametrize(
    ("grader", "answer", "reference", "right"),
    [
        ("exact", "  the ANSWER is: Paris.  ", "paris", True),
        ("exact", "Paris, I think", "Paris", False),
        ("exact", "", "Paris", False),
        ("contains", "It is Paris, of course", "Paris", True),
        ("contains", "Comparison", "Paris", False),
        ("contains", "anything", "", False),
        ("numeric", "10 - 5 = 5", "5", True),
        ("numeric", "1,234.50", "1234.5", True),
        ("numeric", "The answer is 1/3", "0.33333333", True),
        ("numeric", "-3", "3", False),
        ("numeric", "none", "3", False),
        ("numeric", "1/0", "3", False),
        ("auto", "It costs 7.0", "7", True),
        ("auto", "It costs seven", "7", False),
        ("auto", "seven", "Seven", True),
    ],
)
async def test_graders_by_name(grader: str, answer: str, reference: str, right: bool) -> None:
    assert await score(grader, answer, reference) == float(right)


TEAMS = ("Team A", "Team A Plus", "Team B")


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("Team B", "Team B", True),
        ("C", "Team B", True),
        ("(C)", "Team B", True),
        ("C. because of the fan", "Team B", True),
        ("Answer: C", "C", True),
        ("I would say team b!", "Team B", True),
        ("Team A Plus, surely", "Team A Plus", True),
        ("Team A Plus, surely", "Team A", False),
        ("Team A or Team B", "Team B", False),
        ("D", "Team B", False),
        ("no idea", "Team B", False),
        ("A big mistake", "Team A", False),
    ],
)
async def test_a_choice_is_named_by_text_or_letter_and_only_one_counts(
    answer: str, reference: str, right: bool
) -> None:
    assert await score("auto", answer, reference, TEAMS) == float(right)


async def test_a_grader_may_be_async_and_may_answer_as_openevals_does() -> None:
    async def judge(*, inputs: Any, outputs: str, reference_outputs: str) -> dict[str, Any]:
        return {"key": "correctness", "score": 0.5, "comment": f"{inputs['input']}{outputs}{reference_outputs}"}

    assert await grade(judge, QUESTION, "a", "b") == (0.5, "?ab")


@pytest.mark.parametrize("given", [None, "good", 2, -0.1, float("nan"), {"key": "x"}, {"score": "1"}])
async def test_what_is_not_a_score_between_zero_and_one_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="not a score between 0 and 1"):
        await grade(lambda **_: given, QUESTION, "a", "b")


def test_a_grader_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(SettingsError, match="auto, exact, contains"):
        find_grader("magic")
    assert set(GRADERS) >= {"auto", "exact", "contains", "numeric", "multiple_choice"}
