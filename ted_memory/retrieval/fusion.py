"""Several retrievers as one: it finds what any of them finds, best what most of them find early.

By reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009), which looks at places only:
scores of different retrievers have different scales.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Self

from ted_memory.models import Experience
from ted_memory.protocols import VectorStore
from ted_memory.retrieval.protocol import KeepsVectors, Numbered, Retriever, order_by

FLATNESS = 60  # the paper's constant: the larger, the less the first place counts for
DEPTH = 200  # places of each retriever that count: prompts hold far fewer, sets may have thousands


class FusedRetriever(Numbered, KeepsVectors):
    """Ranks experiences by the sum of ``1 / (60 + place)`` over the answers of its retrievers.

    An experience applies if one of them says so. Of two with equal sums the one comes first that
    the first retriever has earlier. What stands deeper than 200 in all answers comes last, in the
    order of the first retriever that has it.
    """

    def __init__(self, *retrievers: Retriever) -> None:
        self._retrievers = retrievers
        self._keepers = [r for r in retrievers if isinstance(r, KeepsVectors)]

    async def order(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that a retriever finds, best first. Raises what any raises."""
        answers = await asyncio.gather(
            *(order_by(r, experiences, question) for r in self._retrievers)
        )
        scores: dict[int, float] = {}
        for answer in answers:
            for place, number in enumerate(answer[:DEPTH], start=FLATNESS + 1):
                scores[number] = scores.get(number, 0.0) + 1 / place
        best = sorted(scores, key=scores.__getitem__, reverse=True)
        return list(dict.fromkeys(itertools.chain(best, *answers)))

    def for_set(self, vectors: VectorStore) -> Self:
        """Return the same retrievers for one set."""
        bound = (r.for_set(vectors) if isinstance(r, KeepsVectors) else r for r in self._retrievers)
        return type(self)(*bound)

    async def check(self) -> None:
        """Raise SettingsError where the set's vectors are another model's."""
        for retriever in self._keepers:
            await retriever.check()

    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Load the vectors of these lessons, each retriever its own."""
        for retriever in self._keepers:
            await retriever.preload(experiences)

    def forget(self) -> None:
        """Forget all vectors that this process holds."""
        for retriever in self._keepers:
            retriever.forget()

    async def aclose(self) -> None:
        """Stop loading and making vectors on this event loop."""
        for retriever in self._keepers:
            await retriever.aclose()

    async def prepare(self, experiences: Sequence[Experience]) -> None:
        """Make the vectors of lessons that have none yet, and keep them with the set."""
        for retriever in self._keepers:
            await retriever.prepare(experiences)
