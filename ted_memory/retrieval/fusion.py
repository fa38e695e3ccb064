"""Several retrievers as one, by reciprocal ranks: what any of them finds, what more of them find higher up."""

import asyncio
from collections.abc import Sequence
from typing import Self

from ted_memory.models import Experience
from ted_memory.protocols import VectorStore
from ted_memory.retrieval.protocol import KeepsVectors, Retriever

FLATNESS = 60  # the usual constant: how little the first place counts more than the second
DEPTH = 200  # places of each retriever that are added up; prompts hold far fewer, and large sets have thousands


class FusedRetriever(KeepsVectors):
    """Adds up ``1 / (60 + place)`` over the retrievers' answers; scores of different scales are never compared.

    An experience applies where one of them says so. Of two that come out equal the first retriever's better one wins.
    What stands deeper than 200 in all of them comes last, in the order of the first one that has it.
    """

    def __init__(self, *retrievers: Retriever) -> None:
        self._retrievers = retrievers
        self._keepers = [r for r in retrievers if isinstance(r, KeepsVectors)]

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """Return those that one of the retrievers finds, best first; an error of any of them is raised."""
        answers = await asyncio.gather(*(r.rank(experiences, question) for r in self._retrievers))
        scores: dict[str, float] = {}
        for answer in answers:
            for place, experience in enumerate(answer[:DEPTH], start=FLATNESS + 1):
                scores[experience.id] = scores.get(experience.id, 0.0) + 1 / place
        found = {experience.id: experience for answer in answers for experience in answer}
        best = [found.pop(id) for id in sorted(scores, key=scores.__getitem__, reverse=True)]
        return [*best, *found.values()]

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
