"""The values of a LangGraph store as the lessons that experiences are, and back."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from ted_memory.errors import InvalidInput
from ted_memory.integrations.store_names import KEY
from ted_memory.models import Experience

METADATA_LIMIT = 4000  # characters of JSON
VALUE = "langgraph_value"
"""The name in an experience's metadata under which a value stands whose lesson was made of it."""
CUT = " ..."  # ends a JSON text that is too long for a lesson

TextOf = str | Callable[[Mapping[str, Any]], str]
"""Where the lesson stands in a value: the name of a field, or what makes it of the value."""


class Values:
    """How values become lessons.

    A value whose field is a text that says something is that lesson, with the condition ``when``
    and the rest as metadata. Of any other the lesson is made: by the callable, or else as JSON; it
    is kept whole beside it.
    """

    def __init__(self, text: TextOf, longest: int) -> None:
        self._text, self._longest = text, longest
        self._field = text if isinstance(text, str) else "text"

    def parts(self, key: str, value: Any) -> tuple[str, str, dict[str, Any]]:
        """Text, condition and metadata of a value that is put.

        Raises:
            InvalidInput: it cannot be kept.
        """
        if not isinstance(value, Mapping):
            raise InvalidInput(
                f"the value of {key!r} is no dict but {type(value).__name__}; nothing was written"
            )
        text = value.get(self._field)
        if callable(self._text) or not isinstance(text, str) or not text.strip():
            whole = _as_json(key, value)
            return self._made(key, whole), "", {VALUE: whole}
        when = value.get("when", "")
        if not isinstance(when, str):
            raise InvalidInput(
                f"'when' of {key!r} is no string but {type(when).__name__}; nothing was written"
            )
        beside = {name: item for name, item in value.items() if name not in {self._field, "when"}}
        rest = _as_json(key, beside)
        if taken := {KEY, VALUE} & set(rest):
            raise InvalidInput(
                f"the value of {key!r} has a name that is ours: {taken.pop()!r}; "
                "nothing was written"
            )
        return text, when, rest

    def _made(self, key: str, whole: dict[str, Any]) -> str:
        if isinstance(self._text, str):
            text = json.dumps(whole, ensure_ascii=False)
            if len(text) > self._longest:
                return text[: self._longest - len(CUT)] + CUT
            return text
        text = self._text(copy.deepcopy(whole))
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(
                f"text= of the store made {text!r:.80} of the value of {key!r}, "
                "not a text that says something; nothing was written"
            )
        return text

    def value(self, experience: Experience) -> dict[str, Any]:
        """The value that an experience is; a copy, which may be changed."""
        metadata = copy.deepcopy(experience.metadata)
        if isinstance(whole := metadata.get(VALUE), dict):
            return whole
        value: dict[str, Any] = {self._field: experience.text}
        if experience.when:
            value["when"] = experience.when
        # what others have written may have metadata of any name
        ours = {self._field, "when", KEY}
        value.update((name, item) for name, item in metadata.items() if name not in ours)
        return value


def _as_json(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as JSON gives it back.

    Raises:
        InvalidInput: it cannot be written as JSON, or is too large.
    """
    if odd := [name for name in value if not isinstance(name, str)]:
        raise InvalidInput(
            f"the value of {key!r} has a name that is no string: {odd[0]!r:.80}; "
            "nothing was written"
        )
    try:
        written = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"the value of {key!r} is not JSON ({short(error)}); nothing was written"
        ) from None
    if len(written) > METADATA_LIMIT:
        raise InvalidInput(
            f"the value of {key!r} has {len(written)} characters of JSON beside its texts, "
            f"{METADATA_LIMIT} are allowed; nothing was written. "
            "Keep the bulk elsewhere and a reference here"
        )
    return dict(json.loads(written))


def short(error: Exception) -> str:
    """What an error says, in one line of 200 characters at most."""
    said = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
    return " ".join(said.split())[:200]
