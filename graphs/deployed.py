"""What is deployed: ``langgraph dev`` and LangGraph Platform find these graphs in langgraph.json.

``distillation`` learns from one sample: ``{"sample": {"id": "1", "input": "...", "reference": "..."}}``. Its lessons
go where the setting ``trust`` says, by default to the proposals. ``agent`` is an agent without tools that is shown the
lessons of a memory and records its runs; give it tools of yours. Models and memory come from the assistant's
``configurable``.
"""

from functools import cache
from typing import Any, cast

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from ted_memory import TedMemory
from ted_memory.distill import build_distillation_graph
from ted_memory.distill.graph import Graph
from ted_memory.errors import InvalidInput, TedMemoryError
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.wiring import make_chat_model, open_memory

DEFAULT_MODEL = "openai:gpt-5-mini"
ROLES = ("student", "teacher")


def make_distillation(config: RunnableConfig) -> Graph:
    """Return the distillation graph for one assistant.

    ``configurable`` may hold ``student`` and ``teacher`` (``provider:model``, or a model's name with
    ``student_base_url`` and ``teacher_base_url``), ``url`` and ``namespace`` of the memory, and ``trust``.
    """
    given = _configurable(config)
    memory = open_memory(given.get("url"), namespace=given.get("namespace"), trust=given.get("trust"))
    student, teacher = (_model(given, role) for role in ROLES)
    return build_distillation_graph(student=student, teacher=teacher, memory=memory)


def make_agent(config: RunnableConfig) -> Any:
    """Return an agent for one assistant; a learner beside it (``ted-memory learn``) learns from its runs.

    ``configurable`` may hold ``model`` (``provider:model``, or a model's name with ``model_base_url``), ``url`` and
    ``namespace`` of the memory. Who asks is whom the server has authenticated.
    """
    given = _configurable(config)
    memory = _shared_memory(given.get("url"), given.get("namespace"))
    model = cast("BaseChatModel", _model(given, "model"))  # or what refuses in its place
    return create_agent(model, tools=[], middleware=[TedMemoryMiddleware(memory, learn=True)])


def _configurable(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable") or {}


@cache  # the server makes the graph anew for each run, and what was recorded is sent after it
def _shared_memory(url: str | None, namespace: str | None) -> TedMemory:
    return open_memory(url, namespace=namespace)


def _model(given: dict[str, Any], role: str) -> Runnable[Any, Any]:
    """Return a model; one that cannot be made says so when it is asked.

    The server makes the graph also to draw it and to make a form of its input, before anybody has named a model.
    """
    try:
        return make_chat_model(given.get(role, DEFAULT_MODEL), base_url=given.get(f"{role}_base_url"))
    except TedMemoryError as error:
        told = error

    async def refuse(_: Any) -> Any:
        raise InvalidInput(str(told)) from told  # a ValueError, whose message the server passes on to its client

    return RunnableLambda(refuse)
