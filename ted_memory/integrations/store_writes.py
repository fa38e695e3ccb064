"""Writes to one namespace that come at once go together: one commit, not a race of many."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ted_memory.models import Experience, ExperienceSet

Wanted = Mapping[str, Experience | None]
"""By id what is to stand there; None: nothing."""
Commits = Callable[
    [str, dict[str, Experience | None], ExperienceSet | None], Awaitable[dict[str, str]]
]
"""Writes to a namespace and gives the reasons of what was refused, by id.

The set is the one that was read; None: it has changed since, so the writes go on the set of now."""


@dataclass
class _Group:
    """Writes that wait for the commit before theirs."""

    wanted: dict[str, Experience | None] = field(default_factory=dict)
    base: ExperienceSet | None = None


@dataclass
class _Loop:
    """The writes of one event loop, by namespace."""

    groups: dict[str, tuple[_Group, asyncio.Task[dict[str, str]]]] = field(default_factory=dict)
    running: dict[str, asyncio.Task[dict[str, str]]] = field(default_factory=dict)


class Writes:
    """Makes one commit at a time for each namespace.

    What is put while one is under way goes in the next one; of two writes to one id the last wins.
    A caller that is cancelled leaves the others' writes alone, and its own may still be written.
    """

    def __init__(self, commit: Commits) -> None:
        self._commit = commit
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = (
            weakref.WeakKeyDictionary()
        )

    async def write(self, namespace: str, wanted: Wanted, base: ExperienceSet) -> dict[str, str]:
        """Write together with what others wrote meanwhile; tell why what was refused, by id.

        ``base`` is the set that the caller read. It counts only for the first of those who write
        together.
        """
        loop = self._loops.setdefault(asyncio.get_running_loop(), _Loop())
        if namespace not in loop.groups:
            group, before = _Group(base=base), loop.running.get(namespace)
            task = asyncio.ensure_future(self._run(namespace, group, loop, before))
            # its callers may be gone
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            loop.groups[namespace] = group, task
        group, task = loop.groups[namespace]
        group.wanted.update(wanted)
        refused = await asyncio.shield(task)
        return {id: reason for id, reason in refused.items() if id in wanted}

    async def _run(
        self,
        namespace: str,
        group: _Group,
        loop: _Loop,
        before: asyncio.Task[dict[str, str]] | None,
    ) -> dict[str, str]:
        if before is not None:
            await asyncio.wait([before])
            group.base = None  # it has changed since
        _, task = loop.groups.pop(namespace)
        loop.running[namespace] = task
        try:
            return await self._commit(namespace, group.wanted, group.base)
        finally:
            if loop.running.get(namespace) is task:
                del loop.running[namespace]
