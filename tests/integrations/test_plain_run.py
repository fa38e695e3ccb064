"""Runs of OpenAI's own client, of which LangChain knows nothing, against a scripted server."""

import asyncio
import copy
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessage

from ted_memory import Add, TedMemory
from ted_memory.capture.recorder import Hooks
from ted_memory.episodes import ANONYMOUS
from ted_memory.errors import InvalidInput
from ted_memory.integrations.plain_run import PlainRun
from ted_memory.models import Presentation
from ted_memory.settings import make_settings
from ted_memory.testing import ScriptedServer, in_memory
from ted_memory.testing.oracle.store import InMemoryStore
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


async def test_openais_own_client_is_shown_the_lessons_and_its_run_is_recorded(
    memory: TedMemory,
) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    async with ScriptedServer(_follows).serve() as server, _client(server) as client:
        async with PlainRun(memory, asked, principal="anna", thread_id="t-1", tags=["web"]) as run:
            got = await client.chat.completions.create(model="m", messages=run.messages)
            run.answer(
                got.choices[0].message.content or "", model="m", tools=["look_up(7) -> a form"]
            )
        assert server.requests[0]["messages"] == run.messages
    [episode] = await recorded(memory)
    assert (episode.run_id, episode.principal, episode.thread_id) == (run.run_id, "anna", "t-1")
    assert (episode.question, episode.answer, episode.error) == (QUESTION, "form 7", "")
    assert (episode.model, episode.tools, episode.tags) == (
        "m",
        ("look_up(7) -> a form",),
        ("web",),
    )
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
    solved = Add(
        text="answer form 3.",
        when="a change of address",
        task="Which form for a move?",
        example="form 3",
    )
    await memory.commit([solved], author="me", presentation=Presentation(placement="user"))
    blocks = [{"type": "text", "text": QUESTION}]
    async with PlainRun(memory, [{"role": "user", "content": blocks}]) as run:
        run.answer("form 7")
    *turns, last = run.messages
    assert [(m["role"], m["content"]) for m in turns] == [
        ("user", "Which form for a move?"),
        ("assistant", "form 3"),
    ]
    assert last == {"role": "user", "content": [*blocks, {"type": "text", "text": run.block}]}
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


async def test_a_conversation_sees_a_lesson_on_trial_in_all_of_its_runs_or_in_none(
    memory: TedMemory,
) -> None:
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


async def test_what_was_given_is_sent_as_it_is(memory: TedMemory) -> None:
    """Marks for a prompt cache, audio, arguments of calls: clients' fields are none of ours."""
    cached = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    called = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look_up", "arguments": '{"a":1'},
        "signature": "x",
    }
    asked: list[Any] = [
        {"role": "developer", "content": [cached]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is 1?"},
                {"type": "text", "text": "Say."},
            ],
        },
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "assistant", "content": None, "audio": {"id": "a1"}},
        {"role": "user", "content": QUESTION, "name": "anna"},
    ]
    given = copy.deepcopy(asked)
    async with PlainRun(memory, asked) as run:
        run.answer("form 7")
    head, *others = run.messages
    assert head == {"role": "developer", "content": [cached, {"type": "text", "text": run.block}]}
    assert others == given[1:]
    assert asked == given, "the caller's own list is as it was"
    [episode] = await recorded(memory)
    assert [(m.role, m.text) for m in episode.input] == [
        ("system", "Be brief."),
        ("user", "What is 1?\nSay."),
        ("user", QUESTION),
    ]
    await memory.aclose()


