"""Which experiences stand in a prompt: the setting ``selection``."""

from collections.abc import Mapping, Sequence

from ted_memory.experience.assignment import Selector
from ted_memory.experience.capacity import first_that_fit
from ted_memory.experience.lift import rank
from ted_memory.experience.ranking import Ranking
from ted_memory.models import Experience, Lessons, Usage
from ted_memory.retrieval.bm25 import match
from ted_memory.retrieval.conditions import common_words, distinctive, spoken_in, stems
from ted_memory.settings import Selection

__all__ = ["common_words", "distinctive", "make_selector", "match", "spoken_in", "stems", "warm"]


def make_selector(selection: Selection, *, top_k: int, token_budget: int) -> Selector:
    """Return what chooses the experiences of a prompt, and their order there.

    ``all`` shows all of them, ``budget`` those of the highest lift that fit. ``relevant`` shows
    first those that apply always, highest lift first, then the ``top_k`` best by the ranking. The
    latter take the budget first, and stand last: small students follow best what they read last
    (docs/decisions/006-general-lessons-first.md). Without a question it is ``budget``.
    """

    def select(
        experiences: Sequence[Experience], usage: Mapping[str, Usage], ranking: Ranking
    ) -> tuple[Experience, ...]:
        if selection == "all":
            return tuple(experiences)
        if selection == "budget" or ranking.ids is None:
            return first_that_fit(rank(experiences, usage), token_budget)
        among = experiences if isinstance(experiences, Lessons) else Lessons(experiences)
        best = ranking.best(among, top_k)
        chosen = first_that_fit([*best, *rank(among.always, usage)], token_budget)
        specific = {e.id for e in best}
        return (
            *(e for e in chosen if e.id not in specific),
            *(e for e in chosen if e.id in specific),
        )

    return select


def warm() -> None:
    """Import now what the first request would otherwise wait for: the stemmer."""
    stems("warm")
