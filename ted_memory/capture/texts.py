"""The texts of a recorded run: without our own block, of a bounded size, and storable as UTF-8."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ted_memory.episodes import Episode
from ted_memory.experience.rendering import CLOSING, OPENING
from ted_memory.models import Message

CUT = " [... cut]"

T = TypeVar("T")

# As it was injected, and as it comes back from tools, errors and logs: in one line, escaped, or cut
# off.
_BLANK = r"(?:\s|\\+[nr])+"
_OURS = re.compile(
    _BLANK.join(map(re.escape, OPENING.split()))
    + rf".*?(?:{re.escape(CLOSING)}(?:\s|\\+[nr])*|\Z)",
    re.DOTALL,
)
_FRAME, _FRAME_OF_TEXT = 2000, 100  # bytes of JSON around an episode, and around each of its texts
_WIDEST = 6  # bytes of JSON that a character takes at most
_LONGEST_WORD = 200  # characters
_LONGEST_NAME = 200  # characters
_SMALL_BLOCK = (
    150  # characters of JSON that a content block may always have, such as an image's hash
)
_NO_TEXT = {"type", "blob", "base64", "data", "mime_type", "media_type"}  # of a content block


def without_block(text: str) -> str:
    """Take our own block out of a text: a recalled lesson must not be learned as a new one."""
    return _OURS.sub("", text).strip() if OPENING[:13] in text else text


def storable(text: str) -> str:
    """Replace halves of characters (lone surrogates), which cannot be stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def size_of(episode: Episode) -> int:
    """Bytes that an episode takes in the store."""
    return len(episode.model_dump_json(exclude_defaults=True).encode())


def fit(episode: Episode, size: int) -> Episode:
    """Shorten an episode to `size` bytes, in steps, until it fits.

    Each step keeps fewer of the last messages and cuts texts shorter; the last one keeps none. What
    an outcome is credited by stays, whatever its size: run, principal, and the ids of lessons.
    """
    if _at_most(episode) <= size:
        return episode
    made = episode
    steps = ((size // 4, 32), (size // 16, 12), (size // 64, 6), (size // 256, 2), (0, 0))
    for longest, messages in steps:
        if size_of(made) <= size:
            return made
        made = _shortened(episode, longest, messages)
    return made


def _at_most(episode: Episode) -> float:
    """Bytes that an episode takes in the store at most, without writing it; of texts alone."""
    messages = (*episode.input, *episode.output)
    said = [m.content for m in messages if isinstance(m.content, str)]
    if len(said) < len(messages):
        return math.inf
    ids = (*episode.seen, *episode.withheld, *(episode.counted or ()), *episode.images)
    names = (episode.run_id, episode.thread_id, episode.principal, episode.namespace, episode.model)
    texts = (*said, *ids, *names, *episode.tools, *episode.tags, episode.error)
    return _FRAME + sum(_FRAME_OF_TEXT + _WIDEST * len(text) for text in texts)


def _shortened(episode: Episode, longest: int, count: int) -> Episode:
    """Keep the last `count` messages and tool calls, and of each text `longest` characters."""
    given, said = _last(episode.input, count), _last(episode.output, count)
    given = tuple(_shorter(message, longest, count) for message in given)
    said = tuple(_shorter(message, longest, count) for message in said)
    shown = _blobs((*given, *said))
    return episode.model_copy(
        update={
            "input": given,
            "output": said,
            "tools": tuple(cut(text, longest) for text in _last(episode.tools, count)),
            "tags": tuple(cut(tag, longest) for tag in episode.tags[:count]),
            "images": tuple(digest for digest in episode.images if digest in shown),
            "model": cut(episode.model, min(longest, _LONGEST_NAME)),
            "thread_id": cut(episode.thread_id, min(longest, _LONGEST_NAME)),
            "error": cut(episode.error, longest),
        }
    )


def _last(listed: tuple[T, ...], count: int) -> tuple[T, ...]:
    return listed[-count:] if count else ()


def _shorter(message: Message, longest: int, count: int) -> Message:
    content = message.content
    if isinstance(content, str):
        return message.model_copy(update={"content": cut(content, longest)})
    blocks = tuple(_shorter_block(block, longest) for block in content[:count])
    return message.model_copy(update={"content": blocks})


def _shorter_block(block: dict[str, Any], longest: int) -> dict[str, Any]:
    if block.get("type") == "text":
        return {"type": "text", "text": cut(str(block.get("text", "")), longest)}
    size = len(json.dumps(block, default=str))
    if size <= max(longest, _SMALL_BLOCK):
        return block
    return {"type": "text", "text": f"[{size} characters were left out]"}


def _blobs(messages: Iterable[Message]) -> set[object]:
    """The hashes of the images that stand in these messages."""
    blobs = set[object]()
    for message in messages:
        if not isinstance(message.content, str):
            blobs.update(block.get("blob") for block in message.content)
    return blobs


def cut(text: str, longest: int) -> str:
    """Cut a text to `longest` characters and a mark that something is missing.

    It ends between words: the first half of a secret key would not look like one, and so would not
    be masked.
    """
    if len(text) <= longest:
        return text
    if not longest:
        return ""
    head = text[:longest]
    whole = head.rsplit(None, 1)[0] if head.strip() else ""
    if len(head) - len(whole) > _LONGEST_WORD:  # no word, but a text without blanks
        return head + CUT
    return whole + CUT


def one_line(error: BaseException) -> str:
    """What an error says, in one line of 200 characters at most."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def with_texts(episode: Episode, change: Callable[[str], str]) -> Episode:
    """Change all texts of an episode, those in content blocks included."""
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
    if isinstance(content, str):
        changed = change(content)
        return message if changed == content else message.model_copy(update={"content": changed})
    blocks = tuple(_in_block(block, change) for block in content)
    return message.model_copy(update={"content": blocks})


def _in_block(value: Any, change: Callable[[str], str]) -> Any:
    """Change the texts in a part of a content block; data stay as they are."""
    if isinstance(value, str):
        return value if value.startswith("data:") else change(value)
    if isinstance(value, Mapping):
        return {
            key: one if key in _NO_TEXT else _in_block(one, change) for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_in_block(one, change) for one in value]
    return value
