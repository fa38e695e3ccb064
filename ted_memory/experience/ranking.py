"""A retriever's answer to one question, as selection, trials and replays use it.

It is asked once for a request, and says two things: which experiences apply to the question, and
in which order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ted_memory.models import Experience, Lessons


@dataclass(frozen=True)
class Ranking:
    """The ids of the experiences with a condition that a question is about, best first.

    None where there was no question: then only those apply that apply always. The latter are never
    ranked, and stand in no answer of `best`.
    """

    ids: tuple[str, ...] | None = None

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.ids or ())

    def best(self, experiences: Iterable[Experience], count: int | None = None) -> list[Experience]:
        """Return those of these experiences that are ranked, best first, ``count`` at most."""
        if isinstance(experiences, Lessons):
            by_id: Mapping[str, Experience] = experiences.by_id
        else:
            by_id = {e.id: e for e in experiences}
        ranked = (by_id[id] for id in self.ids or () if id in by_id)
        return list(islice((e for e in ranked if not e.applies_always), count))

    def applying(self, experiences: Sequence[Experience]) -> frozenset[str]:
        """Return the ids of those that apply to the question: by their condition, or always."""
        return frozenset(e.id for e in experiences if e.applies_always or e.id in self._known)


NO_QUESTION = Ranking()
"""For selections that do not look at the question."""
