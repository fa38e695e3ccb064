"""What finds the experiences that fit a question. Users may bring their own."""

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

        The same experiences and question must give the same answer: the prompt's block depends on
        it. An error, or an answer that an agent would wait too long for, is no trouble of the
        agent's: words decide then (`Health`).
        """
        ...


class Numbered(abc.ABC):
    """A retriever that answers by numbers: a set may have thousands of lessons, and each look at one takes its time."""

    @abc.abstractmethod
    async def order(self, experiences: Sequence[Experience], question: str) -> Sequence[int]:
        """Return the places among the experiences of those that apply, best first."""

    async def rank(self, experiences: Sequence[Experience], question: str) -> list[Experience]:
        """Return those that apply to the question, best first."""
        return [experiences[number] for number in await self.order(experiences, question)]


async def order_by(
    retriever: Retriever, experiences: Sequence[Experience], question: str
) -> Sequence[int]:
    """Return the places among the experiences of those that a retriever finds, best first and each once."""
    # a user's class may rank otherwise
    if isinstance(retriever, Numbered) and type(retriever).rank is Numbered.rank:
        return await retriever.order(experiences, question)
    found = [e.id for e in await retriever.rank(experiences, question)]
    places = {e.id: number for number, e in enumerate(experiences)}
    return [places[id] for id in dict.fromkeys(found) if id in places]


class KeepsVectors(abc.ABC):
    """A retriever that works out something from each lesson once, and keeps it with the set."""

    @abc.abstractmethod
    def for_set(self, vectors: VectorStore) -> Self:
        """Return the same retriever for one set."""

    @abc.abstractmethod
    async def rank(self, experiences: Sequence[Experience], question: str) -> Sequence[Experience]:
        """Return those that apply to the question, best first."""

    @abc.abstractmethod
    async def check(self) -> None:
        """Raise SettingsError where the set's vectors are another model's."""

    @abc.abstractmethod
    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Have the vectors of these lessons at hand; nothing is written."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Forget what is held of the vectors."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Stop what is under way on this loop."""

    @abc.abstractmethod
    async def prepare(self, experiences: Sequence[Experience]) -> None:
        """Make and keep the vectors of lessons that have none yet."""
