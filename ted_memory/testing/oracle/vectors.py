"""The vectors of one set's lessons, in a process's own memory."""

from collections.abc import Collection, Mapping, Sequence

from ted_memory.protocols import VectorHead
from ted_memory.storage.redis.vectors import outdated


class InMemoryVectors:
    """A `VectorStore` that ends with the process.

    ``held`` are the heads and vectors of all namespaces.
    """

    def __init__(
        self, held: dict[str, tuple[VectorHead, dict[str, bytes]]], namespace: str
    ) -> None:
        self._held = held
        self._namespace = namespace

    async def head(self) -> VectorHead | None:
        return self._held[self._namespace][0] if self._namespace in self._held else None

    async def load(self, names: Sequence[str]) -> Mapping[str, bytes]:
        vectors = self._held[self._namespace][1] if self._namespace in self._held else {}
        return {name: vectors[name] for name in names if name in vectors}

    async def save(
        self, head: VectorHead, vectors: Mapping[str, bytes], keep: Collection[str]
    ) -> VectorHead:
        kept, held = self._held.setdefault(self._namespace, (head, {}))
        if kept == head:
            held.update(vectors)
            for name in outdated(held, keep):
                del held[name]
        return kept

    async def drop(self) -> None:
        self._held.pop(self._namespace, None)
