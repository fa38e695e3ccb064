"""A profile holds all that depends on how strong the models are; the core is the same for everyone.

Two are shipped: ``default`` for capable models and any kind of task, ``small`` for models of about two billion
parameters and less.
"""

from collections.abc import Mapping
from pathlib import Path

from ted_memory.llm.prompts import Prompt, load_prompt

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "teacher": (),
    "critic": ("task", "reference", "solution", "attempts", "experiences"),
    "revision": ("lesson", "outcome"),
    "support": ("ids",),
    "compactor": ("experiences", "budget"),
}
"""The prompts of a profile, and what is filled into each of them."""


def load_prompts(folder: Path) -> dict[str, Prompt]:
    """Return a shipped profile's prompts."""
    return {name: load_prompt(folder / f"{name}.md", placeholders) for name, placeholders in PLACEHOLDERS.items()}


# Read at import: no file is touched once an event loop runs.
SMALL = load_prompts(Path(__file__).parent / "small")
