"""What finds the experiences that fit a question. Users may bring their own."""

import abc
from collections.abc import Sequence
from typing import Protocol, Self

from ted_memory.models import Experience
from ted_memory.protocols import VectorStore


class Retriever(Protocol):
    """Ranks experiences for a question: ``open_memory(retriever=...)``.

    It decides which lessons selection ``relevant`` shows, and on which requests a lesson is measured: one that is left
    out of the answer does not apply. It is not asked about lessons that apply to every request.
    """

    async def rank(self, experiences: Sequence[Experience], question: str) -> Sequence[Experience]:
        """Return those that apply to the question, best first.

        The same experiences and question must give the same answer: the prompt's block depends on it. An error, or an
        answer that an agent would wait too long for, is no trouble of the agent's: words decide then (`Health`).
        """
        ...


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
