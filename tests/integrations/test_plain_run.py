"""Runs of clients that LangChain knows nothing of: OpenAI's own, against a server that speaks its protocol."""

import asyncio
from typing import Any

import openai
import pytest

from ted_memory import Add, TedMemory
from ted_memory.errors import InvalidInput
from ted_memory.integrations.plain_run import PlainRun
from ted_memory.models import Presentation
from ted_memory.testing import ScriptedServer, in_memory
from tests.integrations.agents import put_on_trial
from tests.spy_log import recorded

QUESTION = "Which form is it for a refund?"
LESSON = Add(text="answer form 7.", when="a refund")


@pytest.fixture
async def memory() -> TedMemory:
    made = in_memory(withhold_share=0.0)
    await made.commit([LESSON], author="me")
    return made


def _client(server: ScriptedServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)


def _follows(request: dict[str, Any]) -> str:
    return "form 7" if "answer form 7." in str(request["messages"]) else "form 1"


async def test_openais_own_client_is_shown_the_lessons_and_its_run_is_recorded(memory: TedMemory) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    async with ScriptedServer(_follows).serve() as server, _client(server) as client:
        async with PlainRun(memory, asked, principal="anna", thread_id="t-1", tags=["web"]) as run:
            got = await client.chat.completions.create(model="m", messages=run.messages)
            run.answer(got.choices[0].message.content or "", model="m", tools=["look_up(7) -> a form"])
        assert server.requests[0]["messages"] == run.messages
    [episode] = await recorded(memory)
    assert (episode.run_id, episode.principal, episode.thread_id) == (run.run_id, "anna", "t-1")
    assert (episode.question, episode.answer, episode.error) == (QUESTION, "form 7", "")
    assert (episode.model, episode.tools, episode.tags) == ("m", ("look_up(7) -> a form",), ("web",))
    assert episode.seen == tuple((await memory.load()).by_id)
    assert "form 7" not in str(episode.input), "what we added is no word of the user's"
    assert await memory.give_feedback(run.run_id, score=1.0, principal="anna") == "credited"
    await memory.aclose()


def test_a_synchronous_program_does_the_same() -> None:
    memory = in_memory(withhold_share=0.0)
    with PlainRun(memory, QUESTION, run_id="mine") as run:
        assert run.messages == [{"role": "user", "content": QUESTION}]
        run.answer("form 1")
    [episode] = asyncio.run(recorded(memory))
    assert (episode.run_id, episode.answer) == ("mine", "form 1")


async def test_block_and_solved_tasks_stand_where_the_set_says(memory: TedMemory) -> None:
    solved = Add(text="answer form 3.", when="a change of address", task="Which form for a move?", example="form 3")
    await memory.commit([solved], author="me", presentation=Presentation(placement="user"))
    blocks = [{"type": "text", "text": QUESTION}]
    async with PlainRun(memory, [{"role": "user", "content": blocks}]) as run:
        run.answer("form 7")
    *turns, last = run.messages
    assert [(m["role"], m["content"]) for m in turns] == [("user", "Which form for a move?"), ("assistant", "form 3")]
    assert last["role"] == "user"
    assert last["content"].split("\n", 1) == [QUESTION, run.block]
    await memory.aclose()


async def test_a_run_that_fails_is_recorded_with_its_error_and_raises_it(memory: TedMemory) -> None:
    with pytest.raises(TimeoutError, match="no answer"):
        async with PlainRun(memory, QUESTION):
            raise TimeoutError("no answer")
    [episode] = await recorded(memory)
    assert episode.error == "TimeoutError: no answer"
    await memory.aclose()


async def test_what_came_of_a_stream_before_it_broke_is_kept(memory: TedMemory) -> None:
    with pytest.raises(ConnectionError):
        async with PlainRun(memory, QUESTION) as run:
            run.answer("form")
            raise ConnectionError
    [episode] = await recorded(memory)
    assert (episode.answer, episode.error) == ("form", "ConnectionError: ")
    await memory.aclose()


async def test_without_an_answer_the_run_has_none(memory: TedMemory) -> None:
    async with PlainRun(memory, QUESTION):
        pass
    [episode] = await recorded(memory)
    assert (episode.answer, episode.output) == ("", ())
    await memory.aclose()


async def test_a_run_that_is_not_sampled_sees_the_lessons_and_is_not_recorded() -> None:
    memory = in_memory(sample_rate=0.0)
    await memory.commit([LESSON], author="me")
    async with PlainRun(memory, QUESTION) as run:
        run.answer("form 7")
    assert "answer form 7." in run.block
    assert await recorded(memory) == []
    await memory.aclose()


async def test_a_conversation_sees_a_lesson_on_trial_in_all_of_its_runs_or_in_none(memory: TedMemory) -> None:
    await put_on_trial(memory, "say please.")
    seen: list[set[bool]] = []
    for thread in range(20):
        runs = set()
        for _ in range(3):
            async with PlainRun(memory, QUESTION, principal="ben", thread_id=f"t-{thread}") as run:
                run.answer("form 7")
            runs.add("say please." in run.block)
        seen.append(runs)
    assert {len(runs) for runs in seen} == {1}
    assert {True, False} == set[bool]().union(*seen)
    await memory.aclose()


@pytest.mark.parametrize(
    ("asked", "run_id", "told"),
    [
        (QUESTION, "two words", "run_id='two words' cannot be used"),
        (QUESTION, "", "run_id='' cannot be used"),
        ([], None, "no messages"),
        ([{"role": "nobody", "content": "hi"}], None, "no messages such as"),
        ([{"content": "hi"}], None, "no messages such as"),
        ([7], None, "no messages such as"),
    ],
)
async def test_what_cannot_be_a_run_is_told_in_one_line(asked: Any, run_id: str | None, told: str) -> None:
    memory = in_memory()
    with pytest.raises(InvalidInput, match=told) as raised:
        PlainRun(memory, asked, run_id=run_id)
    assert "\n" not in str(raised.value)
    await memory.aclose()
