"""Which way of asking for JSON a model takes is remembered.

What is wrong with one question says nothing of the way.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from ted_memory.llm import structured
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.testing import Reply, ScriptedServer

ASK, REFUSED = [HumanMessage("Are you there?")], [HumanMessage("REFUSED")]
TOO_LONG = {
    "OpenAI": "This model's maximum context length is 4 tokens. "
    "However, your messages resulted in 9 tokens.",
    "OpenAI, responses": "Input tokens exceed the configured limit of 4 tokens.",
    "Anthropic": "prompt is too long: 9 tokens > 4 maximum",
    "Anthropic, with its answer": "input length and `max_tokens` exceed context limit: 9 + 9 > 4",
    "Google": "The input token count (9) exceeds the maximum number of tokens allowed (4).",
}


class Verdict(BaseModel):
    right: bool


def has_schema(request: dict[str, Any]) -> bool:
    return "response_format" in request


async def formats(said: str, refuses: Callable[[dict[str, Any]], bool]) -> list[bool]:
    """Ask a question that the server may refuse, and another: whether each request had a schema."""

    def script(request: dict[str, Any]) -> Reply | str:
        its_text = "REFUSED" in str(request["messages"])
        return Reply(said, status=400) if its_text and refuses(request) else '{"right": true}'

    server = ScriptedServer(script)
    async with server.serve():
        model = ChatOpenAI(
            model="m", base_url=server.base_url, api_key=SecretStr("none"), max_retries=0
        )
        asks = StructuredModel(model, Calls(1))
        with contextlib.suppress(openai.BadRequestError):
            await asks.ask(REFUSED, Verdict)
        assert (await asks.ask(ASK, Verdict)).value == Verdict(right=True)
    return [has_schema(request) for request in server.requests]


@pytest.mark.parametrize("said", TOO_LONG.values(), ids=TOO_LONG)
async def test_a_question_that_is_too_long_is_asked_once_and_costs_no_way_of_asking(
    said: str,
) -> None:
    # a schema takes room: without one the same question may just fit
    assert await formats(said, has_schema) == [True, True]


async def test_without_the_rule_it_would_cost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structured, "is_too_long", lambda _: False)
    assert await formats(TOO_LONG["OpenAI"], has_schema) == [True, False, False]


async def test_a_way_of_asking_is_given_up_when_another_one_worked() -> None:
    assert await formats("this text is not allowed", lambda _: True) == [True, False, False, True]
    assert await formats("no schemas here", has_schema) == [True, False, False], "the control"
