"""What the rules for trials say of lessons: helpers for their tests."""

from collections.abc import Callable
from datetime import timedelta

from ted_memory.experience.evidence import Evidence
from ted_memory.experience.trials import (
    Step,
    next_steps,
)
from ted_memory.experience.waiting import waits_for
from ted_memory.models import Experience, Trial
from ted_memory.settings import make_settings
from tests.experience.lessons import NOW, a_set
from tests.experience.tally import MANY, Tally

NOTHING = Evidence()


BY_TRIAL = Trial(passed=True)  # what an active lesson has that became so by evidence


def due(
    *lessons: Experience,
    known: dict[str, Evidence] | None = None,
    days: float = 0,
    **tunables: object,
) -> list[Step]:
    return next_steps(
        a_set(*lessons), known or {}, make_settings(**tunables), NOW + timedelta(days=days)
    )


def step_of(one: Experience, evidence: Evidence = NOTHING, **more: object) -> Step | None:
    """Return what is due for a lesson that is alone; check that the step names its revision."""
    steps = due(one, known={one.id: evidence}, **more)  # type: ignore[arg-type]
    assert [(step.edit.id, step.edit.rev) for step in steps] == [(one.id, 7)] * len(steps)
    return steps[0] if steps else None


def state_after(one: Experience, evidence: Evidence = NOTHING, **more: object) -> str:
    step = step_of(one, evidence, **more)
    return step.edit.state if step else "as it was"


def waits(one: Experience, evidence: Evidence = NOTHING, **tunables: object) -> str:
    return waits_for(one, evidence, make_settings(**tunables))


def first(enough: Callable[[Evidence], bool], evidence_of: Callable[[int], Evidence]) -> int:
    """Return the least count of evidence that is enough."""
    return next(count for count in range(2000) if enough(evidence_of(count)))


def silent(count: int, principals: int = MANY) -> Tally:
    """Return what so many pairs on recorded results of tools tell, which were scored alike."""
    tally = Tally(principals)
    for i in range(count):
        tally.silent(i % principals)
    return tally
