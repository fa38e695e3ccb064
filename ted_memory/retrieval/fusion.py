"""Several retrievers as one, by reciprocal ranks: what any of them finds, what more of them find higher up."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Self

from ted_memory.models import Experience
from ted_memory.protocols import VectorStore
from ted_memory.retrieval.protocol import KeepsVectors, Numbered, Retriever, order_by

FLATNESS = 60  # the usual constant: how little the first place counts more than the second
# places of each retriever that are added up; prompts hold far fewer, and large sets have thousands
DEPTH = 200


class FusedRetriever(Numbered, KeepsVectors):
    """Adds up ``1 / (60 + place)`` over the retrievers' answers; scores of different scales are never compared.

    An experience applies where one of them says so. Of two that come out equal the first
    retriever's better one wins. What stands deeper than 200 in all of them comes last, in the order
    of the first one that has it.
    """

    def __init__(self, *retrievers: Retriever) -> None:
        self._retrievers = retrievers
        self._keepers = [r for r in retrievers if isinstance(r, KeepsVectors)]

    async def order(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that one of the retrievers finds, best first; an error of any is raised."""
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
        """Return the same for one set."""
        bound = (r.for_set(vectors) if isinstance(r, KeepsVectors) else r for r in self._retrievers)
        return type(self)(*bound)

    async def check(self) -> None:
        """Raise SettingsError where the set's vectors are another model's."""
        for retriever in self._keepers:
            await retriever.check()

    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Have the vectors of these lessons at hand."""
        for retriever in self._keepers:
            await retriever.preload(experiences)

    def forget(self) -> None:
        """Forget what is held of the vectors."""
        for retriever in self._keepers:
            retriever.forget()

    async def aclose(self) -> None:
        """Stop what is under way on this loop."""
        for retriever in self._keepers:
            await retriever.aclose()

    async def prepare(self, experiences: Sequence[Experience]) -> None:
        """Make and keep the vectors of lessons that have none yet."""
        for retriever in self._keepers:
            await retriever.prepare(experiences)
