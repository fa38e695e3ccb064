"""What users get for their own tests."""

import asyncio
import time
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ted_memory import Add
from ted_memory.testing import Reply, ScriptedChatModel, ScriptedServer, in_memory, wait_until
from ted_memory.testing.oracle.store import InMemoryStore


async def test_two_memories_over_one_store_play_two_processes() -> None:
    store = InMemoryStore()
    one, two = in_memory(store=store), in_memory(store=store)
    await one.commit([Add(text="Be brief.")], author="me")
    assert [e.text for e in await two.load()] == ["Be brief."]
    assert [e.text for e in await in_memory().load()] == []


async def test_a_scripted_model_answers_and_remembers_what_it_was_asked() -> None:
    model = ScriptedChatModel(script=lambda messages: str(messages[-1].content)[::-1])
    assert model.invoke("abc").content == (await model.ainvoke("abc")).content == "cba"
    assert [m[-1].content for m in model.asked] == ["abc", "abc"]
    with pytest.raises(ZeroDivisionError):
        await ScriptedChatModel(script=lambda _: str(1 / 0)).ainvoke("?")


def _client(server: ScriptedServer, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="m", base_url=server.base_url, api_key=SecretStr("none"), max_retries=0, **options
    )


async def test_the_scripted_server_serves_a_real_client() -> None:
    async with ScriptedServer(
        lambda request: request["messages"][-1]["content"].upper()
    ).serve() as server:
        answers = await asyncio.gather(
            *(_client(server).ainvoke([HumanMessage(f"hi {i}")]) for i in range(5))
        )
    assert [a.content for a in answers] == [f"HI {i}" for i in range(5)]
    assert answers[0].usage_metadata["total_tokens"] == 15
    assert len(server.requests) == 5


async def test_the_scripted_server_fails_and_dawdles_as_told() -> None:
    replies = iter(
        [
            Reply(status=429, text="slow down", headers={"retry-after": "1"}),
            Reply(text="late", delay=0.1),
        ]
    )
    async with ScriptedServer(lambda _: next(replies)).serve() as server:
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await _client(server).ainvoke("?")
        began = time.monotonic()
        assert (await _client(server).ainvoke("?")).content == "late"
        assert time.monotonic() - began >= 0.1


async def test_the_scripted_server_ends_a_connection_with_its_answer() -> None:
    async with ScriptedServer(lambda _: "here").serve() as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(server.base_url.split(":")[2].split("/")[0])
        )
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        # returns at the end of what the server sends
        said = await asyncio.wait_for(reader.read(), timeout=5)
        writer.close()
    assert b"Connection: close" in said
    assert b'"here"' in said


async def test_the_scripted_server_lets_go_of_clients_that_keep_their_connections() -> None:
    async with ScriptedServer(lambda _: Reply(text="never", delay=60)).serve() as server:
        waiting = asyncio.create_task(_client(server).ainvoke("?"))
        await wait_until(lambda: bool(server.requests))
    with pytest.raises(openai.APIConnectionError):
        await waiting


async def test_waiting_ends_with_the_condition_or_says_what_did_not_come() -> None:
    seen: list[int] = []

    async def third_time() -> bool:
        seen.append(1)
        return len(seen) == 3

    await wait_until(third_time)
    with pytest.raises(TimeoutError, match="the moon did not come about"):
        await wait_until(lambda: False, timeout=0.02, what="the moon")
