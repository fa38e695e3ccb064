"""Which experiences apply to one question, and how well: the answer of a retriever, as selection and trials use it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ted_memory.models import Experience


@dataclass(frozen=True)
class Ranking:
    """The ids of the experiences that a question is about, best first; None where there was no question.

    Without a question only lessons that apply always apply.
    """

    ids: tuple[str, ...] | None = None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: place for place, id in enumerate(self.ids or ())}

    def best(self, experiences: Iterable[Experience]) -> list[Experience]:
        """Return those of these experiences that are ranked, best first."""
        places = self._places
        ranked = [e for e in experiences if e.id in places and not e.applies_always]
        return sorted(ranked, key=lambda e: places[e.id])

    def applying(self, experiences: Sequence[Experience]) -> frozenset[str]:
        """Return the ids of those that apply: the ranked ones, and those that apply always."""
        return frozenset(e.id for e in experiences if e.applies_always or e.id in self._places)


NO_QUESTION = Ranking()
"""For selections that do not look at the question."""
