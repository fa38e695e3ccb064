"""Inject a memory into any LangChain model or chain."""

from collections.abc import Mapping
from functools import partial

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from ted_memory.episodes import Exposure
from ted_memory.integrations.callbacks import ASKED, TedMemoryCallbackHandler
from ted_memory.integrations.live_run import LiveRun
from ted_memory.llm.messages import question, show_lessons
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory

__all__ = [
    "inject_lessons",
]


def inject_lessons(memory: TedMemory) -> Runnable[LanguageModelInput, list[BaseMessage]]:
    """A Runnable that adds the memory's lessons to what goes into a model.

    It takes text, messages, a prompt's output, or a mapping that holds one of them as ``messages``,
    ``input``, ``question`` or ``query``, and gives messages. The lessons stand at the end of the
    system message, or of the user turn (see `TedMemory.presentation`); solved tasks come before the
    first user turn. What it gives is for a model, not for an agent, which would keep it in its
    state: agents have `TedMemoryMiddleware`.

    ``invoke`` and ``ainvoke`` both work, and neither fails for want of a store: a call waits for
    the setting ``read_timeout`` (seconds) at most, and goes on with the lessons that were last
    seen, or none (`TedMemory.health` counts it). With a `TedMemoryCallbackHandler` of the same
    memory among the callbacks the run is recorded with the lessons that it saw.

    Args:
        memory: the memory whose lessons are shown.

    Raises:
        TypeError: when it is invoked with a mapping that has none of these keys.

    Examples:
        >>> chain = inject_lessons(memory) | model
        >>> chain.invoke("I want my money back").text
        'What is the order number?'
    """
    # partials of functions, not functions of its own: these can be pickled
    return RunnableLambda(
        partial(_inject, memory), afunc=partial(_ainject, memory), name="inject_experiences"
    )


async def _ainject(
    memory: TedMemory, given: LanguageModelInput, config: RunnableConfig
) -> list[BaseMessage]:
    messages = _messages(given)
    shown = await _shown(memory, question(messages), config)
    return show_lessons(messages, shown)


def _inject(
    memory: TedMemory, given: LanguageModelInput, config: RunnableConfig
) -> list[BaseMessage]:
    return sync_bridge.run(_ainject(memory, given, config))


async def _shown(memory: TedMemory, asked: str, config: RunnableConfig) -> Exposure:
    """Choose what the model is shown; for a run that is recorded, with lessons on trial."""
    run = _recorded(memory, config)
    if run is None:
        return await memory.present(asked)
    unit = run.thread_id or run.run_id
    run.exposure = await memory.expose(asked, unit=unit, principal=run.principal)
    return run.exposure


def _recorded(memory: TedMemory, config: RunnableConfig) -> LiveRun | None:
    """The record of the run that this is a part of, with its principal and conversation."""
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return None  # only a list of handlers: they have heard of no run yet
    for handler in callbacks.handlers:
        if isinstance(handler, TedMemoryCallbackHandler) and handler.memory is memory:
            run = handler.run_of(callbacks.parent_run_id)
            if run is not None:
                handler.complete(run, config)
                return run
    return None


def _messages(given: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, Mapping):  # what chains pass on, whatever the type says
        mapping: Mapping[str, LanguageModelInput] = given
        held = next((mapping[name] for name in ASKED if name in mapping), None)
        if held is None:
            keys = ", ".join(map(str, mapping)) or "(none)"
            raise TypeError(
                f"inject_lessons() was given a mapping with the keys {keys}; "
                "it takes text, messages, a prompt's output, "
                f"or a mapping with one of {', '.join(ASKED)}"
            )
        return _messages(held)
    return [HumanMessage(content=given)] if isinstance(given, str) else convert_to_messages(given)
