"""The two consoles, and what is done to text of others before a terminal has it."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from ted_memory.experience.comparing import spelled_out


def one_line(text: str) -> str:
    """Take line breaks out of what somebody wrote, so that no line of a list is forged."""
    return " ".join(text.split())


class _Terminal(Console):
    """Prints what others wrote: lessons, reasons, names."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = [spelled_out(one) if isinstance(one, str) else one for one in objects]
        super().print(*shown, **options)


out: Console = _Terminal(soft_wrap=True, highlight=False)
err: Console = _Terminal(stderr=True, highlight=False)


def print_error(command: str, what: str) -> None:
    """Print in one line what is to be acted on: the only thing that is red."""
    err.print(f"[red]{command}:[/] {escape(one_line(what))}", soft_wrap=True)


def print_json_line(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own, at once: somebody may read along."""
    out.print(json.dumps(value, ensure_ascii=False), markup=False)
    out.file.flush()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    out.print(json.dumps(value, ensure_ascii=False, indent=2), markup=False)
