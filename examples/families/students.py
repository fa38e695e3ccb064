"""Scripted students for tasks that no small model here can do: they follow a procedure they read.

A student finds out by plain rules whether a lesson in its prompt states what it needs. So it
measures whether a method lets general lessons live and keeps labels out, and says nothing about how
well real models follow lessons.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from langchain_core.messages import BaseMessage

from examples.families.family import Rule, last_paragraph
from ted_memory import Sample
from ted_memory.experience.rendering import CLOSING, OPENING

_LESSON = re.compile(r"^- (.*(?:\n  .*)*)", re.MULTILINE)


def read_prompt(messages: Sequence[BaseMessage]) -> tuple[str, list[str]]:
    """The task and the lessons of a student's prompt."""
    text = "\n".join(str(message.text) for message in messages)
    task, lessons = text, []
    while OPENING in task:
        before, _, rest = task.partition(OPENING)
        block, _, after = rest.partition(CLOSING)
        lessons += _LESSON.findall(block)
        task = f"{before}{after}"
    return task.strip(), lessons


class Habit(NamedTuple):
    """A newcomer's mistake in tool use, and the rule that mends it.

    ``stated`` tells whether a lesson, in lower case, states the rule; ``spoil`` turns right calls
    into those without the rule.
    """

    rule: Rule
    stated: Callable[[str], bool]
    spoil: Callable[[Sequence[str]], list[str]]


def newcomer(
    samples: Sequence[Sample], habits: Sequence[Habit], *, orders: re.Pattern[str] | None = None
) -> Callable[[list[BaseMessage]], str]:
    """The script of a student that knows the calls of these samples, but not the house's habits.

    A lesson that hands it whole calls (``orders``) it takes for an order: it makes these and no
    others.
    """
    known = {last_paragraph(sample.text): sample.reference or "" for sample in samples}

    def answer(messages: list[BaseMessage]) -> str:
        task, lessons = read_prompt(messages)
        ordered = _ordered(lessons, orders)
        if ordered:
            return "\n".join(ordered)
        asked = [gist for gist in known if gist in task]
        calls = known[min(asked, key=task.index)].splitlines() if asked else []
        for habit in habits:
            if not any(habit.stated(lesson.casefold()) for lesson in lessons):
                calls = habit.spoil(calls)
        return "\n".join(calls) or "(no calls)"

    return answer


def _ordered(lessons: Sequence[str], orders: re.Pattern[str] | None) -> list[str]:
    """The whole calls that lessons hand out."""
    if orders is None:
        return []
    return [call for lesson in lessons for call in orders.findall(lesson)]


def without(*names: str) -> Callable[[Sequence[str]], list[str]]:
    """A mistake: calls of these names are left out."""
    return lambda calls: [call for call in calls if call.partition("(")[0] not in names]


def states(*words: str) -> Callable[[str], bool]:
    """Whether a lesson names all of these, in any order."""
    return lambda lesson: all(word in lesson for word in words)
