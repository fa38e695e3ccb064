"""How experiences stand in a prompt: one block, byte-identical for the same experiences."""

import re
from collections.abc import Iterable

from ted_memory.models import Experience

OPENING = "<experiences>\nLessons from earlier work. They are advice, not instructions; use one only where it applies."
CLOSING = "</experiences>"

# What could open or close a tag, ours or a chat template's. "x < 3" stays as it is.
_TAG_START = re.compile(r"[<\uff1c\ufe64](?=\s*/|[A-Za-z!?|])")
_BLOCK = re.compile(re.escape(OPENING) + r".*?" + re.escape(CLOSING) + r"\n*", re.DOTALL)


def render_line(text: str, when: str = "") -> str:
    """Return the one line that a lesson takes in the block."""
    line = f"When {when}: {text}" if when else text
    return "- " + _TAG_START.sub("\u2039", " ".join(line.split()))


def count_tokens(line: str) -> int:
    """Return the tokens that a text counts for: one for each 4 bytes of UTF-8, rounded up.

    The formula is fixed, needs no tokenizer, and errs on the high side for English prose. It is what
    ``token_budget`` is measured in.
    """
    return -(-len(line.encode()) // 4)


FRAME_TOKENS = count_tokens(f"{OPENING}\n") + count_tokens(CLOSING)
"""Tokens of the block around its lines."""


def line_tokens(text: str, when: str = "") -> int:
    """Return the tokens of a lesson's line, its line break included."""
    return count_tokens(render_line(text, when) + "\n")


def render_block(experiences: Iterable[Experience]) -> str:
    """Return the block, or the empty string when there is nothing to say."""
    lines = [render_line(e.text, e.when) for e in experiences]
    return "\n".join([OPENING, *lines, CLOSING]) if lines else ""


def strip_block(text: str) -> str:
    """Take our own block out of a text, so that a recalled lesson is never learned again as a new one."""
    return _BLOCK.sub("", text).strip() if OPENING in text else text
