"""The ranking of one set's lessons: by its retriever, or by words where that fails or is slow.

For `memory.client`. An agent's request never fails for retrieval, and never waits longer than its
``patience``. A retriever that failed a few times in a row is no longer waited for; it is asked now
and then, until it answers again.
"""

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
    """Asks a set's retriever, and ranks by words where it does not answer.

    `rank` never raises. `check` and `preload` do, where the set keeps another model's vectors: that
    is a mistake in the settings, and to be seen when the memory is opened.

    Args:
        retriever: default: by words.
        language: of the words; see `WordRetriever`.
        vectors: where the set keeps its vectors, for retrievers that have any.

    Attributes:
        fallbacks: how many questions words have ranked in the retriever's place.

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
        self.fallbacks: int = 0
        self._failed_in_a_row = 0
        self._failed_at = 0.0

    async def rank(
        self, experiences: Sequence[Experience], question: str, *, patience: float | None = None
    ) -> Ranking:
        """Return which of these experiences the question is about. Never raises.

        ``patience``: seconds that the retriever is waited for, where an agent waits. Default: as
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
        """Return those experiences that have a condition, and their ids.

        For the same tuple the same tuple, since retrievers know a set again by that.
        """
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
            except Exception as error:  # noqa: BLE001 - fail open: words rank
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
            reason = _one_line(error)
            if isinstance(error, TimeoutError) and patience:
                reason = f"no answer within {patience * 1000:.0f} ms"
            _LOG.warning(
                "the retriever failed (%s); "
                "lessons are ranked by words until it answers again (`health` counts)",
                reason,
            )

    async def check(self) -> None:
        """Check once that the vectors which the set keeps can be used.

        A model that is away is no error: words rank until it is back.

        Raises:
            SettingsError: they are another model's; the message says what to do.
            StoreError: the store cannot be read.
        """
        if self._keeper is not None:
            await self._carefully(self._keeper.check())

    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Load the vectors of these lessons before the first question.

        What a model that is away could not make is made up for at the first question.

        Raises:
            SettingsError: the set keeps another model's vectors.
            StoreError: the store cannot be read.
        """
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
        """Make and store the vectors of what a commit has brought. Never raises, since it stands.

        ``load`` reads the set as it is after the commit.
        """
        if self._keeper is None or not commit.applied:
            return
        try:
            async with asyncio.timeout(PREPARE):
                await self._keeper.prepare(_conditional((await load()).candidates))
        except Exception as error:  # noqa: BLE001 - they are made up for at the first question
            self._failed(error, PREPARE)

    def forget(self) -> None:
        """Forget all vectors that this process holds."""
        if self._keeper is not None:
            self._keeper.forget()

    async def aclose(self) -> None:
        """Stop loading and making vectors on this event loop."""
        if self._keeper is not None:
            await self._keeper.aclose()


def _conditional(experiences: Sequence[Experience]) -> list[Experience]:
    return [e for e in experiences if not e.applies_always]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
