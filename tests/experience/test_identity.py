"""When two lessons are one, when they say the same, and what of a lesson an edit changes."""

from datetime import UTC, datetime

import pytest

from ted_memory import Experience
from ted_memory.experience.identity import (
    content,
    is_same_lesson,
    meaning,
    tell_the_same,
    wording,
)

YESTERDAY, TODAY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
LESSON = Experience(id="abcdef", text="Answer office G", when="audio guide", created_at=YESTERDAY)


def test_forms_of_one_lesson_have_an_id_and_a_birth_in_common() -> None:
    assert is_same_lesson(LESSON, LESSON.model_copy(update={"text": "Answer office H", "rev": 7}))
    assert not is_same_lesson(LESSON, LESSON.model_copy(update={"id": "ghijkl"}))


def test_an_id_that_was_used_before_for_something_else_is_another_lesson() -> None:
    assert not is_same_lesson(LESSON, LESSON.model_copy(update={"created_at": TODAY}))


@pytest.mark.parametrize(
    ("change", "changes_content", "changes_meaning"),
    [
        ({"text": "Answer office H"}, True, True),
        ({"when": "headphones"}, True, True),
        ({"example": "Q: guides? A: G"}, True, True),
        ({"task": "Guides?"}, True, True),
        ({"everywhere": True}, True, True),
        ({"index_terms": "headphones"}, True, False),
        ({"rev": 7, "tokens": 99, "state": "proposed", "updated_at": TODAY}, False, False),
    ],
)
def test_what_an_edit_changes(
    change: dict[str, object], changes_content: bool, changes_meaning: bool
) -> None:
    changed = LESSON.model_copy(update=change)
    assert (content(changed) != content(LESSON)) is changes_content
    assert (meaning(changed) != meaning(LESSON)) is changes_meaning


def test_code_that_is_indented_in_another_way_says_something_else() -> None:
    inside = wording("loops", "for x in xs:\n    add(x)\n    show()")
    assert inside != wording("loops", "for x in xs:\n    add(x)\nshow()")
    assert inside == wording("Loops", "For x in xs:\n    add(x)\n    show()")


def test_upper_case_and_blanks_make_no_other_wording() -> None:
    written = wording("Audio\nguide", "Answer  office  G")
    assert written == wording("audio guide", "answer office g")
    assert written != wording("audio guide", "answer office h")
    assert written != wording("audio guides", "answer office g")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"when": "Guide, headphones"}, True),
        ({"when": ""}, True),
        ({"when": "headphones", "everywhere": True}, True),
        ({"when": "headphones"}, False),
        ({"text": "Answer office H"}, False),
    ],
)
def test_the_same_text_in_situations_that_overlap(other: dict[str, object], same: bool) -> None:
    assert tell_the_same(LESSON, LESSON.model_copy(update=other)) is same
    assert tell_the_same(LESSON.model_copy(update=other), LESSON) is same
