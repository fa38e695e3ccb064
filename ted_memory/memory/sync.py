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
) -> Callable[Concatenate["SyncTedMemory", P], T]:
    @functools.wraps(method)
    def call(self: "SyncTedMemory", *args: P.args, **kwargs: P.kwargs) -> T:
        return sync_bridge.run(method(self.memory, *args, **kwargs))

    return cast(Callable[Concatenate["SyncTedMemory", P], T], call)


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

    load = _blocking(TedMemory.load)
    snapshot = _blocking(TedMemory.snapshot)
    at = _blocking(TedMemory.at)
    show = _blocking(TedMemory.show)
    expose = _blocking(TedMemory.expose)
    render = _blocking(TedMemory.render)
    present = _blocking(TedMemory.present)
    commit = _blocking(TedMemory.commit)
    credit = _blocking(TedMemory.credit)
    usage = _blocking(TedMemory.usage)
    log = _blocking(TedMemory.log)
    diff = _blocking(TedMemory.diff)
    approve = _blocking(TedMemory.approve)
    reject = _blocking(TedMemory.reject)
    edit = _blocking(TedMemory.edit)
    examine = _blocking(TedMemory.examine)
    traffic = _blocking(TedMemory.traffic)
    dead_letters = _blocking(TedMemory.dead_letters)
    retry_dead_letters = _blocking(TedMemory.retry_dead_letters)
    drop_dead_letters = _blocking(TedMemory.drop_dead_letters)
    rollback = _blocking(TedMemory.rollback)
    purge = _blocking(TedMemory.purge)
    forget = _blocking(TedMemory.forget)
    forget_vectors = _blocking(TedMemory.forget_vectors)
    export = _blocking(TedMemory.export)
    import_set = _blocking(TedMemory.import_set)
    flush = _blocking(TedMemory.flush)
    give_feedback = _blocking(TedMemory.give_feedback)
    namespaces = _blocking(TedMemory.namespaces)
