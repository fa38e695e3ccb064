"""A cache of what is worked out from an immutable object, for as long as the object lives.

A set never changes, and serves many requests: what they need of it is worked out once, such as its
index and its block.
"""

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Derived(Generic[T]):
    """Values by the very object that they were made from (by identity, not by equality).

    A process may serve any number of sets: a cache of a fixed size would miss on every call once
    there are more of them than it holds. A value must not refer to its own key, or neither would
    ever go.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[Any], T]] = {}

    def get(self, key: object) -> T | None:
        """Return the value of this very object, None when there is none."""
        found = self._held.get(id(key))
        return found[1] if found is not None and found[0]() is key else None

    def put(self, key: object, value: T) -> T:
        """Keep a value until its object is gone, or another value takes its place."""
        number, held = id(key), self._held

        def forget(reference: weakref.ref[Any]) -> None:
            found = held.get(number)
            # the address may belong to another object by now
            if found is not None and found[0] is reference:
                del held[number]

        held[number] = (weakref.ref(key, forget), value)
        return value

    def get_or_make(self, key: object, make: Callable[[], T]) -> T:
        """Return the value of this object; make it if there is none."""
        found = self.get(key)
        return self.put(key, make()) if found is None else found

    def __len__(self) -> int:
        return len(self._held)
