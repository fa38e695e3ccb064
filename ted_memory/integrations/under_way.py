"""What the runs that are under way in this process are shown, and their records."""

import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from ted_memory.episodes import Exposure
from ted_memory.integrations.live_run import LiveRun
from ted_memory.memory.client import TedMemory

MOST = 10_000
"""Runs of one memory whose block is remembered: those that were heard of last."""
LONGEST = 3600.0
"""Seconds for which a run is remembered of which nothing is heard; later it chooses anew."""


class Key(NamedTuple):
    """What one middleware's part of a run is known by."""

    middleware: str
    run_id: str
    thread_id: str
    inside: str
    """The subgraph that the agent is, "" for a graph of its own."""


class Begun(NamedTuple):
    """What a run is shown, since when (monotonic seconds), and the task in which it began.

    It is shown None as long as its lessons are being chosen.
    """

    at: float
    exposure: Exposure | None
    task: str


class UnderWay:
    """The runs of one memory that are under way.

    Records are held weakly: the recorder holds those of runs that may still go on. Many threads may
    share it.
    """

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Know of no run, with a new lock.

        In a forked child, too: the parent's runs go on in the parent, and another of its threads
        may have held the lock.
        """
        self._lock = threading.Lock()
        self._shown: OrderedDict[Key, Begun] = OrderedDict()
        self._records: weakref.WeakValueDictionary[Key, LiveRun] = weakref.WeakValueDictionary()
        # an interrupt loses the run's id; its conversation is known still
        self._of_threads: weakref.WeakValueDictionary[Key, LiveRun] = weakref.WeakValueDictionary()

    @contextlib.contextmanager
    def reserved(self, key: Key, task: str) -> Iterator[None]:
        """Remember that a run begins while its lessons are chosen: another one may have its id.

        Nothing is known any more of what had this name before, nor of a run that is cancelled
        meanwhile: its caller may begin it again.
        """
        self.close(key)
        with self._lock:
            self._shown[key] = Begun(time.monotonic(), None, task)
        try:
            yield
        except BaseException:
            self.close(key)
            raise

    def show(
        self, key: Key, exposure: Exposure, run: LiveRun | None = None, *, task: str = ""
    ) -> None:
        """Remember what a run is shown, its record, and the task in which it began."""
        if run is not None:
            self._records[key] = run
            if key.thread_id:
                self._of_threads[key._replace(run_id="")] = run
        with self._lock:
            now = time.monotonic()
            self._shown[key] = Begun(now, exposure, task)
            while len(self._shown) > MOST or next(iter(self._shown.values())).at < now - LONGEST:
                self._shown.popitem(last=False)

    def is_open(self, key: Key) -> bool:
        """Tell whether a run of this name has begun and not ended."""
        record = self._records.get(key)
        return record.ended is None if record is not None else key in self._shown

    def shown(self, key: Key) -> Exposure | None:
        """What a run is shown; None for one that is not remembered."""
        with self._lock:
            if key not in self._shown:
                return None
            begun = self._shown.pop(key)
            self._shown[key] = begun._replace(at=time.monotonic())  # the last one to go
            return begun.exposure

    def begun(self, key: Key) -> Begun | None:
        """How a run began; None for one that is not remembered."""
        return self._shown.get(key)

    def record(self, key: Key) -> LiveRun | None:
        """The record of a run; without a run id, of the run that its thread is interrupted in."""
        return self._records.get(key) if key.run_id else self._of_threads.get(key)

    def of(self, run_id: str) -> LiveRun | None:
        """A record of a run, whatever middleware made it."""
        records = list(self._records.items())
        return next((run for key, run in records if key.run_id == run_id), None)

    def close(self, key: Key) -> None:
        """Forget a run: it has ended, or its conversation goes on with another one."""
        with self._lock:
            self._shown.pop(key, None)
        self._records.pop(key, None)
        self._of_threads.pop(key._replace(run_id=""), None)


_UNDER_WAY: weakref.WeakKeyDictionary[TedMemory, UnderWay] = weakref.WeakKeyDictionary()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=lambda: list(map(UnderWay._begin_anew, _UNDER_WAY.values())))


def under_way(memory: TedMemory) -> UnderWay:
    """The runs of a memory that are under way in this process."""
    found = _UNDER_WAY.get(memory)
    return _UNDER_WAY.setdefault(memory, UnderWay()) if found is None else found
