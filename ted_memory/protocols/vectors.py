"""What is promised of the vectors of a set, which embeddings make."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ted_memory.fields import Frozen


class VectorHead(Frozen):
    """Which model a set's vectors are from, and how many numbers each has (0: not known yet)."""

    model: str
    dimension: int = 0


class VectorStore(Protocol):
    """Where one set keeps the vectors of its lessons, by names that their texts give."""

    async def head(self) -> VectorHead | None:
        """Tell which model the kept vectors are from; None where there are none."""
        ...

    async def load(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Read those of these vectors that are there."""
        ...

    async def save(
        self, head: VectorHead, vectors: Mapping[str, bytes], keep: Collection[str]
    ) -> VectorHead:
        """Keep vectors, and forget all others but those in ``keep``. Gives the head that is kept.

        It is another one where another model's vectors are there: nothing is written then.
        """
        ...

    async def drop(self) -> None:
        """Forget all vectors and their head."""
        ...
