"""Retrieval by embeddings: LangChain's, or those of a small package on this machine (`local`).

A question is often a short text within a long form ("Which team answers this ticket? ...").
Embedded as a whole it is mostly the form, and finds less than words do. So its pieces (lines,
sentences) are embedded, and a lesson is as similar to the question as to the piece that is closest
to it (cosine similarity). What is similar enough the set itself tells: more than its lessons are to
each other.
"""

import asyncio
import contextvars
import hashlib
import re
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

from ted_memory.derived import Derived
from ted_memory.errors import MissingExtra, SettingsError
from ted_memory.models import Experience
from ted_memory.protocols import VectorHead, VectorStore
from ted_memory.retrieval.protocol import KeepsVectors, Numbered
from ted_memory.retrieval.questions import looked_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

PIECES = 16  # of a question at most, half of them its first ones and half its last
LEAST = 0.25  # similarity from which a lesson applies, where a set is too small to tell
TELLING = 8  # lessons, from which a set shows how alike unrelated ones are
SAMPLE = 256  # lessons of a set that are compared with each other, at most
NUMBER = 4  # bytes of one number of a vector
ALONE = 2**18  # multiplications in one product of matrices; above it BLAS starts threads
BATCH = 256  # texts that a model is sent at a time

_PIECE = re.compile(r"\n+|(?<=[.?!:;。？！；])\s*")


class Embedder(Protocol):
    """What an embedding model has to offer: two methods of LangChain's `Embeddings`."""

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question, or of one piece of it."""
        ...

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts."""
        ...


class EmbeddingRetriever(Numbered, KeepsVectors):
    """Ranks experiences by the similarity of their condition to the question.

    Each lesson is embedded once, when it is committed, and its vector is kept with the set. A
    question is embedded on every call. Needs numpy (``ted-memory[embeddings]``).

    Args:
        embeddings: any LangChain `Embeddings`.
        name: of its model; vectors of another name are never compared. Default: its class and
            ``model``.
        least: cosine similarity from which a lesson applies. Default: one standard deviation above
            the mean similarity of the set's lessons to each other (below 8 lessons: 0.25).

    Raises:
        MissingExtra: numpy is not installed.
    """

    def __init__(
        self, embeddings: Embedder, *, name: str | None = None, least: float | None = None
    ) -> None:
        _numpy()
        self._embeddings = embeddings
        self._name = name or _name_of(embeddings)
        self._least = least
        self._vectors: VectorStore | None = None
        self._held: dict[str, bytes] = {}
        self._stored: set[str] = set()
        self._fits = False
        self._matrices: Derived[tuple[list[str], Matrix, float]] = Derived()
        self._last: tuple[Sequence[Experience], Matrix, float] | None = None
        self._filling: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]]
        self._filling = weakref.WeakKeyDictionary()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the settings only: a copy has no vectors, and belongs to no set yet."""
        return partial(type(self), name=self._name, least=self._least), (self._embeddings,)

    def for_set(self, vectors: VectorStore) -> Self:
        """Return a retriever with the same settings, for one set."""
        bound = type(self)(self._embeddings, name=self._name, least=self._least)
        bound._vectors = vectors
        return bound

    async def check(self) -> None:
        """Raise SettingsError where the set's vectors are another model's."""
        if self._fits or self._vectors is None:
            return
        kept = await self._vectors.head()
        if kept is None:
            return
        self._compare(kept, VectorHead(model=self._name))
        probe = await self._embeddings.aembed_query(self._name)
        self._compare(kept, VectorHead(model=self._name, dimension=len(probe)))
        self._fits = True

    async def preload(self, experiences: Sequence[Experience]) -> None:
        """Load the vectors of these lessons; make those that the set lacks. Nothing is stored."""
        await self._matrix(experiences)

    def forget(self) -> None:
        """Forget all vectors that this process holds; those of the set stay."""
        self._held, self._stored, self._fits = {}, set(), False
        self._matrices, self._last = Derived(), None

    async def aclose(self) -> None:
        """Stop loading and making vectors on this event loop."""
        task = self._filling.get(asyncio.get_running_loop())
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def prepare(self, experiences: Sequence[Experience]) -> None:
        """Make the vectors of lessons that have none yet, and keep them with the set.

        Raises:
            SettingsError: the set keeps another model's vectors.
        """
        named = {_digest(self._name, text): text for text in _documents(experiences)}
        if self._vectors is None or not named:
            return
        if await self._vectors.head() is None:  # none yet, or somebody has dropped them
            self._stored = set()
        await self._fill(named)
        new = {name: self._held[name] for name in named if name not in self._stored}
        if new:
            head = VectorHead(model=self._name, dimension=len(next(iter(new.values()))) // NUMBER)
            self._compare(await self._vectors.save(head, new, keep=named.keys()), head)
            self._stored.update(new)

    async def order(self, experiences: Sequence[Experience], question: str) -> list[int]:
        """Return the places of those that are similar enough to the question, best first.

        Raises:
            SettingsError: the model has answered with vectors of another size than before.
        """
        pieces = _pieces(looked_at(question))
        if not experiences or not pieces:
            return []
        np = _numpy()
        lessons, least = await self._matrix(experiences)
        asked = await self._questions(pieces)
        if asked.shape[1] != lessons.shape[0]:
            raise _other_model(self._name, asked.shape[1], self._name, lessons.shape[0])
        closest = _closest(lessons, asked)
        near = np.flatnonzero(closest > least)
        order: list[int] = near[np.argsort(-closest[near], kind="stable")].tolist()
        return order

    async def _questions(self, pieces: list[str]) -> "Matrix":
        if len(pieces) == 1:
            return _unit([await self._embeddings.aembed_query(pieces[0])])
        return _unit(await self._embeddings.aembed_documents(pieces))

    async def _matrix(self, experiences: Sequence[Experience]) -> "tuple[Matrix, float]":
        """Return the lessons' unit vectors, as columns, and the least similarity that applies.

        Both are kept as long as the first of the lessons lives.
        """
        if self._last is not None and self._last[0] is experiences:
            return self._last[1:]
        documents = _documents(experiences)
        held = self._matrices.get(experiences[0])
        if held is None or held[0] != documents:
            names = [_digest(self._name, text) for text in documents]
            await self._fill(dict(zip(names, documents, strict=True)))
            unit = _unit([_decoded(self._held[name]) for name in names])
            least = _least(unit) if self._least is None else self._least
            lessons = _numpy().ascontiguousarray(unit.T)
            held = self._matrices.put(experiences[0], (documents, lessons, least))
        if isinstance(experiences, tuple):  # a list may be another one when it comes again
            self._last = experiences, *held[1:]
        return held[1:]

    async def _fill(self, named: Mapping[str, str]) -> None:
        """Wait until these vectors are held. If a caller gives up, the work goes on for others."""
        loop = asyncio.get_running_loop()
        while not named.keys() <= self._held.keys():
            task = self._filling.get(loop)
            if task is None or task.done():
                # an empty context: the caller's tracing is none of this task's business
                task = loop.create_task(self._load_or_make(named), context=contextvars.Context())
                task.add_done_callback(_retrieved)
                self._filling[loop] = task
            await asyncio.shield(task)

    async def _load_or_make(self, named: Mapping[str, str]) -> None:
        await self._load(named)
        await self._make(named)
        if len(self._held) > 2 * len(named) + SAMPLE:  # what lessons said before
            self._held = {name: vector for name, vector in self._held.items() if name in named}
            self._stored &= named.keys()

    async def _load(self, named: Mapping[str, str]) -> None:
        missing = [name for name in named if name not in self._held]
        if self._vectors is not None and missing:
            self._compare(await self._vectors.head(), VectorHead(model=self._name))
            found = await self._vectors.load(missing)
            self._held.update(found)
            self._stored.update(found)

    async def _make(self, named: Mapping[str, str]) -> None:
        missing = [name for name in named if name not in self._held]
        for begin in range(0, len(missing), BATCH):
            names = missing[begin : begin + BATCH]
            vectors = await self._embeddings.aembed_documents([named[name] for name in names])
            for name, vector in zip(names, vectors, strict=True):
                self._held[name] = _encoded(vector)

    def _compare(self, kept: VectorHead | None, ours: VectorHead) -> None:
        if kept is None:
            return
        if kept.model != ours.model or (ours.dimension and kept.dimension != ours.dimension):
            raise _other_model(ours.model, ours.dimension, kept.model, kept.dimension)


def _retrieved(task: "asyncio.Task[None]") -> None:
    """Take note of a task's error, or asyncio complains where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _other_model(model: str, dimension: int, kept: str, kept_dimension: int) -> SettingsError:
    size = f" ({dimension} numbers)" if dimension else ""
    return SettingsError(
        f"embeddings={model!r}{size}: the set keeps vectors of {kept!r} "
        f"({kept_dimension} numbers), and the two cannot be compared; nothing was written. "
        "Use the embeddings that the others use who share the set, or call "
        "`await memory.forget_vectors()` once: then its vectors are made anew"
    )


