"""How experiences stand in a prompt: one block, byte-identical for the same experiences."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

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


INDENT = "  "  # of all lines of a lesson but its first: none of them can pass for another lesson


def render_lesson(text: str, when: str = "", example: str = "") -> str:
    """Return the lines that a lesson takes in the block: the first begins with ``- ``, the others are indented."""
    said = f"When {when}: {text}" if when else text
    if when and "\n" in text:  # a list or a snippet begins on a line of its own
        said = f"When {when}:\n{text}"
    if example:
        said += f"\nExample: {example}"
    return "- " + f"\n{INDENT}".join(tidy_text(_harmless(said)).split("\n"))


def render_line(text: str, when: str = "", example: str = "") -> str:
    """Return a lesson on one line, as logs and people's lists show it."""
    return " ".join(render_lesson(text, when, example)[2:].split())


def tidy_text(text: str) -> str:
    """Return a text as it is kept: lines without blanks at their end, no blank lines but single ones inside.

    Several lines keep their indentation, since they may be a snippet; a single one has no runs of blanks.
    """
    lines = [line.expandtabs(4).rstrip() for line in text.splitlines()]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) < 2:
        return " ".join(text.split())
    lines[0] = lines[0].lstrip()
    kept = [line for i, line in enumerate(lines) if line or lines[i - 1]]
    return "\n".join(kept)


def _harmless(text: str) -> str:
    return _MARK.sub("\u2039", _TAG_START.sub("\u2039", _visible(text)))


def _visible(text: str) -> str:
    """Return a text without characters that nobody sees: they hide marks from us, and orders from people."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in _JOINERS or c.isspace() or unicodedata.category(c) not in {"Cf", "Cc"})


def count_tokens(line: str) -> int:
    """Return the tokens that a text counts for: one for each 4 bytes of UTF-8, rounded up.

    The formula is fixed, needs no tokenizer, and errs on the high side for English prose. It is what
    ``token_budget`` is measured in.
    """
    return -(-len(line.encode()) // 4)


FRAME_TOKENS = count_tokens(f"{OPENING}\n") + count_tokens(CLOSING)
"""Tokens of the block around its lines."""


def lesson_tokens(text: str, when: str = "", example: str = "") -> int:
    """Return the tokens of a lesson's lines, the last line break included."""
    return count_tokens(render_lesson(text, when, example) + "\n")


def render_block(experiences: Iterable[Experience]) -> str:
    """Return the block, or the empty string when there is nothing to say."""
    lessons = [render_lesson(e.text, e.when, e.example) for e in experiences]
    return "\n".join([OPENING, *lessons, CLOSING]) if lessons else ""


def without_examples(experiences: Iterable[Experience]) -> list[Experience]:
    """Return the lessons as they are shown without their examples, which then cost no tokens either."""
    return [
        e.model_copy(update={"example": "", "tokens": _tokens_alone(e.text, e.when)}) if e.example else e
        for e in experiences
    ]


# An agent's every call counts the same lessons again.
@lru_cache(maxsize=4096)
def _tokens_alone(text: str, when: str) -> int:
    return lesson_tokens(text, when)


def strip_block(text: str) -> str:
    """Take our own block out of a text, so that a recalled lesson is never learned again as a new one."""
    return _BLOCK.sub("", text).strip() if OPENING in text else text
