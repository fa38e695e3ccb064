"""The one place where a model is called: under one cap on calls in flight, counted, and with its failures sorted."""

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langgraph.errors import NodeTimeoutError

from ted_memory.distill.spend import Spend
from ted_memory.errors import ModelError, StoreError
from ted_memory.messages import answer_of

CALL_TIMEOUT = 600.0  # seconds that one call may take before its node gives up
HOPELESS = {401, 403, 404}  # HTTP status: key, permission, name of the model


class Calls:
    """Calls models, `concurrency` at a time over all that share this object, for each event loop."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._semaphores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    async def invoke(
        self, role: str, model: Runnable[Any, Any], messages: Sequence[BaseMessage]
    ) -> tuple[BaseMessage, Spend]:
        """Return the answer and its cost.

        Raises:
            ModelError: the model can't be used at all (wrong name, key or address); going on makes no sense.
            Exception: whatever else the model's client raises.
        """
        output, spend = await self.raw(role, model, messages)
        return answer_of(output), spend

    async def raw(self, role: str, model: Runnable[Any, Any], messages: Sequence[BaseMessage]) -> tuple[Any, Spend]:
        """Do the same for a model whose output is not a message, such as ``{"raw": ...}``."""
        semaphore = self._semaphores.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._concurrency))
        async with semaphore:
            try:
                # nostream: a run inside someone's graph must not leak its tokens into their stream
                output = await model.ainvoke(list(messages), config={"tags": ["nostream", f"ted_memory:{role}"]})
            except Exception as error:
                if is_hopeless(error):
                    raise ModelError(f"the {role} cannot be used: {one_line(error)}. {_advice(error)}") from error
                raise
        told = output["raw"] if isinstance(output, dict) and "raw" in output else answer_of(output)
        return output, Spend.of(role, messages, told)


def with_temperature(model: Runnable[Any, Any], temperature: float | None) -> Runnable[Any, Any]:
    """Return the model at a temperature, where it is a chat model that has one."""
    if temperature is None or not isinstance(model, BaseChatModel):
        return model
    return model.bind(temperature=temperature)


def model_name(model: Runnable[Any, Any]) -> str:
    """Return what a report calls the model."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    return str(name) if isinstance(name, str) else type(model).__name__


def is_hopeless(error: BaseException) -> bool:
    """Tell whether the next call would fail in the same way. Clients of all providers carry `status_code`."""
    status = getattr(error, "status_code", None)
    return status in HOPELESS or _is_connection(error)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may work a moment later."""
    status = getattr(error, "status_code", None)
    too_slow = isinstance(error, NodeTimeoutError | TimeoutError) or "Timeout" in type(error).__name__
    return too_slow or status == 429 or (isinstance(status, int) and status >= 500)


def is_final(error: BaseException) -> bool:
    """Tell whether a failure must stop the whole run instead of one sample."""
    return isinstance(error, ModelError | StoreError)


def one_line(error: BaseException) -> str:
    """Return an error's message in one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def _is_connection(error: BaseException) -> bool:
    name = type(error).__name__
    return isinstance(error, ConnectionError) or ("Connect" in name and "Timeout" not in name)


def _advice(error: BaseException) -> str:
    if _is_connection(error):
        return "Is its server running, and the base URL right?"
    if getattr(error, "status_code", None) == 404:
        return "Is the model's name right, and the base URL (it usually ends in /v1)?"
    return "Is its API key set and allowed to use this model?"
