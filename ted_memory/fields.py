"""The field types that all border types share, and what they refuse."""

import json
import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import from_json

from ted_memory.errors import InvalidInput

NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def check_namespace(namespace: str) -> str:
    """Check that no character of a namespace could reach another namespace's keys.

    Raises:
        InvalidInput: one could, or there are none or too many.
    """
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidInput(
            f"namespace {namespace!r} is not allowed: use 1 to 128 letters, digits and "
            "'_', '.', ':', '-', beginning with a letter or digit"
        )
    return namespace


def check_text(text: str) -> str:
    """Refuse what cannot be stored as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} is a lone surrogate (half of a character); "
            "repair the text where it comes from, "
            "for example with text.encode('utf-8', 'replace').decode()"
        ) from None
    return text


def repair_text(text: str) -> str:
    """Replace lone surrogates by "?", so that the text can be stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


Text = Annotated[str, AfterValidator(check_text)]


ENVELOPE = 100  # levels of JSON that metadata may be stored in: episodes, log entries, exports


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON would change or cannot hold."""
    if metadata:
        try:
            text = check_text(json.dumps(metadata, allow_nan=False, ensure_ascii=False))
            # what reads it back gives up at some 200 levels
            from_json("[" * ENVELOPE + text + "]" * ENVELOPE)
            same = json.loads(text) == metadata
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"metadata must be JSON: {error}") from None
        if not same:
            raise ValueError(
                "metadata must be JSON: "
                "use str, int, float, bool, None, list and dict with str keys"
            )
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(check_metadata)]

Id = Annotated[Text, Field(pattern=r"^\S{1,64}$")]
"""Of an experience. Blanks would break the log's index of what changed."""


MOST = 2**52  # of revs, orders and tokens: Lua counts in doubles


class Frozen(BaseModel):
    """Base of all border types: immutable, and unknown fields are refused."""

    # schemas are built when a type is first used: building all of them is a third of the import
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)
