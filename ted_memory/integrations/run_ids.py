"""The id of a run: what feedback is given on."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from ted_memory.integrations.live_run import LiveRun

__all__ = [
    "find_run_id",
]

STATE = "ted_memory_run"
"""The key of an agent's state under which its middleware keeps the run's id."""
METADATA = "ted_memory_run_id"
"""The key of a model call's metadata that tells the run's id; streamed tokens carry it."""
DEPTH = 4  # levels of a chunk that are looked at: (namespace, (mode, {node: {"messages": [...]}}))


def run_id_of(runtime: Any, config: Mapping[str, Any]) -> str:
    """The id of a run that begins.

    The caller's ``config["run_id"]``, which nodes are told by their runtime alone; else the id
    under which the agent's run is traced, so that LangSmith knows it; else that of its first task.
    """
    stated = getattr(getattr(runtime, "execution_info", None), "run_id", None)
    traced = next((run.id for run in _traced(config)), None)
    return str(stated or traced or task_of(runtime))


def task_of(runtime: Any) -> str:
    """The id of the task that a node is run as, the same when it is tried again."""
    known = getattr(getattr(runtime, "execution_info", None), "task_id", None)
    return str(known or uuid.uuid4())


def tell_tracers(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Add to the metadata of the agent's run, which is what people look for in LangSmith."""
    for run in _traced(config):
        run.add_metadata(dict(metadata))


def _traced(config: Mapping[str, Any]) -> Iterator[Run]:
    """Yield the agent's run as each tracer has it: the one that its node's run belongs to.

    Not the root of the trace, which may hold many runs of agents.
    """
    manager = config.get("callbacks")
    if not isinstance(manager, BaseCallbackManager) or manager.parent_run_id is None:
        return
    tracers = [handler for handler in manager.handlers if isinstance(handler, BaseTracer)]
    for tracer in tracers:
        node = tracer.run_map.get(str(manager.parent_run_id))
        if node is not None:
            yield tracer.run_map.get(str(node.parent_run_id), node)


def response_metadata_of(run: LiveRun) -> dict[str, Any]:
    """What the ``response_metadata`` of an answer says of its run."""
    return {
        "ted_memory": {
            "run_id": run.run_id,
            "namespace": run.memory.namespace,
            "version": run.exposure.version,
        }
    }


def mark(message: AIMessage, run: LiveRun) -> AIMessage:
    """A copy of an answer that names its run; the answer itself may come from a shared cache."""
    metadata = {**message.response_metadata, **response_metadata_of(run)}
    return message.model_copy(update={"response_metadata": metadata})


def find_run_id(given: Any) -> str | None:
    """Find the id of the run that an agent's answer belongs to: what `give_feedback` takes.

    Args:
        given: what ``invoke`` gives (also with a structured response), an answer's message, or a
            chunk that ``stream`` and ``astream`` give in the modes ``values``, ``updates`` and
            ``messages``, one or several of them, with subgraphs or without.

    Returns:
        The id; None where the answer is of no recorded run.

    Examples:
        >>> from langchain.agents import create_agent
        >>> agent = create_agent(model, middleware=[TedMemoryMiddleware(memory, record=True)])
        >>> async def ask(question):
        ...     answer = await agent.ainvoke({"messages": [("user", question)]})
        ...     return await memory.give_feedback(find_run_id(answer), score=1.0)
        >>> asyncio.run(ask("I want my money back"))
        'credited'
    """
    return next(_ids_in(given, DEPTH), None)


def _ids_in(given: Any, depth: int) -> Iterator[str]:
    """Yield the ids that stand in a nest of at most so many levels, the latest one first."""
    if isinstance(given, AIMessage):
        yield from _ids_of_answer(given)
    elif isinstance(given, Mapping):
        yield from (str(given[key]) for key in (METADATA, STATE) if given.get(key))
        yield from _ids_in_each(given.values(), depth)
    elif isinstance(given, list | tuple):
        yield from _ids_in_each(_since_the_question(given), depth)


def _ids_in_each(values: Iterable[Any], depth: int) -> Iterator[str]:
    if depth:
        for value in values:
            yield from _ids_in(value, depth - 1)


def _since_the_question(messages: Sequence[Any]) -> Iterator[Any]:
    """Yield the latest first; what stands before the question answers something else."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return
        yield message


def _ids_of_answer(answer: AIMessage) -> Iterator[str]:
    metadata = answer.response_metadata.get("ted_memory")
    if isinstance(metadata, Mapping) and metadata.get("run_id"):
        yield str(metadata["run_id"])
