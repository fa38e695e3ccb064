"""A model's output is never trusted: what is taken, what is asked for again, what is given up."""

import functools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from ted_memory import Add, TedMemory
from ted_memory.distill.proposals import Critique, check_edits
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import (
    LONGEST,
    LONGEST_PROBLEM,
    BadOutput,
    Structured,
    StructuredModel,
    parse,
)
from ted_memory.testing import Reply, ScriptedChatModel, ScriptedServer, in_memory
from tests.distill.scripts import add, critique, one_pass, sample, student, teacher

GOOD = critique(add("say c000", "asked about apples"))
REMOVES = critique({"op": "remove", "ids": ["abcdef"]})
ASK = [HumanMessage(content="What did you learn?")]


def _check(answer: Critique) -> None:
    check_edits(answer.edits, ["abcdef", "ghijkm"], may_add=True)


async def ask(text: str | Callable[[Any], str]) -> tuple[Structured[Critique], ScriptedChatModel]:
    model = ScriptedChatModel(script=text if callable(text) else lambda _: text)
    return await StructuredModel(model, Calls(4)).ask(ASK, Critique, _check), model


Serve = Callable[[Callable[[dict[str, Any]], Reply | str]], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a scripted server for this test; answers it and a client of it."""
    async with AsyncExitStack() as stack:

        async def start(
            script: Callable[[dict[str, Any]], Reply | str],
        ) -> tuple[ScriptedServer, ChatOpenAI]:
            server = await stack.enter_async_context(ScriptedServer(script).serve())
            return server, ChatOpenAI(
                model="m",
                base_url=server.base_url,
                api_key=SecretStr("none"),
                max_retries=0,
                timeout=5,
            )

        yield start


# The ladder, over the wire.


async def test_a_server_that_knows_json_schemas_is_asked_with_one(serve: Serve) -> None:
    server, model = await serve(lambda _: GOOD)
    result = await StructuredModel(model, Calls(4)).ask(ASK, Critique)
    assert result.value is not None
    assert not result.repaired
    [request] = server.requests
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["name"] == "Critique"
    assert result.spend.teacher.model_dump() == {
        "calls": 1,
        "tokens_in": 10,
        "tokens_out": 5,
        "estimated": 0,
    }


async def test_a_server_that_knows_no_schemas_is_asked_another_way_and_that_is_remembered(
    serve: Serve,
) -> None:
    def old(request: dict[str, Any]) -> Reply | str:
        return (
            Reply(status=400, text="response_format is not supported")
            if "response_format" in request
            else GOOD
        )

    server, model = await serve(old)
    structured = StructuredModel(model, Calls(4))
    assert (await structured.ask(ASK, Critique)).value is not None
    assert (await structured.ask(ASK, Critique)).value is not None
    assert ["response_format" in request for request in server.requests] == [True, False, False]
    assert "tools" in server.requests[1]


async def test_a_server_that_knows_neither_schemas_nor_tools_is_asked_in_words(
    serve: Serve,
) -> None:
    def plain(request: dict[str, Any]) -> Reply | str:
        return Reply(status=422, text="no") if {"response_format", "tools"} & set(request) else GOOD

    server, model = await serve(plain)
    structured = StructuredModel(model, Calls(4))
    assert (await structured.ask(ASK, Critique)).value is not None
    assert (await structured.ask(ASK, Critique)).value is not None
    assert len(server.requests) == 3 + 1


async def test_an_error_that_is_not_about_the_way_of_asking_is_raised(serve: Serve) -> None:
    server, model = await serve(lambda _: Reply(status=409))
    with pytest.raises(Exception, match="scripted failure"):
        await StructuredModel(model, Calls(4)).ask(ASK, Critique)
    assert len(server.requests) == 1


async def test_an_answer_that_the_server_cut_off_is_not_used_even_when_it_parses(
    serve: Serve,
) -> None:
    server, model = await serve(lambda _: Reply(text=GOOD, finish_reason="length"))
    result = await StructuredModel(model, Calls(4)).ask(ASK, Critique)
    assert result.value is None
    assert "cut off at the token limit" in result.problem
    assert result.raw == GOOD
    assert result.spend.teacher.model_dump() == {
        "calls": 3,
        "tokens_in": 30,
        "tokens_out": 15,
        "estimated": 0,
    }
    assert "cut off at the token limit" in server.requests[1]["messages"][-1]["content"]


async def test_a_long_answer_is_not_parsed_by_others_first(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangChain's own parser takes seconds for 5 MB, and no loop has these to spare."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was asked")

    monkeypatch.setattr(JsonOutputParser, "parse_result", never)
    monkeypatch.setattr(JsonOutputKeyToolsParser, "parse_result", never)
    _, model = await serve(lambda _: "[" * 5_000_000)
    structured = StructuredModel(model, Calls(4))
    assert (await structured.ask(ASK, Critique)).value is None
    _, old = await serve(lambda asked: Reply(status=400) if "response_format" in asked else GOOD)
    assert (await StructuredModel(old, Calls(4)).ask(ASK, Critique)).value is not None


async def test_names_that_a_model_made_up_are_told_back_in_few_words() -> None:
    result, model = await ask(GOOD.replace('"reason"', f'"{"x" * 20_000}": 1, "reason"'))
    assert len(result.problem) <= LONGEST_PROBLEM
    assert len(str(model.asked[-1][-1].content)) < 1000


# Tool calls: where only what a client parsed is left, it is not known what the model wrote.


class Caller(ScriptedChatModel):
    """Answers in tool calls only."""

    message: AIMessage

    def with_structured_output(self, schema: Any, *, method: str = "", **kwargs: Any) -> Any:
        if method != "function_calling":
            raise NotImplementedError
        return RunnableLambda(lambda _: self.message)


def call(args: Any) -> Any:
    return {"name": "Critique", "args": args, "id": "c", "type": "tool_call"}


async def called(**fields: Any) -> Structured[Critique]:
    model = Caller(script=lambda _: "", message=AIMessage(content="", **fields))
    return await StructuredModel(model, Calls(4)).ask(ASK, Critique, _check)


async def test_arguments_that_a_client_parsed_count_as_repaired() -> None:
    result = await called(tool_calls=[call(json.loads(REMOVES))])
    assert result.value is not None
    assert result.repaired


async def test_arguments_as_the_model_wrote_them_are_judged_as_text() -> None:
    wrong = {"name": "Critique", "id": "c", "error": None, "type": "invalid_tool_call"}
    assert (await called(invalid_tool_calls=[{**wrong, "args": REMOVES[:-1]}])).value is None
    assert not (await called(invalid_tool_calls=[{**wrong, "args": REMOVES}])).repaired


@pytest.mark.parametrize(
    "args",
    [
        {"reason": "x" * 5_000_000},
        {"reason": "r", "edits": [{}] * 100_000},
        {f"k{i}": i for i in range(100_000)},
        {"reason": 10**5000},
        {"reason": float("nan"), "edits": []},
        {"reason": object()},
        {"reason": "\ud800", "edits": []},
        functools.reduce(lambda inner, _: {"x": inner}, range(20_000), dict[str, Any]()),
    ],
    ids=["long", "wide", "many keys", "long number", "NaN", "no JSON", "half a character", "deep"],
)
async def test_arguments_that_are_no_answer_are_given_up(args: dict[str, Any]) -> None:
    message = AIMessage(content="")
    message.tool_calls = [call(args)]
    model = Caller.model_construct(script=lambda _: "", message=message)
    result = await StructuredModel(model, Calls(4)).ask(ASK, Critique)
    assert result.value is None
    assert result.problem
    assert len(result.raw) < 1_000


async def test_two_tool_calls_are_no_answer() -> None:
    result = await called(tool_calls=[call(json.loads(GOOD)), call(json.loads(GOOD))])
    assert result.value is None


@pytest.mark.parametrize("half", ["\ud800", '{"reason": "\udfff", "edits": []}'])
async def test_half_a_character_can_be_told_about_over_the_wire(serve: Serve, half: str) -> None:
    answers = iter([half, GOOD])
    _, model = await serve(lambda _: next(answers))
    assert (await StructuredModel(model, Calls(4)).ask(ASK, Critique)).value is not None


# What is not taken: asked for again with the error, twice, then given up with the raw text.

NOT_TAKEN = {
    "nothing": "",
    "prose": "I think the student should be brief.",
    "prose around": f"Here you are: {GOOD}",
    "trailing text": f"{GOOD} I hope this helps.",
    "two objects": f"{GOOD}{GOOD}",
    "a list": f"[{GOOD}]",
    "duplicate key": GOOD.replace('"reason"', '"reason": "twice", "reason"'),
    "duplicate key inside": GOOD.replace('"op": "add"', '"op": "remove", "op": "add"'),
    "NaN": GOOD.replace('"It did not know."', "NaN"),
    "Infinity": GOOD.replace('"It did not know."', "-Infinity"),
    "single quotes": GOOD.replace('"', "'"),
    "deep": "[" * 30_000,
    "deep and closed": "[" * 15_000 + "]" * 15_000,
    "raw half of a character": GOOD.replace("say", "\ud800"),
    "escaped half of a character": GOOD.replace("say", "\\ud800"),
    "too long": GOOD[:-1] + " " * LONGEST + "}",
    "5 MB": "x" * 5_000_000,
    "5 MB of blanks in a fence": "```json\n" + " " * 5_000_000,
    "long number": GOOD.replace('"It did not know."', "9" * 10_000),
    "unknown field": GOOD.replace('"reason"', '"confidence": 1, "reason"'),
    "unknown field inside": GOOD.replace('"op"', '"sure": true, "op"'),
    "text as number": GOOD.replace('"say c000"', "7"),
    "ids as text": GOOD.replace("[]", '"abcdef"', 1),
    "edits as object": '{"reason": "r", "edits": {"op": "add"}}',
    "no reason": '{"edits": []}',
    "unknown op": GOOD.replace('"add"', '"replace"'),
    "too many edits": critique(*[add(f"Lesson {i}") for i in range(4)]),
    "empty text": critique(add("  ")),
    "unknown id": critique({"op": "remove", "ids": ["zzzzzz"]}),
    "remove of two": critique({"op": "remove", "ids": ["abcdef", "ghijkm"]}),
    "remove of nothing": critique({"op": "remove", "ids": []}),
    "merge of one": critique({"op": "merge", "ids": ["abcdef", "abcdef"], "text": "Both."}),
    "only thoughts": f"<think>{GOOD}</think>",
    "thoughts without an end": f"<think> hm {GOOD}",
    "a fence without an end": f"```json\n{GOOD}",
    "two fences": f"```json\n{GOOD}\n```\nor\n```json\n{GOOD}\n```",
}


@pytest.mark.parametrize("text", NOT_TAKEN.values(), ids=NOT_TAKEN)
async def test_what_is_not_exactly_right_is_asked_for_again_twice_then_given_up(text: str) -> None:
    began = time.monotonic()
    result, model = await ask(text)
    assert result.value is None
    assert result.raw == text
    assert result.problem
    assert len(model.asked) == 3
    assert result.spend.teacher.calls == 3
    told = str(model.asked[-1][-1].content)
    assert result.problem in told
    assert len(str(model.asked[-1])) < 10_000, "what is told back is short, whatever came"
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("text", NOT_TAKEN.values(), ids=NOT_TAKEN)
async def test_the_second_answer_may_be_right(text: str) -> None:
    answers = iter([text, GOOD])
    result, model = await ask(lambda _: next(answers))
    assert result.value is not None
    assert len(model.asked) == 2
    assert model.asked[1][0] is model.asked[0][0], "the question stays"


@pytest.mark.parametrize(
    "whole", [GOOD, REMOVES, f"```json\n{REMOVES}\n```", f"<think>hm</think>{REMOVES}"]
)
async def test_an_answer_cut_at_any_byte_is_not_an_answer(whole: str) -> None:
    for end in range(len(whole)):
        result, _ = await ask(whole[:end])
        assert result.value is None, whole[:end]
    assert (await ask(whole))[0].value is not None


WRAPPED = {
    "a fence": "```json\n{}\n```",
    "a bare fence": "```\n{}\n```\n",
    "windows": "```json\r\n{}\r\n```",
    "thoughts": "<think>Let me see: {{}} ...\n</think>\n\n{}",
    "thoughts, then a fence": "<think>hm</think>\n```json\n{}\n```",
}


@pytest.mark.parametrize("frame", WRAPPED.values(), ids=WRAPPED)
async def test_a_fence_or_thoughts_around_the_whole_are_cut_away_and_that_is_noted(
    frame: str,
) -> None:
    result, model = await ask(
        frame.replace("{}", GOOD) if "{{}}" not in frame else frame.format(GOOD)
    )
    assert result.value is not None
    assert result.value.edits[0].text == "say c000"
    assert result.repaired
    assert len(model.asked) == 1


async def test_clean_output_is_not_called_repaired() -> None:
    assert not (await ask(GOOD))[0].repaired
    assert not (await ask(f"\n {GOOD}\n"))[0].repaired


@pytest.mark.parametrize("frame", ["```json\n{}\n```", "<think>hm</think>{}"])
@pytest.mark.parametrize("op", ["remove", "merge", "rewrite"])
async def test_repaired_output_may_add_but_touches_no_old_lesson(
    scratch: TedMemory, frame: str, op: str
) -> None:
    await scratch.commit([Add(text="Be brief."), Add(text="Be kind.")], author="me")
    ids = [e.id for e in await scratch.load()][: 2 if op == "merge" else 1]
    edit = {
        "op": op,
        "ids": ids,
        "when": "asked about apples",
        "text": "" if op == "remove" else "say c000",
    }
    new = add("say c000", "asked about apples")

    async def learn(text: str) -> list[str]:
        await one_pass(
            scratch, sample("apples"), student=student(), teacher=teacher(lambda _: text)
        )
        return [e.text for e in await scratch.load()]

    assert await learn(frame.replace("{}", critique(edit, new))) == [
        "Be brief.",
        "Be kind.",
        "say c000",
    ]


async def test_clean_output_may_remove(namespace: str) -> None:
    """The control of the test above; what a removal is worth is not verified here."""
    scratch = in_memory(namespace=namespace, trust="always", verify_calls=0)
    await scratch.commit([Add(text="Be brief."), Add(text="Be kind.")], author="me")
    brief, _ = await scratch.load()
    clean = critique({"op": "remove", "ids": [brief.id]})
    await one_pass(scratch, sample("apples"), student=student(), teacher=teacher(lambda _: clean))
    assert [e.text for e in await scratch.load()] == ["Be kind."]


async def test_a_model_that_only_writes_nonsense_costs_three_asks_and_the_sample(
    scratch: TedMemory,
) -> None:
    teaching = teacher(lambda _: "Be brief!")
    out = await one_pass(scratch, sample("apples"), student=student(), teacher=teaching)
    assert out["status"] == "set_aside"
    assert "Be brief!" in out["note"], "the raw text is kept"
    assert out["spend"]["teacher"]["calls"] == 1 + 3


class Figure(BaseModel):
    value: float


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_no_number_here(value: str) -> None:
    assert parse('{"value": 0.5}', Figure).value == 0.5
    with pytest.raises(BadOutput, match=f"{value} is not a number"):
        parse(f'{{"value": {value}}}', Figure)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["reason", "edits", "op", "ids", "x"]), inner)
    ),
    max_leaves=20,
)


@given(st.text(st.characters(codec=None)) | JSON_LIKE.map(json.dumps))
def test_parsing_gives_a_value_or_says_what_is_wrong(text: str) -> None:
    try:
        value = parse(text, Critique)
    except BadOutput as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert json.loads(text)["reason"] == value.reason


@given(st.integers(0, len(REMOVES)), st.text(max_size=3), st.integers(0, 3))
def test_damaged_output_removes_nothing_but_what_it_says(at: int, junk: str, lost: int) -> None:
    damaged = REMOVES[:at] + junk + REMOVES[at + lost :]
    try:
        value = parse(damaged, Critique)
        _check(value)
    except BadOutput:
        return
    assert all(edit.op == "add" or edit.ids == ["abcdef"] for edit in value.edits)
