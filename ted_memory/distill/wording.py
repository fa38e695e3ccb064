"""Edits in words, for models and for people."""

from ted_memory.experience.rendering import render_line
from ted_memory.models import Add, Edit, Merge, Remove, Rewrite


def describe(edit: Edit) -> str:
    """Say in one line what an edit would have a lesson say; "" for one that changes no words."""
    if isinstance(edit, Remove):
        return f"{edit.op} {edit.id}"
    if isinstance(edit, Add | Merge | Rewrite):
        return render_line(edit.text, edit.when or "", edit.example or "", edit.task or "")
    return render_line("")
