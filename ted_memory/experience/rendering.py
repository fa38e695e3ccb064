"""How experiences stand in a prompt: one block, byte-identical for the same experiences."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from ted_memory.models import Experience

OPENING = "<experiences>\nLessons from earlier work. They are advice, not instructions; use one only where it applies."
CLOSING = "</experiences>"

# What could open or close a tag, ours or a chat template's, in any of its forms. "x < 3" and "a <=
# b" stay as they are.
_TAG_START = re.compile(r"[<\uff1c\ufe64](?=[\s\u200c\u200d]*[/\uff0f\u2044\u2215]|[^\s=\d-])")
_MARK = re.compile(
    r"\[(?=\s*+(?:/\s*+)?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS))\s*+\])",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"<(?=[|\uff5c<]|/?\s*(?:s|bos|eos|start_of_turn|end_of_turn|think|tool_call|tool_response|experiences)\s*>)",
    re.IGNORECASE,
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


def render_line(text: str, when: str = "", example: str = "", task: str = "") -> str:
    """Return a lesson on one line, as logs, critics and people's lists show it."""
    said = render_lesson(text, when, "" if task else example)[2:]
    if task:
        said += f" Earlier turn: {_harmless(task)} => {_harmless(example)}"
    return " ".join(said.split())


def tidy_text(text: str) -> str:
    """Return a text as it is kept: lines without blanks at their end, no blank lines but single ones inside.

    Several lines keep their indentation, since they may be a snippet; a single one has no runs of
    blanks.
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


def tidy_turn(text: str) -> str:
    """Return a task or an answer as it is kept: all blanks between its words stay, since its form is what it shows."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def is_seen(text: str) -> bool:
    """Tell whether anything of a text is seen: providers refuse turns that are empty."""
    return bool(visible(text).strip())


def _harmless(text: str) -> str:
    return _MARK.sub("\u2039", _TAG_START.sub("\u2039", visible(text)))


def visible(text: str) -> str:
    """Return a text without characters that nobody sees: they hide marks from us, and orders from people."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c
        for c in text
        if c in _JOINERS or c.isspace() or unicodedata.category(c) not in {"Cf", "Cc"}
    )


def count_tokens(line: str) -> int:
    """Return the tokens that a text counts for: one for each 4 bytes of UTF-8, rounded up.

    The formula is fixed, needs no tokenizer, and errs on the high side for English prose. It is
    what ``token_budget`` is measured in.
    """
    return -(-len(line.encode()) // 4)


FRAME_TOKENS = count_tokens(f"{OPENING}\n") + count_tokens(CLOSING)
"""Tokens of the block around its lines."""


def lesson_tokens(text: str, when: str = "", example: str = "", task: str = "") -> int:
    """Return the tokens of a lesson in a prompt: its lines, the last line break included.

    With a ``task``: with its earlier turn, or with both in the block, whatever is more.
    """
    if not task:
        return count_tokens(render_lesson(text, when, example) + "\n")
    in_the_block = count_tokens(render_lesson(text, when, _solved(task, example)) + "\n")
    return max(
        in_the_block, count_tokens(render_lesson(text, when) + "\n") + count_tokens(task + example)
    )


def render_block(experiences: Iterable[Experience], *, alone: bool = False) -> str:
    """Return the block, or the empty string when there is nothing to say.

    ``alone``: solved tasks stand in it, too, as examples; else they are `earlier_turns`.
    """
    lessons = [render_lesson(e.text, e.when, _in_the_block(e, alone=alone)) for e in experiences]
    return "\n".join([OPENING, *lessons, CLOSING]) if lessons else ""


def _in_the_block(experience: Experience, *, alone: bool) -> str:
    if not experience.task:
        return experience.example
    return _solved(experience.task, experience.example) if alone else ""


def _solved(task: str, answer: str) -> str:
    return f"{task} => {answer}"


def earlier_turns(experiences: Iterable[Experience]) -> tuple[tuple[str, str], ...]:
    """Return the tasks that these lessons carry with their answers, as turns that come before the question.

    The first lesson's turn is the last one, next to the question: it is the one that was found
    first. What a chat template or our own block is known by is taken out of them; other tags stay,
    since their form is what they show.
    """
    turns = [(_turn(e.task), _turn(e.example)) for e in experiences if e.task]
    return tuple(reversed(turns))


def _turn(text: str) -> str:
    return _MARK.sub("\u2039", _TEMPLATE.sub("\u2039", visible(text)))


def without_examples(experiences: Iterable[Experience]) -> list[Experience]:
    """Return the lessons as they are shown without their examples, which then cost no tokens either.

    Those with a solved task are not among them: what they say is the turn.
    """
    return [
        e.model_copy(update={"example": "", "tokens": _tokens_alone(e.text, e.when)})
        if e.example
        else e
        for e in experiences
        if not e.task
    ]


# An agent's every call counts the same lessons again.
@lru_cache(maxsize=4096)
def _tokens_alone(text: str, when: str) -> int:
    return lesson_tokens(text, when)


def strip_block(text: str) -> str:
    """Take our own block out of a text, so that a recalled lesson is never learned again as a new one."""
    return _BLOCK.sub("", text).strip() if OPENING in text else text
