"""What is deployed: ``langgraph dev`` and LangGraph Platform find these graphs in langgraph.json.

``distillation`` learns from one sample: ``{"sample": {"id": "1", "input": "...", "reference":
"..."}}``. Its lessons go where the setting ``trust`` says, by default to the proposals. ``agent``
is an agent without tools that is shown the lessons of the same memory and records its runs, for a
learner beside it (``ted-memory learn``); give it tools of yours.

Models and memory come from the server's environment: ``TED_MEMORY_MODEL`` (of the agent),
``TED_MEMORY_STUDENT`` and ``TED_MEMORY_TEACHER`` (``provider:model``, or a model's name with
``..._BASE_URL``), and the settings of the memory (``TED_MEMORY_URL``, ``TED_MEMORY_NAMESPACE``,
...). Nothing of it is a client's to say: whoever may begin a run could have the server send its key
to an address of his own, read another tenant's lessons, or teach all users.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from starlette.applications import Starlette

from ted_memory import TedMemory
from ted_memory.distill import Graph, build_distillation_graph
from ted_memory.errors import InvalidInput, TedMemoryError
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.memory import flush_recorded
from ted_memory.wiring import make_chat_model, open_memory

DEFAULT_MODEL = "openai:gpt-5-mini"


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


def make_distillation() -> Graph:
    """Return the distillation graph."""
    return build_distillation_graph(
        student=_model("STUDENT"), teacher=_model("TEACHER"), memory=_memory()
    )


def make_agent() -> Any:
    """Return the agent. Who asks is whom the server has authenticated."""
    return create_agent(
        _model("MODEL"), tools=[], middleware=[TedMemoryMiddleware(_memory(), record=True)]
    )


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    yield
    # the signal that ends the server leaves it no other moment
    await asyncio.to_thread(flush_recorded)


app = Starlette(lifespan=_lifespan)
"""Named as ``http.app`` in langgraph.json, so that what was recorded last is still sent."""


@cache  # the server makes the graphs anew for each run, and what was recorded is sent after it
def _memory() -> TedMemory:
    return open_memory()


def _model(role: str) -> BaseChatModel:
    name = f"TED_MEMORY_{role}"
    try:
        return make_chat_model(
            os.environ.get(name, DEFAULT_MODEL), base_url=os.environ.get(f"{name}_BASE_URL")
        )
    except TedMemoryError as error:
        return Refusing(told=f"{error} (in {name})")
