"""The memory for synchronous programs: the same methods, blocking."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from ted_memory.episodes import Episode
from ted_memory.memory import sync_bridge
from ted_memory.memory.cache import Health
from ted_memory.memory.client import TedMemory
from ted_memory.models import ExperienceSet, Presentation
from ted_memory.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[TedMemory, P], Coroutine[Any, Any, T]],
) -> Callable[[Any], Callable[Concatenate["SyncTedMemory", P], T]]:
    """Make a method that blocks of one that is awaited; what is decorated only names it.

    An assignment would do, but checkers of types ask a declaration of what a package offers.
    """

    @functools.wraps(method)
    def call(self: "SyncTedMemory", *args: P.args, **kwargs: P.kwargs) -> T:
        return sync_bridge.run(method(self.memory, *args, **kwargs))

    return lambda _: cast(Callable[Concatenate["SyncTedMemory", P], T], call)


class SyncTedMemory:
    """A `TedMemory` with blocking methods, for programs without an event loop.

    Made by `open_memory_sync`. May be used from any thread. All calls run on the one event loop
    that the integrations' synchronous methods use.
    """

    def __init__(self, memory: TedMemory) -> None:
        self.memory = memory
        """The memory itself; give this one to integrations."""

    def __enter__(self) -> Self:
        self.load()  # a wrong URL is told now
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def namespace(self) -> str:
        """Which experience set."""
        return self.memory.namespace

    @property
    def settings(self) -> Settings:
        """The settings that it was opened with."""
        return self.memory.settings

    def close(self) -> None:
        """Let go of all connections."""
        sync_bridge.run(self.memory.aclose())

    def for_namespace(self, namespace: str) -> "SyncTedMemory":
        """Open another experience set over the same connections; no I/O."""
        return SyncTedMemory(self.memory.for_namespace(namespace))

    def health(self) -> Health:
        """Tell what an agent's path has counted so far; no I/O."""
        return self.memory.health()

    def presentation(self, snapshot: ExperienceSet) -> Presentation:
        """Tell how a set is shown; no I/O."""
        return self.memory.presentation(snapshot)

    def record(self, episode: Episode) -> None:
        """Record one run: it is sent in the background, and at the latest when the program ends."""
        sync_bridge.run(self.memory.record(episode))
        sync_bridge.flush_at_exit(self.memory)

    @_blocking(TedMemory.load)
    def load(self) -> Any: ...

    @_blocking(TedMemory.snapshot)
    def snapshot(self) -> Any: ...

    @_blocking(TedMemory.at)
    def at(self) -> Any: ...

    @_blocking(TedMemory.show)
    def show(self) -> Any: ...

    @_blocking(TedMemory.expose)
    def expose(self) -> Any: ...

    @_blocking(TedMemory.render)
    def render(self) -> Any: ...

    @_blocking(TedMemory.present)
    def present(self) -> Any: ...

    @_blocking(TedMemory.commit)
    def commit(self) -> Any: ...

    @_blocking(TedMemory.credit)
    def credit(self) -> Any: ...

    @_blocking(TedMemory.usage)
    def usage(self) -> Any: ...

    @_blocking(TedMemory.log)
    def log(self) -> Any: ...

    @_blocking(TedMemory.diff)
    def diff(self) -> Any: ...

    @_blocking(TedMemory.approve)
    def approve(self) -> Any: ...

    @_blocking(TedMemory.reject)
    def reject(self) -> Any: ...

    @_blocking(TedMemory.edit)
    def edit(self) -> Any: ...

    @_blocking(TedMemory.examine)
    def examine(self) -> Any: ...

    @_blocking(TedMemory.traffic)
    def traffic(self) -> Any: ...

    @_blocking(TedMemory.dead_letters)
    def dead_letters(self) -> Any: ...

    @_blocking(TedMemory.retry_dead_letters)
    def retry_dead_letters(self) -> Any: ...

    @_blocking(TedMemory.drop_dead_letters)
    def drop_dead_letters(self) -> Any: ...

    @_blocking(TedMemory.rollback)
    def rollback(self) -> Any: ...

    @_blocking(TedMemory.purge)
    def purge(self) -> Any: ...

    @_blocking(TedMemory.forget)
    def forget(self) -> Any: ...

    @_blocking(TedMemory.forget_vectors)
    def forget_vectors(self) -> Any: ...

    @_blocking(TedMemory.export)
    def export(self) -> Any: ...

    @_blocking(TedMemory.import_set)
    def import_set(self) -> Any: ...

    @_blocking(TedMemory.flush)
    def flush(self) -> Any: ...

    @_blocking(TedMemory.give_feedback)
    def give_feedback(self) -> Any: ...

    @_blocking(TedMemory.namespaces)
    def namespaces(self) -> Any: ...
