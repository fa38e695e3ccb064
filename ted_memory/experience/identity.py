"""When are two records of one lesson, and when do two lessons say the same?

These are different questions, and each has its own answer:

| question | answer |
|---|---|
| Are these two forms of one lesson, at different times? | `is_same_lesson` |
| Does an edit change it at all? | `content` |
| Does what is known of it, such as its usage, still hold? | `meaning` |
| Would a reader take two lessons for the same? | `wording` |
| May two lessons be on trial side by side? | not if `tell_the_same` |
"""

import re

from ted_memory.models import Experience


def is_same_lesson(one: Experience, other: Experience) -> bool:
    """Tell whether two records are of one lesson, perhaps at different times.

    An id alone does not say so: it may have been used for something else before.
    """
    return (one.id, one.created_at) == (other.id, other.created_at)


def content(lesson: Experience) -> tuple[object, ...]:
    """Return all of a lesson that a rewrite can change: an edit that leaves it changes nothing."""
    return *meaning(lesson), lesson.index_terms


def meaning(lesson: Experience) -> tuple[object, ...]:
    """Return what evidence and usage are about: what a lesson says, and on which requests.

    Index terms are not part of it. They only help to find the lesson, so what is known of it holds
    on when they change.
    """
    return *lesson.lesson, lesson.everywhere


def wording(when: str, text: str) -> tuple[str, str]:
    """Return condition and text as people compare them: without upper case.

    In one line blanks count only as what parts two words. A text of several lines may be code,
    where they say something.
    """
    return _plain(when), text.casefold() if "\n" in text else _plain(text)


def tell_the_same(one: Experience, other: Experience) -> bool:
    """Tell whether two lessons have the same text, and conditions that share a word.

    A lesson that applies always shares the situations of every other one.
    """
    if _plain(one.text) != _plain(other.text):
        return False
    if one.applies_always or other.applies_always:
        return True
    return bool(_words(one.when) & _words(other.when))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _words(when: str) -> set[str]:
    return set(re.findall(r"\w+", when.casefold()))
