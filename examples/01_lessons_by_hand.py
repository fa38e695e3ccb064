"""Keep lessons in a memory, and give them to a model in one line.

Run it twice: the second run finds what the first one kept. No server is needed: without a URL an
embedded one keeps its data under ./.ted-memory (TED_MEMORY_HOME). With TED_MEMORY_URL=redis://...
all machines share one memory.
"""

import asyncio

from langchain_core.messages import BaseMessage

from ted_memory import Add, open_memory
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.testing import ScriptedChatModel


def show_prompt(messages: list[BaseMessage]) -> str:
    """Stand in for a model: answer with the prompt that it was given."""
    return "\n".join(f"[{message.type}] {message.content}" for message in messages)


async def main() -> None:
    async with open_memory(namespace="support") as memory:
        commit = await memory.commit(
            [Add(text="Ask for the order number first.", when="a customer wants a refund")],
            author="me",
            token="example-01",  # the same token again has no second effect
        )
        print("version", commit.version, "- kept before" if commit.repeated else "- kept now")

        # put yours here: init_chat_model("openai:gpt-5-mini")
        model = ScriptedChatModel(script=show_prompt)
        chain = inject_lessons(memory) | model
        answer = await chain.ainvoke("Where is my money?")
        print(answer.content)


asyncio.run(main())