def _documents(experiences: Sequence[Experience]) -> list[str]:
    return [e.when or e.text for e in experiences]


def _pieces(question: str) -> list[str]:
    split = (piece.strip() for piece in _PIECE.split(question))
    pieces = list(dict.fromkeys(p for p in split if re.search(r"\w\w|[\u3040-\u9fff]", p)))
    half = PIECES // 2
    return pieces if len(pieces) <= PIECES else [*pieces[:half], *pieces[-half:]]


def _digest(model: str, text: str) -> str:
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "replace")).hexdigest()[:32]


def _least(lessons: "Matrix") -> float:
    np = _numpy()
    if len(lessons) < TELLING:
        return LEAST
    some = lessons[:SAMPLE]
    alike = (some @ some.T)[np.triu_indices(len(some), 1)]
    return float(alike.mean() + alike.std())


def _closest(lessons: "Matrix", asked: "Matrix") -> "Matrix":
    """Return the similarity of each lesson (a column) to the piece that is closest (a row).

    Multiplied in parts that are small enough for one thread: on a busy machine it takes ten times
    longer to wait for several.
    """
    np = _numpy()
    width = max(ALONE // asked.size, 1)
    parts = [
        (asked @ lessons[:, i : i + width]).max(axis=0) for i in range(0, lessons.shape[1], width)
    ]
    closest: Matrix = np.concatenate(parts)
    return closest


def _encoded(vector: Sequence[float]) -> bytes:
    return bytes(_numpy().asarray(vector, dtype="<f4").tobytes())


def _decoded(raw: bytes) -> "Matrix":
    decoded: Matrix = _numpy().frombuffer(raw, dtype="<f4")
    return decoded


def _unit(vectors: Sequence[Any]) -> "Matrix":
    np = _numpy()
    matrix = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: Matrix = matrix / np.maximum(lengths, 1e-9)
    return unit


def _name_of(embeddings: Embedder) -> str:
    name, model = type(embeddings).__name__, vars(embeddings).get("model")
    return f"{name}:{model}" if isinstance(model, str) and model else name


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("numpy", "embeddings", "retrieval by embeddings") from error
    return numpy