async def test_what_the_client_returned_may_be_given_back_to_it(memory: TedMemory) -> None:
    """As in every loop over tool calls."""
    called = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
    said = ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": None, "tool_calls": [called]}
    )
    result = {"role": "tool", "tool_call_id": "c1", "content": "7"}
    async with ScriptedServer(_follows).serve() as server, _client(server) as client:
        async with PlainRun(memory, [{"role": "user", "content": QUESTION}, said, result]) as run:
            got = await client.chat.completions.create(model="m", messages=run.messages)
            run.answer(got.choices[0].message.content, tools=["look_up() -> 7"])
        sent = server.requests[0]["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"] == [called]
    [episode] = await recorded(memory)
    assert (episode.question, episode.answer, episode.tools) == (
        QUESTION,
        "form 7",
        ("look_up() -> 7",),
    )
    await memory.aclose()


async def test_an_answer_that_is_none_is_no_answer_and_anything_but_text_is_refused(
    memory: TedMemory,
) -> None:
    async with PlainRun(memory, QUESTION) as run:
        run.answer(None)
        with pytest.raises(TypeError, match="an answer is text; this is of type list"):
            run.answer([{"type": "text", "text": "form 7"}])  # type: ignore[arg-type]
    [episode] = await recorded(memory)
    assert (episode.answer, episode.error) == ("", "")
    await memory.aclose()


async def test_a_run_is_one_run_and_over_when_it_has_ended(memory: TedMemory) -> None:
    async with PlainRun(memory, QUESTION) as run:
        run.answer("form 7")
    with pytest.raises(RuntimeError, match="call answer"):
        run.answer("form 1")
    with pytest.raises(RuntimeError, match="make another one"):
        await run.__aenter__()
    [episode] = await recorded(memory)
    assert episode.answer == "form 7"
    await memory.aclose()


async def test_an_answer_is_no_earlier_one_that_says_the_same(memory: TedMemory) -> None:
    asked = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "form"}]
    async with PlainRun(memory, asked) as run:
        run.answer("form")
    [episode] = await recorded(memory)
    assert (len(episode.input), episode.answer) == (2, "form")
    await memory.aclose()


async def test_names_that_are_none_or_one_word_are_taken_as_meant(memory: TedMemory) -> None:
    async with PlainRun(memory, QUESTION, principal=None, thread_id=None, tags="web") as run:
        run.answer("form 7", model=None, tools="look_up() -> 7")
    [episode] = await recorded(memory)
    assert (episode.principal, episode.thread_id, episode.tags) == (ANONYMOUS, "", ("web",))
    assert (episode.model, episode.tools) == ("", ("look_up() -> 7",))
    await memory.aclose()


class Unprintable(Exception):  # noqa: N818 - as bad as can be
    def __str__(self) -> str:
        raise ValueError("no words")


def _fails(who: str) -> str:
    raise KeyError(who)


async def test_neither_a_hook_nor_an_error_that_fails_is_the_users_trouble() -> None:
    memory = TedMemory(
        InMemoryStore(), make_settings(withhold_share=0.0), "test", hooks=Hooks(identify=_fails)
    )
    await memory.commit([LESSON], author="me")
    async with PlainRun(memory, QUESTION, principal="anna") as run:
        assert "answer form 7." in run.block
    with pytest.raises(Unprintable):
        async with PlainRun(memory, QUESTION):
            raise Unprintable
    await memory.flush()
    assert memory.health().recorded == 0
    await memory.aclose()


@pytest.mark.parametrize(
    ("asked", "run_id", "told"),
    [
        (QUESTION, "two words", "run_id='two words' cannot be used"),
        (QUESTION, "", "run_id='' cannot be used"),
        ([], None, "no messages"),
        ([{"content": "hi"}], None, "message 1 is none such as"),
        ([{"role": "user", "content": "hi"}, 7], None, "message 2 is none such as"),
        ([{"role": "user", "content": 7}], None, "this is of type int"),
    ],
)
async def test_what_cannot_be_a_run_is_told_in_one_line(
    asked: Any, run_id: str | None, told: str
) -> None:
    memory = in_memory()
    with pytest.raises(InvalidInput, match=told) as raised:
        PlainRun(memory, asked, run_id=run_id)
    assert "\n" not in str(raised.value)
    await memory.aclose()
