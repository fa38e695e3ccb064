"""From the columns in which data sets are published to the fields of a Sample."""

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from ted_memory.datasets.rows import Row
from ted_memory.errors import SettingsError
from ted_memory.llm.messages import choice_labels

Mapping = Callable[[Row], dict[str, Any]]
"""From a row to the fields of a Sample.

Images are left as the row has them, `datasets` turns them into URLs. A ValueError says which field
is wrong, and how.
"""

_BOXED = r"Put the final answer in \boxed{}."
_BOXED_LETTER = r"Answer with the letter of the right choice in \boxed{}, one of "
_LETTER_ONLY = "Answer with the letter of the right choice only."


def ted(row: Row) -> dict[str, Any]:
    """Take the columns as a Sample's fields. What is null was not given."""
    fields = {name: value for name, value in row.items() if value is not None}
    if "input" not in fields:
        names = "id, input, reference, solution, choices, images and category"
        raise ValueError(
            f"field 'input' is missing among {', '.join(map(repr, row))}; "
            f"name the columns {names}, or use a mapping"
        )
    return fields


def mathvision(row: Row) -> dict[str, Any]:
    r"""Map MathVision's columns.

    The answer is asked for in ``\boxed{}``, as a letter where there are options.
    """
    choices = _options(row)
    picture = row.get("decoded_image")
    if picture is None:
        picture = row.get("image")
    asked = _BOXED
    if choices:
        asked = f"{_BOXED_LETTER}{', '.join(choice_labels(choices))}."
    return {
        "id": row.get("id"),
        "input": _shown(f"{_text(row, 'question')} {asked}".strip(), choices),
        "choices": choices,
        "images": [] if picture is None else [picture],
        "reference": _text(row, "answer") or None,
        "solution": _text(row, "solution", needed=False) or None,
        "category": _text(row, "subject", needed=False) or None,
    }


def visualpuzzles(row: Row) -> dict[str, Any]:
    """Map VisualPuzzles' columns.

    Options often stand in the picture: then there are no choices, and a letter is asked for.
    """
    choices = _options(row)
    if row.get("image") is None:
        raise ValueError("field 'image' is missing")
    return {
        "id": row.get("id"),
        "input": _shown(f"{_text(row, 'question')} {_LETTER_ONLY}".strip(), choices),
        "choices": choices,
        "images": [row["image"]],
        "reference": _text(row, "answer") or None,
        "category": _text(row, "category", needed=False) or None,
    }


MAPPINGS: MappingProxyType[str, Mapping] = MappingProxyType(
    {"ted": ted, "mathvision": mathvision, "visualpuzzles": visualpuzzles}
)

# the columns by which "auto" knows a data set: without those that some copies of it leave out
_KNOWN_BY: dict[str, frozenset[str]] = {
    "mathvision": frozenset({"question", "options", "image", "answer", "level", "subject"}),
    "visualpuzzles": frozenset({"question", "options", "image", "answer", "category"}),
}


def find_mapping(mapping: str | Mapping, columns: Iterable[str]) -> Mapping:
    """Find a mapping by its name, for "auto" the one that fits these columns; a callable is one.

    Raises:
        SettingsError: there is no mapping of this name.
    """
    if callable(mapping):
        return mapping
    if mapping == "auto":
        return MAPPINGS[_known_by(set(columns))]
    if mapping not in MAPPINGS:
        raise SettingsError(
            f"there is no mapping {mapping!r}; "
            f"use one of auto, {', '.join(MAPPINGS)}, or a callable"
        )
    return MAPPINGS[mapping]


def _known_by(columns: set[str]) -> str:
    if "input" not in columns:
        for name, known_by in _KNOWN_BY.items():
            if known_by <= columns:
                return name
    return "ted"


def _text(row: Row, name: str, *, needed: bool = True) -> str:
    value = row.get(name)
    if value is None and not needed:
        return ""
    if value is None:
        raise ValueError(f"field {name!r} is missing")
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"field {name!r}: text is needed, not {type(value).__name__}")
    return str(value).strip()


def _options(row: Row) -> tuple[str, ...]:
    """Read the options as text; none if they are blank, since then they stand in the picture."""
    options = row.get("options")
    if options is None:
        return ()
    if not isinstance(options, list):
        raise ValueError(f"field 'options': a list is needed, not {type(options).__name__}")
    if wrong := [x for x in options if not isinstance(x, str | int | float)]:
        raise ValueError(f"field 'options': text is needed, not {type(wrong[0]).__name__}")
    texts = tuple(str(option).strip() for option in options)
    return texts if all(texts) else ()


def _shown(text: str, choices: tuple[str, ...]) -> str:
    """Write the choices below the text.

    What shows samples adds choices only when the text lacks one, and "12 of 35" has all of 1, 2, 3
    and 5: without the list nobody could tell which letter is which.
    """
    letters = choice_labels(choices)
    if list(choices) == letters:  # they stand in the picture
        return text
    lines = [f"{letter}) {choice}" for letter, choice in zip(letters, choices, strict=True)]
    return "\n".join([text, "", "Choices:", *lines])
