"""Which experiences apply to one question, and how well: the answer of a retriever, as selection and trials use it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ted_memory.models import Experience, Lessons


@dataclass(frozen=True)
class Ranking:
    """The ids of the experiences that a question is about, best first; None where there was no question.

    Without a question only lessons that apply always apply.
    """

    ids: tuple[str, ...] | None = None

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.ids or ())

    def best(self, experiences: Iterable[Experience], count: int | None = None) -> list[Experience]:
        """Return those of these experiences that are ranked, best first; the first `count` of them."""
        there = (
            experiences.by_id
            if isinstance(experiences, Lessons)
            else {e.id: e for e in experiences}
        )
        ranked = (there[id] for id in self.ids or () if id in there)
        return list(islice((e for e in ranked if not e.applies_always), count))

    def applying(self, experiences: Sequence[Experience]) -> frozenset[str]:
        """Return the ids of those that apply: the ranked ones, and those that apply always."""
        return frozenset(e.id for e in experiences if e.applies_always or e.id in self._known)


NO_QUESTION = Ranking()
"""For selections that do not look at the question."""
