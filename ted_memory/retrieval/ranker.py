"""The ranking of one memory's lessons: by its retriever, and by words alone where that fails or is too slow."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ted_memory.errors import SettingsError, StoreError
from ted_memory.experience.ranking import NO_QUESTION, Ranking
from ted_memory.models import Commit, Experience, ExperienceSet
from ted_memory.protocols import VectorStore
from ted_memory.retrieval.bm25 import WordRetriever
from ted_memory.retrieval.language import AUTO
from ted_memory.retrieval.protocol import KeepsVectors, Retriever, order_by

BREAK_AFTER = 3  # failures in a row; then nobody waits for the retriever until it answers again
PREPARE = 10.0  # seconds that an embedding model has for the lessons, away from any agent's path
PROBE_EVERY = 1.0  # seconds between questions to a retriever that failed so often

_LOG = logging.getLogger("ted_memory")


class Ranker:
    """Asks a retriever and never fails. ``fallbacks``: the questions that words ranked in its place.

    ``vectors`` is where the set keeps its vectors, for retrievers that have any.

    Raises:
        SettingsError: the language is not known.
    """

    def __init__(
        self,
        retriever: Retriever | None = None,
        *,
        language: str = AUTO,
        vectors: VectorStore | None = None,
    ) -> None:
        self._words = WordRetriever(language)
        self._retriever: Retriever = self._words if retriever is None else retriever
        self._keeper: KeepsVectors | None = None
        if isinstance(retriever, KeepsVectors) and vectors is not None:
            self._retriever = self._keeper = retriever.for_set(vectors)
        self._last: tuple[Sequence[Experience], tuple[Experience, ...], list[str]] | None = None
        self.fallbacks = 0
        self._failed_in_a_row = 0
        self._failed_at = 0.0

    async def rank(
        self, experiences: Sequence[Experience], question: str, *, patience: float | None = None
    ) -> Ranking:
        """Return which of these experiences the question is about; never raises.

        ``patience``: seconds that the retriever is waited for, on an agent's path; by default as
        long as it takes.
        """
        if not question.strip():
            return NO_QUESTION
        conditional, ids = self._among(experiences)
        if not conditional:
            return Ranking(())
        if isinstance(self._retriever, WordRetriever):  # waits for nothing
            numbers: Sequence[int] = self._retriever.order_now(conditional, question)
        else:
            numbers = await self._asked(conditional, question, patience)
        return Ranking(tuple(map(ids.__getitem__, numbers)))

    def _among(self, experiences: Sequence[Experience]) -> tuple[tuple[Experience, ...], list[str]]:
        """Return those that have a condition, and their ids; for the same set the same: retrievers know it by that."""
        if self._last is not None and self._last[0] is experiences:
            return self._last[1:]
        conditional = tuple(_conditional(experiences))
        ids = [e.id for e in conditional]
        if isinstance(experiences, tuple):
            self._last = experiences, conditional, ids
        return conditional, ids

    async def _asked(
        self, experiences: Sequence[Experience], question: str, patience: float | None
    ) -> Sequence[int]:
        resting = (
            self._failed_in_a_row >= BREAK_AFTER
            and time.monotonic() - self._failed_at < PROBE_EVERY
        )
        if patience is None or not resting:
            try:
                async with asyncio.timeout(patience):
                    found = await order_by(self._retriever, experiences, question)
            except Exception as error:  # noqa: BLE001 - fail open: whatever it is, the agent has its question answered
                self._failed(error, patience)
            else:
                self._failed_in_a_row = 0
                return found
        self.fallbacks += 1
        return self._words.order_now(experiences, question)

    def _failed(self, error: Exception, patience: float | None) -> None:
        self._failed_in_a_row += 1
        self._failed_at = time.monotonic()
        if self._failed_in_a_row == 1:
            slow = isinstance(error, TimeoutError) and patience is not None
            reason = (
                f"no answer within {patience * 1000:.0f} ms"
                if slow and patience
                else _one_line(error)
            )
            _LOG.warning(
                "the retriever failed (%s); lessons are ranked by words until it answers again (`health` counts)",
                reason,
            )

    async def check(self) -> None:
        """See once whether the vectors that the set keeps can be used.

        Raises:
            SettingsError: they are another model's; the message says what to do.
            StoreError: the store cannot be read.
        """
        if self._keeper is not None:
            await self._carefully(self._keeper.check())

    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Have the vectors of these lessons at hand before the first question; what fails is made up for then."""
        conditional = _conditional(experiences)
        if self._keeper is not None and conditional:
            await self._carefully(self._keeper.preload(conditional))

    async def _carefully(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(PREPARE):
                await work
        except (SettingsError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - a model that is away: words rank meanwhile
            self._failed(error, PREPARE)

    async def prepare_after(
        self, commit: Commit, load: Callable[[], Awaitable[ExperienceSet]]
    ) -> None:
        """Make and keep the vectors of what a commit has brought. It stands, whatever becomes of them."""
        if self._keeper is None or not commit.applied:
            return
        try:
            async with asyncio.timeout(PREPARE):
                await self._keeper.prepare(_conditional((await load()).candidates))
        except Exception as error:  # noqa: BLE001 - they are made up for at the first question
            self._failed(error, PREPARE)

    def forget(self) -> None:
        """Forget what is held of the vectors."""
        if self._keeper is not None:
            self._keeper.forget()

    async def aclose(self) -> None:
        """Stop what is under way on this loop."""
        if self._keeper is not None:
            await self._keeper.aclose()


def _conditional(experiences: Sequence[Experience]) -> list[Experience]:
    return [e for e in experiences if not e.applies_always]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
