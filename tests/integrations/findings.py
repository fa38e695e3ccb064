"""What of ours can be found in what others are shown: our objects, and the words of a block."""

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

OURS = "ted_memory"
_LEAVES = str | bytes | int | float | complex | ModuleType | type | None


def ours(given: Any) -> list[str]:
    """Name all objects, classes and functions of this package in a nest of values.

    Attributes are looked at, too: of messages, snapshots, interrupts, configurations with their
    callbacks.
    """
    return [named.__name__ for named in map(_named, walk(given)) if _is_ours(named)]


def texts(given: Any) -> list[str]:
    """All strings in a nest of values, and what is written in bytes there."""
    held = (one for one in walk(given) if isinstance(one, str | bytes))
    return [one if isinstance(one, str) else one.decode(errors="replace") for one in held]


def walk(given: Any) -> list[Any]:
    """The parts of a nest of values, each once, without what objects of this package hold."""
    known: dict[int, Any] = {}  # by identity; it holds them, so that none is used twice
    todo = [given]
    while todo:
        one = todo.pop()
        if id(one) in known:
            continue
        known[id(one)] = one
        if not isinstance(one, _LEAVES) and not _is_ours(_named(one)):
            todo += _parts(one)
    return list(known.values())


def _named(one: Any) -> Any:
    return one if isinstance(one, type | FunctionType | MethodType) else type(one)


def _is_ours(named: Any) -> bool:
    return str(named.__module__).partition(".")[0] == OURS


def _parts(one: Any) -> Iterable[Any]:
    if isinstance(one, Mapping):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset | deque):
        return one
    if isinstance(one, functools.partial):
        return [one.func, one.args, one.keywords]
    if isinstance(one, FunctionType):
        return [cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell)]
    if isinstance(one, MethodType):
        return [one.__self__]
    return _attributes(one)


def _attributes(one: Any) -> Iterator[Any]:
    for kind in type(one).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if name != "__weakref__":
                yield getattr(one, name, None)
    yield getattr(one, "__dict__", None)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


class Traces(BaseTracer):
    """Keeps the runs that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        """Nothing is sent anywhere."""

    def _on_run_create(self, run: Run) -> None:
        self.runs.append(run)
