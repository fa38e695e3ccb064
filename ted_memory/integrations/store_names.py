"""Namespaces and keys of a LangGraph store, as names of experience sets and experiences."""

import hashlib
import re
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from ted_memory.errors import InvalidInput
from ted_memory.fields import Id
from ted_memory.models import Experience

NAMESPACE_LIMIT = 128  # characters, see `fields.NAMESPACE`
KEY_LIMIT = 1000  # characters
KEY = "langgraph_key"
"""The name in an experience's metadata under which a key stands that cannot be its id."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]")
_MARK = "0::"  # an escape is ":" and two digits, so nothing encodes to this
_ID: TypeAdapter[str] = TypeAdapter(Id)
_HASHED = re.compile(r"key:[0-9a-f]{40}")


def to_namespace(labels: Sequence[str]) -> str:
    """The namespace of the experience set that a tuple of labels stands for.

    Labels are joined by ".". ASCII letters and digits, "_" and "-" stand for themselves; any other
    byte of a label's UTF-8 is ":" and two hex digits. "0::" comes first where the rest would not
    begin with a letter or digit.

    Raises:
        InvalidInput: there is no label, one is empty, not a string or not UTF-8, or the result is
            too long.
    """
    if not labels:
        raise InvalidInput(
            "the namespace has no label; give at least one, such as ('lessons',); "
            "nothing was written"
        )
    name = ".".join(_encoded(label) for label in labels)
    if not name[0].isalnum():
        name = _MARK + name
    if len(name) > NAMESPACE_LIMIT:
        raise InvalidInput(
            f"namespace {tuple(labels)!r:.80} takes {len(name)} characters, "
            f"{NAMESPACE_LIMIT} are allowed; nothing was written. "
            "Use shorter labels: any byte but ASCII letters, digits, '_' and '-' takes three"
        )
    return name


def to_labels(namespace: str) -> tuple[str, ...] | None:
    """The labels that `to_namespace` makes this namespace of; None when there are none."""
    try:
        labels = tuple(_decoded(part) for part in namespace.removeprefix(_MARK).split("."))
        return labels if to_namespace(labels) == namespace else None
    except ValueError:
        return None


def _encoded(label: str) -> str:
    if not isinstance(label, str) or not label:
        raise InvalidInput(
            f"namespace label {label!r:.80} is not a non-empty string; nothing was written"
        )
    try:
        return "".join(map(_encoded_character, label))
    except UnicodeEncodeError:
        raise InvalidInput(
            f"namespace label {label!r:.80} has a lone surrogate (half of a character); "
            "nothing was written. Repair it where it comes from"
        ) from None


def _encoded_character(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return character
    return "".join(f":{byte:02X}" for byte in character.encode())


def _decoded(part: str) -> str:
    head, *escaped = part.split(":")
    rest = [bytes.fromhex(part[:2]) + part[2:].encode() for part in escaped]
    return b"".join([head.encode(), *rest]).decode()


def to_id(key: str) -> str:
    """The id of the experience that a key stands for.

    It is the key itself; or a hash of it, where it has blanks, is longer than 64 characters, or
    looks like such a hash: so no two keys share an id.

    Raises:
        InvalidInput: it is not a string, not UTF-8, or longer than 1,000 characters.
    """
    if not isinstance(key, str):
        raise InvalidInput(
            f"key {key!r:.80} is no string but {type(key).__name__}; nothing was written"
        )
    if len(key) > KEY_LIMIT:
        raise InvalidInput(
            f"key {key!r:.80} has {len(key)} characters, {KEY_LIMIT} are allowed; "
            "nothing was written"
        )
    try:
        written = key.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"key {key!r:.80} has a lone surrogate (half of a character); "
            "nothing was written. Repair it where it comes from"
        ) from None
    try:
        if not _HASHED.fullmatch(key):
            return _ID.validate_python(key)
    except ValidationError:
        pass
    return f"key:{hashlib.sha256(written).hexdigest()[:40]}"


def to_key(experience: Experience) -> str:
    """The key of which `to_id` made an experience's id."""
    if _HASHED.fullmatch(experience.id):
        return str(experience.metadata.get(KEY, experience.id))
    return experience.id
