"""What all graphs here share: one memory, and the models of the server's environment.

``TED_MEMORY_MODEL`` is the agent's model, ``TED_MEMORY_STUDENT`` and ``TED_MEMORY_TEACHER`` are
those that learn (``provider:model``, or a model's name with ``..._BASE_URL``). The memory has its
own settings (``TED_MEMORY_URL``, ``TED_MEMORY_NAMESPACE``, ...). Nothing of it is a client's to
say: whoever may begin a run could have the server send its key to an address of his own, read
another tenant's lessons, or teach all users.

The server loads each graph's file under a name of its own, and this module once for all of them.
"""

import logging
import os
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

from ted_memory.errors import InvalidInput, TedMemoryError
from ted_memory.wiring import make_chat_model, open_memory

DEFAULT_MODEL = "openai:gpt-5-mini"

_LOG = logging.getLogger("ted_memory")


class Refusing(BaseChatModel):
    """What stands for a model that cannot be made.

    The server makes the graphs to draw them, too, without any key. Its errors are ValueErrors, the
    only ones whose message the server passes on to a client.
    """

    told: str

    @property
    def _llm_type(self) -> str:
        return "refusing"

    def _generate(
        self,
        messages: list[BaseMessage],  # noqa: ARG002
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        raise InvalidInput(self.told)

    def bind_tools(self, *_: Any, **__: Any) -> "Refusing":
        """Refuse with tools, too."""
        return self


def make_model(role: str) -> BaseChatModel:
    """Make the model of a role (MODEL, STUDENT, TEACHER), or what refuses in its place."""
    name = f"TED_MEMORY_{role}"
    try:
        return make_chat_model(
            os.environ.get(name, DEFAULT_MODEL), base_url=os.environ.get(f"{name}_BASE_URL")
        )
    except TedMemoryError as error:
        return Refusing(told=f"{error} (in {name})")


memory = open_memory()  # no I/O: the server starts while Redis is away
_LOG.info("memory of namespace %r is open", memory.namespace)


async def close_memory() -> None:
    """Send what was recorded last, and let go of all connections."""
    await memory.aclose()
    _LOG.info("memory of namespace %r is closed", memory.namespace)
