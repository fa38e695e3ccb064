"""From a sample to messages, and our block in its place."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from ted_memory import Sample
from ted_memory.llm.messages import (
    answer_of,
    append_block,
    image_block,
    place_block,
    question,
    sample_messages,
    text_of,
)
from ted_memory.models import Message


def test_choices_that_the_task_does_not_show_are_listed_below_it() -> None:
    [hidden] = sample_messages(Sample(id="a", input="Which?", choices=("red", "blue")))
    assert hidden.content == "Which?\n\nChoices:\nA) red\nB) blue"
    [shown] = sample_messages(Sample(id="a", input="red or blue?", choices=("red", "blue")))
    assert shown.content == "red or blue?"


def test_images_follow_the_text_of_the_last_user_turn() -> None:
    talk = (
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Yes?"),
        Message(role="user", content="Look"),
    )
    first, _, last = sample_messages(Sample(id="a", input=talk, images=("https://x.org/a.png",)))
    assert first.content == "Hi"
    assert last.content == [
        {"type": "text", "text": "Look"},
        {"type": "image", "url": "https://x.org/a.png"},
    ]


def test_a_sample_may_be_nothing_but_an_image() -> None:
    [message] = sample_messages(Sample(id="a", input="", images=("https://x.org/a.png",)))
    assert {"type": "image", "url": "https://x.org/a.png"} in message.content


def test_a_data_url_becomes_base64_with_its_kind() -> None:
    assert image_block("data:image/gif;base64,R0lG") == {
        "type": "image",
        "base64": "R0lG",
        "mime_type": "image/gif",
    }


def test_the_block_is_appended_and_nothing_is_changed_in_place() -> None:
    system, user = SystemMessage("Be kind.", id="1"), HumanMessage("Hello", id="2")
    placed = place_block([system, user], "BLOCK", "system")
    assert [m.content for m in placed] == ["Be kind.\n\nBLOCK", "Hello"]
    assert [m.id for m in placed] == ["1", "2"]
    assert system.content == "Be kind."
    assert [m.content for m in place_block([system, user], "BLOCK", "user")] == [
        "Be kind.",
        "Hello\n\nBLOCK",
    ]
    assert place_block([system, user], "", "system") == [system, user]


def test_where_there_is_no_place_a_system_message_is_made() -> None:
    assert place_block([], "BLOCK", "user")[0].content == "BLOCK"
    assert place_block([HumanMessage("Hi")], "BLOCK", "system")[0].type == "system"
    assert append_block(None, "BLOCK").content == "BLOCK"
    assert append_block(SystemMessage(""), "BLOCK").content == "BLOCK"


def test_the_question_is_the_last_user_turn() -> None:
    assert (
        question([HumanMessage("One?"), AIMessage("1"), HumanMessage("Two?"), AIMessage("2")])
        == "Two?"
    )
    assert question([SystemMessage("Be kind.")]) == ""


@pytest.mark.parametrize(
    "output",
    ["hi", AIMessage("hi"), [HumanMessage("?"), AIMessage("hi")], {"messages": [AIMessage("hi")]}],
)
def test_a_students_answer_comes_in_many_shapes(output: Any) -> None:
    assert answer_of(output).content == "hi"


@pytest.mark.parametrize("output", [None, 7, [], {"messages": []}, {"answer": "hi"}, ["hi"]])
def test_what_is_no_answer_says_so(output: Any) -> None:
    with pytest.raises(TypeError, match="must give back a message"):
        answer_of(output)


@pytest.mark.parametrize(
    "content",
    [
        "Paris",
        [
            {"type": "thinking", "thinking": "Lyon?", "signature": "x"},
            {"type": "text", "text": "Paris"},
        ],
        [
            {"type": "redacted_thinking", "data": "Lyon"},
            {"type": "text", "text": "Par"},
            {"type": "text", "text": "is"},
        ],
        [{"type": "thinking", "thinking": "Lyon?"}, "Paris"],
        [{"type": "text", "text": "Paris", "extras": {"signature": "x"}}],
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Lyon?"}]},
            {"type": "text", "text": "Paris"},
        ],
        [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Lyon?"}]},
            {"type": "text", "text": "Paris"},
        ],
        [
            {"type": "reasoning", "reasoning": "Lyon?"},
            {"type": "text", "text": "Paris", "annotations": []},
        ],
        "<think>\nLyon?\n</think>\n\nParis",
    ],
    ids=[
        "text",
        "anthropic",
        "anthropic redacted",
        "gemini",
        "gemini signed",
        "mistral",
        "openai",
        "langchain",
        "tags",
    ],
)
def test_thoughts_are_no_part_of_an_answer(content: Any) -> None:
    assert text_of(AIMessage(content=content)) == "Paris"


def test_thoughts_that_were_cut_off_leave_no_answer() -> None:
    assert text_of(AIMessage(content="<think>Is it Lyon? Or")) == ""


def test_only_a_model_has_thoughts_and_only_before_its_answer() -> None:
    assert text_of(HumanMessage(content="<think>me</think>too")) == "<think>me</think>too"
    assert text_of(AIMessage(content="Use <think>tags</think>")) == "Use <think>tags</think>"
