"""Prompts as Markdown files: a fixed part, then, below a line ``---``, the part with placeholders (all, without one).

The fixed part becomes the system message and comes first, so that a provider's prompt cache keeps it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True)
class Prompt:
    """One prompt, with its placeholders."""

    fixed: str
    variable: str

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the variable part. What is filled in is never searched for placeholders itself."""
        return _PLACEHOLDER.sub(lambda match: values[match.group(1)], self.variable)

    def messages(self, **values: str) -> list[BaseMessage]:
        """Return the prompt as a system and a user message."""
        return [SystemMessage(content=self.fixed), HumanMessage(content=self.fill(values))]


def load_prompt(name: str, *placeholders: str) -> Prompt:
    """Return a prompt whose variable part has exactly these placeholders.

    Raises:
        ValueError: the file has others; a prompt and its caller have drifted apart.
    """
    text = (Path(__file__).parent / f"{name}.md").read_text(encoding="utf-8")
    fixed, _, variable = text.rpartition("\n---\n")
    found = set(_PLACEHOLDER.findall(variable))
    if found != set(placeholders):
        raise ValueError(f"prompt {name}.md has the placeholders {sorted(found)}, its caller {sorted(placeholders)}")
    return Prompt(fixed.strip(), variable.strip())


# Read at import: no file is touched once an event loop runs.
TEACHER = load_prompt("teacher")
CRITIC = load_prompt("critic", "task", "reference", "solution", "attempts", "experiences")
RETRY = load_prompt("retry", "lesson", "outcome")
SUPPORT = load_prompt("support", "ids")
COMPACTOR = load_prompt("compactor", "experiences", "budget")
JUDGE = load_prompt("judge", "task", "reference", "answer", "mark")
