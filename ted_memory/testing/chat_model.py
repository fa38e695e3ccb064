"""A chat model that follows a script."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

Script = Callable[[list[BaseMessage]], str]
"""From the messages of a call to the text of the answer."""


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers what a function says, and keeps what it was asked.

    ``script`` may raise. Structured output is not supported, as with many small models: the caller
    must ask in words. ``delay``: seconds that an asynchronous call takes.
    """

    script: Script
    name_told: str = "scripted"
    delay: float = 0.0
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    """The messages of every call so far."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def model_name(self) -> str:
        """What reports call it."""
        return self.name_told

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(content=self.script(messages)))]
        )

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(self.delay)
        return self._generate(messages, stop, None, **kwargs)


def asked_for_edits(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether a call of the teacher is the critic's: its prompt names the JSON keys."""
    return '"edits"' in str(messages[0].content)
