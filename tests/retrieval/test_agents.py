"""On which requests lessons are tried for agents that call tools, write SQL, code or letters."""

import pytest

from ted_memory.models import Experience
from ted_memory.retrieval import WordRetriever
from tests.experience.asking import applying
from tests.retrieval.agents import AGENTS

KIND_OF = {when: kind for kind, lessons in AGENTS.items() for when in lessons}
LESSONS = [Experience(id=f"c{i}", text="-", when=when) for i, when in enumerate(KIND_OF)]
WHEN_OF = {e.id: e.when for e in LESSONS}
QUESTIONS = [
    (when, question)
    for lessons in AGENTS.values()
    for when, questions in lessons.items()
    for question in questions
]


def test_there_are_six_conditions_with_six_questions_each() -> None:
    assert len(LESSONS) == 6
    assert len(QUESTIONS) == 36


@pytest.mark.parametrize(("when", "question"), QUESTIONS)
def test_a_condition_applies_to_its_own_questions_and_to_no_other_kinds(
    when: str, question: str
) -> None:
    applies = {WHEN_OF[id] for id in applying(LESSONS, question)}
    assert when in applies
    assert {KIND_OF[one] for one in applies} == {KIND_OF[when]}


def test_without_word_forms_they_miss_many() -> None:
    """The control: with the stemmer of another language."""
    finnish = WordRetriever("fi")
    hits = [
        when in {e.when for e in finnish.rank_now(LESSONS, question)}
        for when, question in QUESTIONS
    ]
    assert sum(hits) < 0.9 * len(hits)


def test_a_word_that_all_kinds_use_brings_a_condition_to_all_of_them() -> None:
    """What the rule does not know: that to write a function is not to write a query."""
    [lesson] = lessons = [Experience(id="c", text="-", when="writing a Python function")]
    assert applying(lessons, "Write the query for revenue by month.") == {lesson.id}
