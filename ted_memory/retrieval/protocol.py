"""What a retriever has to do. Users may bring their own: `Retriever` is all that they need.

`Numbered` and `KeepsVectors` are for our own: answers by numbers, and vectors kept with the set.
"""

import abc
from collections.abc import Sequence
from typing import Protocol, Self

from ted_memory.models import Experience
from ted_memory.protocols import VectorStore


class Retriever(Protocol):
    """Ranks experiences for a question: ``open_memory(retriever=...)``.

    It decides which lessons selection ``relevant`` shows, and on which requests a lesson is
    measured: one that is left out of the answer does not apply. It is not asked about lessons that
    apply to every request.
    """

    async def rank(self, experiences: Sequence[Experience], question: str) -> Sequence[Experience]:
        """Return those that apply to the question, best first.

        The same experiences and question must give the same answer, since the prompt depends on
        it. Where it raises, or takes longer than an agent may wait, words decide in its place, and
        `Health` counts that.
        """
        ...


class Numbered(abc.ABC):
    """A retriever that answers by places instead of experiences, which is faster in large sets."""

    @abc.abstractmethod
    async def order(self, experiences: Sequence[Experience], question: str) -> Sequence[int]:
        """Return the places (from 0) of those experiences that apply, best first."""

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """Return those that apply to the question, best first."""
        return [experiences[number] for number in await self.order(experiences, question)]


async def order_by(
    retriever: Retriever, experiences: Sequence[Experience], question: str
) -> Sequence[int]:
    """Return the places of those experiences that any retriever finds, best first, each once.

    What it makes up, and was not asked about, is left out.
    """
    # a user's subclass may have its own `rank`
    if isinstance(retriever, Numbered) and type(retriever).rank is Numbered.rank:
        return await retriever.order(experiences, question)
    found = [e.id for e in await retriever.rank(experiences, question)]
    places = {e.id: number for number, e in enumerate(experiences)}
    return [places[id] for id in dict.fromkeys(found) if id in places]


class KeepsVectors(abc.ABC):
    """A retriever that makes a vector of each lesson once, and keeps it with the set."""

    @abc.abstractmethod
    def for_set(self, vectors: VectorStore) -> Self:
        """Return the same retriever for one set, whose vectors are kept there."""

    @abc.abstractmethod
    async def rank(self, experiences: Sequence[Experience], question: str) -> Sequence[Experience]:
        """Return those that apply to the question, best first."""

    @abc.abstractmethod
    async def check(self) -> None:
        """Raise SettingsError where the set's vectors are another model's."""

    @abc.abstractmethod
    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Load the vectors of these lessons before they are needed. Nothing is stored."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Forget all vectors that this process holds."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Stop loading and making vectors on this event loop."""

    @abc.abstractmethod
    async def prepare(self, experiences: Sequence[Experience]) -> None:
        """Make the vectors of lessons that have none yet, and keep them with the set."""
