"""Prompts as Markdown files: a fixed part, then, below a line ``---``, the one with placeholders.

The fixed part becomes the system message and comes first, so that a provider's prompt cache keeps
it. A file without such a line has no fixed part.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from ted_memory.errors import SettingsError

PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True)
class Prompt:
    """One prompt, with its placeholders."""

    fixed: str
    variable: str

    def fill(self, values: Mapping[str, str]) -> str:
        """Fill in the variable part.

        What is filled in is never searched for placeholders itself.
        """
        return PLACEHOLDER.sub(lambda match: values[match.group(1)], self.variable)

    def messages(self, **values: str) -> list[BaseMessage]:
        """Make a system and a user message of the prompt."""
        return [SystemMessage(content=self.fixed), HumanMessage(content=self.fill(values))]


def load_prompt(path: Path, placeholders: Collection[str]) -> Prompt:
    """Read a prompt whose variable part has exactly these placeholders.

    Raises:
        SettingsError: the file cannot be read, or lacks a placeholder, or has one that nobody
            fills.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the prompt {path} cannot be read: {error}") from None
    return parse_prompt(text, placeholders, name=str(path))


def parse_prompt(text: str, placeholders: Collection[str], *, name: str) -> Prompt:
    """Parse the prompt that a text holds; `name` is what an error calls it.

    Raises:
        SettingsError: a placeholder is missing, or one stands there that nobody fills.
    """
    fixed, _, variable = text.rpartition("\n---\n")
    found = set(PLACEHOLDER.findall(variable))
    missing, unknown = sorted(set(placeholders) - found), sorted(found - set(placeholders))
    for problem, names in (
        ("lacks the placeholder", missing),
        ("has the unknown placeholder", unknown),
    ):
        if names:
            allowed = ", ".join(f"{{{placeholder}}}" for placeholder in placeholders) or "none"
            raise SettingsError(
                f"the prompt {name} {problem} {{{names[0]}}}; it takes exactly: {allowed}"
            )
    return Prompt(fixed.strip(), variable.strip())
