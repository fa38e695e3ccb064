"""The graphs that are deployed, as clients of a real `langgraph dev` use them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.testing import Reply
from tests.cli.helpdesk import answer, serve_in_thread
from tests.conftest import Server
from tests.dev_server import lay_out, served
from tests.test_deployment import models_at, until

WRONG = "That was wrong: they are yellow."


def chat(request: dict[str, Any]) -> Reply | str:
    """Play the helpdesk's models; asked to, the agent's one passes on what the user says."""
    last = request["messages"][-1]
    if last["role"] == "tool":
        return str(last["content"])
    if request.get("tools") and last["content"] == WRONG:
        return Reply(calls=[("rate_answer", {"score": 0, "correction": "yellow"})])
    return answer(request)


async def ask(client: Any, text: str, thread: str | None = None) -> Any:
    """Return the answer's message."""
    said = {"messages": [{"role": "user", "content": text}]}
    return (await client.runs.wait(thread, "agent", input=said))["messages"][-1]


async def learn(client: Any, **given: Any) -> Any:
    return await client.runs.wait(None, "learner", input={"seconds": 60, **given})


def lines(folder: Path, words: str) -> int:
    """Count what the server has logged."""
    return (folder / "log").read_text(encoding="utf-8").count(words)


@pytest.mark.timeout(600)
async def test_what_users_say_is_learned_and_shown_and_a_restart_loses_nothing(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    lay_out(tmp_path)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        with serve_in_thread(chat) as url:
            place = {"TED_MEMORY_URL": valkey.url, "TED_MEMORY_NAMESPACE": namespace}
            environment = {**models_at(url), **place, "TED_MEMORY_WITHHOLD_SHARE": "0"}
            async with served(tmp_path, **environment, TED_MEMORY_TRUST="always") as client:
                await _learns_at_once(client, memory)
                grass = await client.threads.create()
                await ask(client, "What is the colour of grass?", grass["thread_id"])
            assert (lines(tmp_path, "is open"), lines(tmp_path, "is closed")) == (1, 1)
            assert (await memory.traffic()).counts["recorded"] == 3, "the last one is not lost"

            async with served(tmp_path, **environment) as client:
                kept = await client.threads.get_state(grass["thread_id"])
                assert len(kept["values"]["messages"]) == 2
                await _proposes(client, memory)
            assert (lines(tmp_path, "is open"), lines(tmp_path, "is closed")) == (2, 2)


async def _learns_at_once(client: Any, memory: TedMemory) -> None:
    """Feedback by the graph of that name, with the run's id."""
    first = await ask(client, "What is the colour of apples?")
    assert first["content"] == "no idea"
    run_id = first["response_metadata"]["ted_memory"]["run_id"]
    said = {"run_id": run_id, "score": 0, "correction": "red"}
    assert await client.runs.wait(None, "feedback", input=said) == {"verdict": "credited"}
    report = await learn(client)
    assert (report["settled"], report["outcomes"], report["waiting"]) == (1, {"learned": 1}, 0)
    assert [lesson.state for lesson in await memory.load()] == ["active"]
    assert (await ask(client, "Tell me: the colour of apples?"))["content"] == "red"


async def _proposes(client: Any, memory: TedMemory) -> None:
    """Feedback in the chat; without TED_MEMORY_TRUST a lesson waits for evidence or a person."""
    thread = (await client.threads.create())["thread_id"]
    assert (await ask(client, "What is the colour of bananas?", thread))["content"] == "no idea"
    assert (await ask(client, WRONG, thread))["content"] == "Thank you, it was noted."
    await until(memory, 5)
    report = await learn(client)
    assert report["outcomes"]["learned"] >= 2
    lessons = {lesson.text: lesson for lesson in await memory.load()}
    assert lessons["say green"].state == "proposed", "learned from what the first server recorded"
    proposed = lessons["say yellow"]
    assert proposed.state == "proposed"
    unheard = await ask(client, "Tell me: the colour of bananas?")
    assert unheard["content"] == "no idea", "the control: nobody has approved it"
    await memory.approve(proposed.id, author="anna")
    async with asyncio.timeout(30):  # agents look at the set now and then
        while (await ask(client, "Tell me: the colour of bananas?"))["content"] != "yellow":
            continue


@pytest.mark.timeout(300)
async def test_a_learner_without_models_begins_nothing_and_no_client_says_whose_word_it_is(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path)
    home = str(tmp_path / "home")
    with serve_in_thread(chat) as url:
        environment = {"TED_MEMORY_MODEL": "student", "TED_MEMORY_MODEL_BASE_URL": url}
        async with served(tmp_path, **environment, OPENAI_API_KEY="") as client:
            first = await ask(client, "What is the colour of apples?")
            refused = await client.runs.wait(
                None, "learner", input={"seconds": 9}, raise_error=False
            )
            too_long = await client.runs.wait(
                None, "learner", input={"seconds": 9e9}, raise_error=False
            )
            run_id = first["response_metadata"]["ted_memory"]["run_id"]
            said = {"run_id": run_id, "score": 1, "reviewer": True, "principal": "anna"}
            named = {"configurable": {"principal": "anna", "user_id": "anna"}}
            noted = await client.runs.wait(None, "feedback", input=said, config=named)
    assert "TED_MEMORY_STUDENT" in refused["__error__"]["message"]
    assert "less than or equal to 900" in too_long["__error__"]["message"]
    assert noted == {"verdict": "credited"}
    async with open_memory(home=home) as memory:
        assert (await memory.traffic()).waiting == 1
        claims = await memory.store.episodes.claim(
            memory.namespace, "me", lease=60, count=10, max_deliveries=3, alone=False
        )
    [claim] = claims.claims
    assert claim.deliveries == 1, "the learner did not begin it"
    assert {one.principal for one in claim.feedback} == {"anonymous"}
