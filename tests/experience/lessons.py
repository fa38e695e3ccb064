"""Lessons and sets for tests of what is decided on them."""

from datetime import UTC, datetime
from typing import Any

from ted_memory.experience.rendering import lesson_tokens
from ted_memory.models import Caps, Experience, ExperienceSet, State, Trial, Usage

NOW = datetime(2026, 3, 26, 12, tzinfo=UTC)
TOKEN_BUDGET = 2000


def lesson(
    id: str,
    state: State = "active",
    trial: Trial | None = None,
    *,
    when: str = "",
    by: tuple[str, ...] = ("anna", "bert"),
    text: str = "",
    **more: Any,
) -> Experience:
    """Return a lesson from these principals. Its place in the set is the number in its id."""
    text = text or f"Do {id}."
    order = int("".join(c for c in id if c.isdigit()) or 0)
    return Experience(
        id=id,
        text=text,
        when=when,
        state=state,
        trial=trial,
        order=order,
        rev=7,
        tokens=lesson_tokens(text, when),
        **{"sources": tuple(f"principal:{name}" for name in by), **more},
    )


def proposed(id: str, **more: Any) -> Experience:
    """Return a lesson that replays are to say something of."""
    return lesson(id, "proposed", **more)


def on_trial(id: str, *, bet: float = 0.4, **more: Any) -> Experience:
    """Return a lesson that half of the conversations see."""
    return lesson(id, "trial", Trial(bet=bet, began_at=NOW), **more)


def a_set(
    *lessons: Experience, epoch: str = "epoch", token_budget: int = TOKEN_BUDGET
) -> ExperienceSet:
    """Return a set of these lessons."""
    return ExperienceSet(
        "n", epoch, 5, Caps(max_experiences=50, token_budget=token_budget), lessons
    )


def added(*each: Usage) -> Usage:
    return Usage(**{name: sum(getattr(u, name) for u in each) for name in Usage.model_fields})
