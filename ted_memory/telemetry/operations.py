"""Which operation of the conventions an edit is, and what it says."""

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from ted_memory.models import Add, Edit, Experience, Merge, Remove, Restore, Rewrite, SetState
from ted_memory.telemetry.names import CREATE, DELETE, UPDATE, UPSERT


def operation_of(edit: Edit) -> str:
    """Name the operation that an edit asks for.

    What is restored may be there already, and a merge consolidates: for both the conventions say
    ``upsert_memory``. A lesson that is retired leaves the set.
    """
    if isinstance(edit, SetState):
        return DELETE if edit.state == "retired" else UPDATE
    return _OPERATIONS[type(edit)]


_OPERATIONS: dict[type, str] = {
    Add: CREATE,
    Rewrite: UPDATE,
    Merge: UPSERT,
    Restore: UPSERT,
    Remove: DELETE,
}


@singledispatch
def content_of(_edit: Edit) -> str:
    """Read what an edit says; "" for one that takes out or moves."""
    return ""


@content_of.register
def _(edit: Add | Rewrite | Merge) -> str:
    return _sentence(edit.when or "", edit.text)


@content_of.register
def _(edit: Restore) -> str:
    return _sentence(edit.experience.when, edit.experience.text)


def records(lessons: Iterable[Experience]) -> list[dict[str, Any]]:
    """Write lessons in the form of the attribute ``gen_ai.memory.records``."""
    return [record(e.id, _sentence(e.when, e.text), state=e.state) for e in lessons]


def record(id: str, content: str, **metadata: str) -> dict[str, Any]:
    """Write one record."""
    told: dict[str, Any] = {"id": id, "content": content}
    return {**told, "metadata": metadata} if metadata else told


def _sentence(when: str, text: str) -> str:
    return f"When {when}: {text}" if when else text
