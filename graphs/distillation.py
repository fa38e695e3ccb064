"""The distillation graph as a deployment: ``langgraph dev`` and LangGraph Platform find it in langgraph.json.

Send it ``{"sample": {"id": "1", "input": "...", "reference": "..."}}``. Models and memory come from the assistant's
``configurable``; lessons go where the setting ``trust`` says, by default to the proposals.
"""

from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from ted_memory.distill import build_distillation_graph
from ted_memory.distill.graph import Graph
from ted_memory.errors import TedMemoryError
from ted_memory.wiring import make_chat_model, open_memory

ROLES = ("student", "teacher")


def make_graph(config: RunnableConfig) -> Graph:
    """Return the graph for one assistant.

    ``configurable`` may hold ``student`` and ``teacher`` (``provider:model``, or a model's name with
    ``student_base_url`` and ``teacher_base_url``), ``url`` and ``namespace`` of the memory, and ``trust``.
    """
    given: dict[str, Any] = config.get("configurable") or {}
    memory = open_memory(given.get("url"), namespace=given.get("namespace"), trust=given.get("trust"))
    student, teacher = (_model(given.get(role, "openai:gpt-5-mini"), given.get(f"{role}_base_url")) for role in ROLES)
    return build_distillation_graph(student=student, teacher=teacher, memory=memory)


def _model(name: str, base_url: str | None) -> Runnable[Any, Any]:
    """Return a model; one that cannot be made says so when it is asked.

    The server makes the graph also to draw it and to make a form of its input, before anybody has named a model.
    """
    try:
        return make_chat_model(name, base_url=base_url)
    except TedMemoryError as error:
        told = error

    async def refuse(_: Any) -> Any:
        raise told

    return RunnableLambda(refuse)
