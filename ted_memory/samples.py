"""What is learned from: one input with what is right there, and the student's attempts at it."""

from typing import Any, Literal

from pydantic import model_validator

from ted_memory.fields import Frozen, Text

Content = str | tuple[dict[str, Any], ...]


class Message(Frozen):
    """One chat message of a sample; content is text or JSON-able content blocks."""

    role: Literal["system", "user", "assistant"]
    content: Content

    @property
    def text(self) -> str:
        """The text of all text blocks."""
        if isinstance(self.content, str):
            return self.content
        texts = [str(block["text"]) for block in self.content if block.get("type") == "text"]
        return "\n".join(texts)


class Sample(Frozen):
    """One input to learn from.

    ``images`` are http(s) or ``data:`` URLs (`datasets` turns paths into those); they follow the
    text of the last user message. ``choices`` that the input does not show are listed below it.
    ``sources`` are whose words it holds, such as ``principal:anna``: what was learned from it
    carries them, so that a purge finds it, and nothing of it becomes an example for others.
    """

    id: str
    input: Text | tuple[Message, ...]
    reference: Text | None = None
    solution: Text | None = None
    choices: tuple[Text, ...] = ()
    images: tuple[str, ...] = ()
    category: str | None = None
    sources: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _has_something_to_solve(self) -> "Sample":
        if not self.text.strip() and not self.images:
            raise ValueError("field 'input' is empty")
        return self

    @property
    def text(self) -> str:
        """The task as text, without images."""
        if isinstance(self.input, str):
            return self.input
        return "\n".join(message.text for message in self.input)


class Trajectory(Frozen):
    """One attempt of the student at a sample.

    ``seen`` are the ids in its prompt; ``eligible`` those that would have been there had none been
    left out at random: only these two together make a fair comparison. ``error`` says why there is
    no answer. ``tools`` are the tool calls of an agent on the way to its text, with results,
    shortened. ``lost``: the provider did not answer, so that nothing is known of it.
    """

    text: str = ""
    tools: tuple[str, ...] = ()
    score: float | None = None
    comment: str = ""
    seen: tuple[str, ...] = ()
    eligible: tuple[str, ...] = ()
    error: str = ""
    lost: bool = False
