"""The texts of a recorded run: without our own block, in the size that is allowed, as they can be stored."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ted_memory.episodes import Episode
from ted_memory.experience.rendering import CLOSING, OPENING
from ted_memory.models import Message

CUT = " [... cut]"

# As it was injected, and as it comes back from tools, errors and logs: in one line, escaped, or cut
# off.
_BLANK = r"(?:\s|\\+[nr])+"
_OURS = re.compile(
    _BLANK.join(map(re.escape, OPENING.split()))
    + rf".*?(?:{re.escape(CLOSING)}(?:\s|\\+[nr])*|\Z)",
    re.DOTALL,
)
_LONGEST_WORD = 200  # characters
_NO_TEXT = {"type", "blob", "base64", "data", "mime_type", "media_type"}  # of a content block


def without_block(text: str) -> str:
    """Take our own block out of a text, so that a recalled lesson is never learned again as a new one."""
    return _OURS.sub("", text).strip() if OPENING[:13] in text else text


def storable(text: str) -> str:
    """Return a text without halves of characters, which cannot be stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def size_of(episode: Episode) -> int:
    """Return the bytes that an episode takes."""
    return len(episode.model_dump_json(exclude_defaults=True).encode())


def fit(episode: Episode, size: int) -> Episode:
    """Return an episode of at most so many bytes: older messages go first, then longer texts are cut, then all goes.

    What stays whatever its size is what an outcome is credited by: run, principal, and the ids of
    lessons.
    """
    made = episode
    for longest, messages in (
        (size // 4, 32),
        (size // 16, 12),
        (size // 64, 6),
        (size // 256, 2),
        (0, 0),
    ):
        if size_of(made) <= size:
            return made
        made = _shortened(episode, longest, messages)
    return made


def _shortened(episode: Episode, longest: int, count: int) -> Episode:
    def last(given: Sequence[Any]) -> Sequence[Any]:
        return given[-count:] if count else ()

    def shorter(message: Message) -> Message:
        content = message.content
        short = (
            cut(content, longest)
            if isinstance(content, str)
            else tuple(map(block, content[:count]))
        )
        return message.model_copy(update={"content": short})

    def block(given: dict[str, Any]) -> dict[str, Any]:
        if given.get("type") == "text":
            return {"type": "text", "text": cut(str(given.get("text", "")), longest)}
        size = len(json.dumps(given, default=str))
        return (
            given
            if size <= max(longest, 150)
            else {"type": "text", "text": f"[{size} characters were left out]"}
        )

    said = {name: tuple(map(shorter, last(getattr(episode, name)))) for name in ("input", "output")}
    blocks = [
        b
        for place in said.values()
        for m in place
        if not isinstance(m.content, str)
        for b in m.content
    ]
    blobs = {b.get("blob") for b in blocks}
    return episode.model_copy(
        update={
            **said,
            "tools": tuple(cut(text, longest) for text in last(episode.tools)),
            "tags": tuple(cut(tag, longest) for tag in episode.tags[:count]),
            "images": tuple(digest for digest in episode.images if digest in blobs),
            **{
                name: cut(getattr(episode, name), min(longest, 200))
                for name in ("model", "thread_id")
            },
            "error": cut(episode.error, longest),
        }
    )


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters, ended between words, and a mark where something is missing."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    # not within a word: the first half of a key does not look like one
    whole = head.rsplit(None, 1)[0] if head.strip() else ""
    return (whole if len(head) - len(whole) <= _LONGEST_WORD else head) + CUT if longest else ""


def with_texts(episode: Episode, change: Callable[[str], str]) -> Episode:
    """Return an episode with all its texts changed."""
    return episode.model_copy(
        update={
            "input": tuple(_message(m, change) for m in episode.input),
            "output": tuple(_message(m, change) for m in episode.output),
            "tools": tuple(change(text) for text in episode.tools),
            "tags": tuple(change(tag) for tag in episode.tags),
            "error": change(episode.error),
        }
    )


def _message(message: Message, change: Callable[[str], str]) -> Message:
    content = message.content
    changed = (
        change(content)
        if isinstance(content, str)
        else tuple(_in_block(b, change) for b in content)
    )
    return message.model_copy(update={"content": changed})


def _in_block(value: Any, change: Callable[[str], str]) -> Any:
    """Return a part of a content block with its texts changed, and its data as they are."""
    if isinstance(value, str):
        return value if value.startswith("data:") else change(value)
    if isinstance(value, Mapping):
        return {
            key: one if key in _NO_TEXT else _in_block(one, change) for key, one in value.items()
        }
    return [_in_block(one, change) for one in value] if isinstance(value, list | tuple) else value
