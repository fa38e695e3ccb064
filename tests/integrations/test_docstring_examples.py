"""The examples in docstrings that users of LangChain see first run, and give what they say."""

import asyncio
import doctest
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from openai.types.chat import ChatCompletion

from ted_memory import Add, TedMemory
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.plain_run import PlainRun
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.integrations.runnable import inject_lessons
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.integrations.tools import create_feedback_tool
from ted_memory.testing import in_memory
from tests.integrations.agents import Scripted, call

DOORS = (
    TedMemoryCallbackHandler,
    TedMemoryMiddleware,
    TedMemoryStore,
    PlainRun,
    create_feedback_tool,
    find_run_id,
    inject_lessons,
)
LESSON = "Ask for the order number first."


class Client:
    """As much of OpenAI's client as an example needs."""

    class chat:  # noqa: N801 - as the client's own is called
        class completions:  # noqa: N801
            @staticmethod
            async def create(*, model: str, messages: list[Any]) -> ChatCompletion:
                texts = [str(message["content"]) for message in messages]
                message = {"role": "assistant", "content": answer(texts)}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                return ChatCompletion.model_validate(
                    {
                        "id": "one",
                        "created": 0,
                        "object": "chat.completion",
                        "model": model,
                        "choices": [choice],
                    }
                )


def answer(texts: list[str]) -> str:
    """Follow the lesson, if it is there."""
    return "What is the order number?" if any(LESSON in text for text in texts) else "Sure."


def script(messages: list[BaseMessage]) -> AIMessage | str:
    if isinstance(messages[-1], ToolMessage):
        return "I am sorry."
    if "wrong" in messages[-1].text:
        return call("rate_answer", score=0)
    return answer([message.text for message in messages])


async def with_a_lesson() -> TedMemory:
    memory = in_memory(withhold_share=0.0, read_timeout=5.0)  # patient on a busy machine
    await memory.commit([Add(text=LESSON)], author="test")
    return memory


def run(name: str, docstring: str) -> tuple[int, str]:
    """How many lines of examples there are, and what is wrong with them."""
    known = {one.__name__: one for one in DOORS}
    names = {"asyncio": asyncio, "memory": asyncio.run(with_a_lesson()), "client": Client()}
    names["model"] = Scripted(script=script)
    example = doctest.DocTestParser().get_doctest(docstring, {**known, **names}, name, None, 0)
    told: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    return result.attempted, "".join(told)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_example_of_a_docstring_runs(door: Any) -> None:
    attempted, wrong = run(door.__name__, door.__doc__)
    assert attempted > 1
    assert wrong == ""


def test_an_example_that_says_something_else_would_be_found() -> None:
    right = inject_lessons.__doc__ or ""
    wrong = right.replace("What is the order number?", "Sure.")
    assert "Expected:\n    'Sure.'" in run("wrong", wrong)[1]
