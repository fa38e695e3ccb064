"""Inject a memory into any LangChain model or chain."""

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableLambda

from ted_memory.integrations import sync_bridge
from ted_memory.memory import TedMemory
from ted_memory.messages import place_block, question


def inject(memory: TedMemory) -> Runnable[LanguageModelInput, list[BaseMessage]]:
    """Return a Runnable that adds the memory's block to what goes into a model: ``inject(memory) | model``.

    Takes text, messages or a prompt's output; gives messages. The block stands at the end of the system message, or of
    the user turn (setting ``placement``). ``invoke`` and ``ainvoke`` both work. It never fails for want of a store: the
    model is then asked with the lessons that were last seen, or none (`TedMemory.health` tells).
    """

    async def ainject(given: LanguageModelInput) -> list[BaseMessage]:
        messages = _messages(given)
        return place_block(messages, await memory.render(question(messages)), memory.settings.placement)

    def inject_sync(given: LanguageModelInput) -> list[BaseMessage]:
        return sync_bridge.run(ainject(given))

    return RunnableLambda(inject_sync, afunc=ainject, name="inject_experiences")


def _messages(given: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    return [HumanMessage(content=given)] if isinstance(given, str) else convert_to_messages(given)
