"""Edits in words, for models and for people."""

from ted_memory.experience.rendering import render_line
from ted_memory.models import Edit, Remove


def describe(edit: Edit) -> str:
    """Return an edit in words."""
    if isinstance(edit, Remove):
        return f"{edit.op} {edit.id}"
    text, when = getattr(edit, "text", ""), getattr(edit, "when", "") or ""
    example, task = (getattr(edit, name, "") or "" for name in ("example", "task"))
    return render_line(text, when, example, task)
