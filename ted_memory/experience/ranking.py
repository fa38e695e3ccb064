"""Which experiences apply to one question, and how well: the answer of a retriever, as selection and trials use it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ted_memory.models import Experience

SPARE = 32  # of the ranked ones, that may be left out of those from which the best are wanted


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
        ids = self.ids or ()
        if count is not None and len(ids) > count + SPARE:  # of thousands that are ranked few are wanted
            first = Ranking(ids[: count + SPARE])
            found = first.best([e for e in experiences if e.id in first._known], count)
            if len(found) == count:
                return found
        there = {e.id: e for e in experiences}
        ranked = (there[id] for id in ids if id in there)
        return list(islice((e for e in ranked if not e.applies_always), count))

    def applying(self, experiences: Sequence[Experience]) -> frozenset[str]:
        """Return the ids of those that apply: the ranked ones, and those that apply always."""
        return frozenset(e.id for e in experiences if e.applies_always or e.id in self._known)


NO_QUESTION = Ranking()
"""For selections that do not look at the question."""
