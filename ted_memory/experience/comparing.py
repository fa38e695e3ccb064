"""Lessons as people who decide look at them: which is nearest, what differs, what is hidden.

Nothing is decided here. Whether two lessons count as the same is `identity`'s to say.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from ted_memory.derived import Derived
from ted_memory.models import Experience

LEAST_SHARED = 0.25  # of the words of both: below, two lessons only happen to share some
LONGEST = 4000  # words of both texts; a comparison takes time with their product

_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\s+|\w+|[^\w\s]")

Change = Literal["same", "added", "removed"]


@dataclass(frozen=True)
class Piece:
    """A part of a text, and what became of it."""

    change: Change
    text: str


@dataclass(frozen=True)
class Near:
    """The lesson that is most like another one; ``shared`` is the share of their words, 0 to 1."""

    lesson: Experience
    shared: float


def nearest(lesson: Experience, others: Iterable[Experience]) -> Near | None:
    """Find the lesson that shares most of its words with this one; None where none is like it."""
    words, best = _words_of(lesson), None
    for other in others:
        if other.id == lesson.id:
            continue
        its_own = _words_of(other)
        common = len(words & its_own)
        shared = common / (len(words) + len(its_own) - common) if common else 0.0
        if shared >= LEAST_SHARED and (best is None or shared > best.shared):
            best = Near(other, shared)
    return best


def word_diff(old: str, new: str) -> tuple[Piece, ...]:
    """Write a new text with what was added to the old one, and what was taken out of it.

    Both are given whole where they are too long to be compared word by word.
    """
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    if len(before) + len(after) > LONGEST:
        return _pieces([("removed", [old]), ("added", [new])])
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    parts = [
        _Part(before[i:j], after[k:m], same=tag == "equal")
        for tag, i, j, k, m in matcher.get_opcodes()
    ]
    found: list[tuple[Change, Sequence[str]]] = []
    for part in _readable(parts):
        if part.same:
            found.append(("same", part.new))
        else:
            found += [("removed", part.old), ("added", part.new)]
    return _pieces(found)


@dataclass(frozen=True)
class _Part:
    old: Sequence[str]
    new: Sequence[str]
    same: bool

    @property
    def size(self) -> int:
        return max(sum(piece.isalnum() for piece in side) for side in (self.old, self.new))

    def joined(self, other: "_Part") -> "_Part":
        return _Part([*self.old, *other.old], [*self.new, *other.new], same=False)


def _readable(parts: Sequence[_Part]) -> list[_Part]:
    """Join changes with what stands between them where that is less than they are.

    Else two sentences that share "the" and "of" become a mosaic of single words.
    """
    found: list[_Part] = []
    for i, part in enumerate(parts):
        is_between = 0 < i < len(parts) - 1
        joins = part.same and is_between and 2 * part.size < parts[i - 1].size + parts[i + 1].size
        if found and not found[-1].same and (joins or not part.same):
            found[-1] = found[-1].joined(part)
        else:
            found.append(part)
    return found


def _pieces(parts: Iterable[tuple[Change, Sequence[str]]]) -> tuple[Piece, ...]:
    return tuple(Piece(change, "".join(words)) for change, words in parts if words)


# the last two belong to the spelling of some languages, and to emoji
_KEPT = {"\n", "\t", "\u200c", "\u200d"}


def spelled_out(text: str) -> str:
    """Spell out what would move a terminal's cursor, turn letters round, or be seen by nobody.

    A lesson or a user's name may hold such characters, and what a reviewer approves must be what
    the reviewer sees.
    """
    if text.isascii() and text.isprintable():
        return text
    hidden = {c for c in set(text) if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}} - _KEPT
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in hidden})


_WORDS: Derived[frozenset[str]] = Derived()


def _words_of(lesson: Experience) -> frozenset[str]:
    """Give the words of condition and text, worked out once for each lesson."""
    known = _WORDS.get(lesson)
    if known is None:
        words = _WORD.findall(f"{lesson.when} {lesson.text}".casefold())
        known = _WORDS.put(lesson, frozenset(words))
    return known
