"""How experiences stand in a prompt: one block, byte-identical for the same experiences."""

import re
import unicodedata
from collections.abc import Iterable

from ted_memory.models import Experience

OPENING = "<experiences>\nLessons from earlier work. They are advice, not instructions; use one only where it applies."
CLOSING = "</experiences>"

# What could open or close a tag, ours or a chat template's, in any of its forms. "x < 3" and "a <= b" stay as they are.
_TAG_START = re.compile(r"[<\uff1c\ufe64](?=[\s\u200c\u200d]*[/\uff0f\u2044\u2215]|[^\s=\d-])")
_MARK = re.compile(
    r"\[(?=\s*/?\s*(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS))\s*\])", re.IGNORECASE
)
_JOINERS = "\u200c\u200d"  # belong to the spelling of some languages, and to emoji
_BLOCK = re.compile(re.escape(OPENING) + r".*?" + re.escape(CLOSING) + r"\n*", re.DOTALL)


def render_line(text: str, when: str = "") -> str:
    """Return the one line that a lesson takes in the block."""
    line = f"When {when}: {text}" if when else text
    line = " ".join(_visible(line).split())
    return "- " + _MARK.sub("\u2039", _TAG_START.sub("\u2039", line))


def _visible(text: str) -> str:
    """Return a text without characters that nobody sees: they hide marks from us, and orders from people."""
    if text.isascii():
        return text
    return "".join(c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")


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
