"""The experience store in a process's own memory: it states what the scripts do."""

import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ted_memory.episodes import Retention
from ted_memory.findings import Finding
from ted_memory.models import Commit, Experience, ExperienceSet, LogEntry, Usage
from ted_memory.protocols import CommitFeed, CommitListener, CommitRequest, VectorHead, VectorStore
from ted_memory.testing.oracle.commits import Space, apply, settles
from ted_memory.testing.oracle.episodes import InMemoryEpisodeQueue
from ted_memory.testing.oracle.vectors import InMemoryVectors


class InMemoryFeed:
    """A `CommitFeed` of one process: who listens is told within the commit."""

    live = True

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[CommitListener] = weakref.WeakSet()

    def __reduce__(self) -> tuple[type["InMemoryFeed"], tuple[()]]:
        return InMemoryFeed, ()  # nobody listens to a copy yet

    def watch(self, listener: CommitListener) -> None:
        self._listeners.add(listener)

    def tell(self, epoch: str, version: int) -> None:
        """Tell all listeners."""
        for listener in list(self._listeners):
            listener.told(epoch, version)


class InMemoryStore:
    """An `ExperienceStore` that ends with the process."""

    def __init__(self, kept: Retention | None = None) -> None:
        self._spaces: dict[str, Space] = {}
        self._vectors: dict[str, tuple[VectorHead, dict[str, bytes]]] = {}
        self._feeds: defaultdict[str, InMemoryFeed] = defaultdict(InMemoryFeed)
        self.episodes = InMemoryEpisodeQueue(self._held, self._count, kept)

    def _held(self, namespace: str) -> Mapping[str, Experience]:
        return self._spaces[namespace].experiences if namespace in self._spaces else {}

    def _count(self, namespace: str, usage: Mapping[str, Usage], kept: float) -> None:
        if namespace in self._spaces:
            self._spaces[namespace].add_usage(usage, kept)

    async def read(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        space = self._spaces.get(namespace)
        if space is None or space.version == 0 or space.caps is None:
            return None
        now = (space.epoch, space.version, space.stamp)
        if known is not None and (known.epoch, known.version, known.stamp) == now:
            return known
        return ExperienceSet(
            namespace=namespace,
            epoch=space.epoch,
            version=space.version,
            caps=space.caps,
            experiences=tuple(sorted(space.experiences.values(), key=lambda e: (e.order, e.id))),
            usage=dict(space.usage_snapshot),
            stamp=space.stamp,
            oldest=min(space.log),
            models=space.models,
            presentation=space.presentation,
        )

    read_fast = read

    def feed(self, namespace: str) -> CommitFeed:
        return self._feeds[namespace]

    def vectors(self, namespace: str) -> VectorStore:
        return InMemoryVectors(self._vectors, namespace)

    async def prove(self, namespace: str, *, to_learn: bool = False) -> None:
        pass  # nothing is asked of it

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        space = self._spaces.setdefault(namespace, Space())
        asked = [change.edit for change in request.changes]
        before = space.applied.get(request.token)
        if before is not None:
            return before.commit(asked, repeated=True)
        if request.settle:
            self.episodes.check(namespace, request.settle)
        version = space.version
        answer = apply(space, request, self.episodes.evidence_of(namespace))
        if request.settle and settles(request, answer.refused_any):
            self.episodes.settle(namespace, request.settle, space.purged)
        space.applied[request.token] = answer
        if space.version > version:
            self._feeds[namespace].tell(space.epoch, space.version)
        return answer.commit(asked, repeated=False)

    async def credit(
        self, namespace: str, usage: Mapping[str, Usage], token: str, *, kept: float = 1.0
    ) -> bool:
        space = self._spaces.setdefault(namespace, Space())
        if token in space.credited:
            return False
        space.credited.add(token)
        space.add_usage(usage, kept)
        return True

    async def usage(self, namespace: str) -> Mapping[str, Usage]:
        space = self._spaces.get(namespace)
        return dict(space.usage) if space else {}

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        kept = self._spaces[namespace].log if namespace in self._spaces else {}
        return tuple(kept[version] for version in versions if version in kept)

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        space = self._spaces.get(namespace)
        return dict(space.progress) if space else {}

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        self._spaces.setdefault(namespace, Space()).progress[key] = dict(record)

    async def tombstone(self, namespace: str, *sources: str) -> None:
        self._spaces.setdefault(namespace, Space()).purged.update(sources)

    async def tombstoned(self, namespace: str, sources: Iterable[str]) -> frozenset[str]:
        purged = self._spaces[namespace].purged if namespace in self._spaces else set[str]()
        return frozenset(sources) & purged

    async def blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> None:
        space = self._spaces.setdefault(namespace, Space())
        for version in versions:
            if version in space.log:
                space.log[version] = change(space.log[version])

    async def hold(self, namespace: str, name: str, holder: str, seconds: float) -> bool:
        leases, now = self._spaces.setdefault(namespace, Space()).leases, time.monotonic()
        held, until = leases.get(name, ("", 0.0))
        if held != holder and now < until:
            return False
        leases[name] = (holder, now + seconds)
        return True

    async def namespaces(self) -> tuple[str, ...]:
        return tuple(
            name for name in sorted(self._spaces) if self._spaces[name].version and "~" not in name
        )

    async def drop(self, namespace: str) -> None:
        self._spaces.pop(namespace, None)
        self._vectors.pop(namespace, None)
        self.episodes.forget(namespace)
        self._feeds[namespace].tell("", 0)

    async def drop_runs(
        self, namespace: str, sources: Collection[str], runs: Collection[str]
    ) -> int:
        samples = [f"sample:{run}" for run in runs]
        named = [repr(name) for name in (*sources, *runs, *samples)]
        staging = [name for name in self._spaces if name.startswith(f"{namespace}~")]
        found = []
        for name in staging:
            held = repr(self._spaces[name])
            if any(mention in held for mention in named):
                found.append(name)
        for name in found:
            await self.drop(name)
        return len(found)

    async def examine(self, namespace: str) -> Sequence[Finding]:  # noqa: ARG002
        told = "there is none: all of it ends with this process"
        return [Finding(of="server", state="warning", told=told)]

    async def compact(self) -> bool:
        return True  # there is no disk

    async def aclose(self) -> None:
        """Keep everything: the next one who holds this object finds it."""
