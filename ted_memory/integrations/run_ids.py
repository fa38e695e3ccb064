"""The id of a run: what feedback is given on."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from ted_memory.integrations.live_run import LiveRun

STATE = "ted_memory_run"
"""The key of an agent's state under which its middleware keeps the run's id."""
METADATA = "ted_memory_run_id"
"""The key of a model call's metadata that tells the run's id; streamed tokens carry it."""
DEPTH = 4  # levels of a chunk that are looked at: (namespace, (mode, {node: {"messages": [...]}}))


def run_id_of(runtime: Any, config: Mapping[str, Any]) -> str:
    """Return the caller's ``config["run_id"]``, which nodes are told by their runtime alone.

    Else the id under which the agent's run is traced, so that LangSmith knows it; else a new one.
    """
    told = getattr(getattr(runtime, "execution_info", None), "run_id", None)
    traced = next((run.id for run in _traced(config)), None)
    return str(told or traced or uuid.uuid4())


def tell_tracers(config: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Add to the metadata of the agent's run, which is what people look for in LangSmith."""
    for run in _traced(config):
        run.add_metadata(dict(told))


def _traced(config: Mapping[str, Any]) -> Iterator[Run]:
    """Return the agent's run as each tracer has it: the one that its node's run belongs to.

    Not the root of the trace, which may hold many runs of agents.
    """
    manager = config.get("callbacks")
    if not isinstance(manager, BaseCallbackManager) or manager.parent_run_id is None:
        return
    for tracer in manager.handlers:
        if (
            isinstance(tracer, BaseTracer)
            and (node := tracer.run_map.get(str(manager.parent_run_id))) is not None
        ):
            yield tracer.run_map.get(str(node.parent_run_id), node)


def told_of(run: LiveRun) -> dict[str, Any]:
    """Return what the ``response_metadata`` of an answer tells of its run."""
    told = {
        "run_id": run.run_id,
        "namespace": run.memory.namespace,
        "version": run.exposure.version,
    }
    return {"ted_memory": told}


def mark(message: AIMessage, run: LiveRun) -> AIMessage:
    """Return a copy of an answer that says which run it belongs to; a cache may give the same one to others."""
    return message.model_copy(
        update={"response_metadata": {**message.response_metadata, **told_of(run)}}
    )


def find_run_id(given: Any) -> str | None:
    """Return the id of the run that an agent's answer, or a chunk of its stream, belongs to; None where it tells none.

    Takes what ``invoke`` gives (also with a structured response), an answer's message, and what
    ``stream`` and ``astream`` give in the modes ``values``, ``updates`` and ``messages``, one or
    several of them, with subgraphs or without.
    """
    return next(_ids_in(given, DEPTH), None)


def _ids_in(given: Any, depth: int) -> Iterator[str]:
    if isinstance(given, AIMessage):
        told = given.response_metadata.get("ted_memory")
        if isinstance(told, Mapping) and told.get("run_id"):
            yield str(told["run_id"])
    elif isinstance(given, Mapping):
        yield from (str(given[key]) for key in (METADATA, STATE) if given.get(key))
        if depth:
            for value in given.values():
                yield from _ids_in(value, depth - 1)
    elif isinstance(given, list | tuple) and depth:
        for value in reversed(given):  # the latest message first
            if isinstance(value, HumanMessage):  # what stands before it answers something else
                return
            yield from _ids_in(value, depth - 1)
