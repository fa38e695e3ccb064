"""A small set, and edits that are planned on it: helpers for tests."""

import itertools

from ted_memory.experience.edits import (
    plan,
)
from ted_memory.experience.rendering import lesson_tokens
from ted_memory.models import (
    Caps,
    Edit,
    Experience,
    ExperienceSet,
)
from ted_memory.protocols import Change

CAPS = Caps(max_experiences=50, token_budget=2000)


def lesson(id: str, text: str, **fields: object) -> Experience:
    made = {
        "id": id,
        "text": text,
        "tokens": lesson_tokens(text),
        "rev": 1,
        "sources": ("author:anna",),
        **fields,
    }
    return Experience.model_validate(made)


A = lesson("a", "One.", order=1, sources=("s1", "s2"))


B = lesson(
    "b",
    "Two.",
    order=2,
    rev=2,
    when="asked",
    tokens=lesson_tokens("Two.", "asked"),
    sources=("s2", "s3"),
)


C = lesson("c", "Three.", order=3, rev=3, state="proposed")


def held(*experiences: Experience, caps: Caps = CAPS) -> ExperienceSet:
    return ExperienceSet("n", "e", 3, caps, experiences)


def planned(
    *edits: Edit, base: ExperienceSet | None = None, max_text: int = 400
) -> tuple[Change, ...]:
    ids = (f"new{i}" for i in itertools.count(1))
    base = held(A, B, C) if base is None else base
    return plan(edits, base, author="me", max_text=max_text, make_id=lambda: next(ids))


def refused(*edits: Edit, base: ExperienceSet | None = None, max_text: int = 400) -> list[str]:
    return [change.rejected for change in planned(*edits, base=base, max_text=max_text)]
