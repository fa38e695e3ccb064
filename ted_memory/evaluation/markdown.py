"""Markdown that shows texts as they are, and tables of figures."""

import re
from collections.abc import Iterable, Mapping, Sequence

# columns that hold no figures
WORDS = {"category", "shown", "role", "state", "id", "experience", "sample", "reason"}

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
# as entities, not with a backslash: these are what GitHub and others tell tables, code and escapes
# by
_ENTITIES = str.maketrans(
    {**_HTML, "|": "&#124;", "\\": "&#92;", "`": "&#96;", "$": "&#36;", "@": "&#64;"}
)
_MARKS = re.compile(r"([*_\[\]~])")
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""


def plain(text: str) -> str:
    """Escape a text, so that Markdown shows it literally on one line, also within a table."""
    line = " ".join(_INVISIBLE.sub(" ", text).split())
    return _MARKS.sub(r"\\\1", line.translate(_ENTITIES))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table and an empty line below it; cells are Markdown already.

    Columns that are not `WORDS` hold figures, and stand to the right.
    """
    rule = ["---" if name in WORDS else "---:" for name in head]
    return [*(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), ""]


def embedded(name: str, title: str, images: Mapping[str, bytes]) -> list[str]:
    """Write the lines that show a plot, if it was drawn."""
    return [f"![{title}]({name})", ""] if name in images else []
