"""LangChain messages: from a sample, and with our block in its place."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from ted_memory.capture.texts import storable, without_block
from ted_memory.episodes import Exposure
from ted_memory.models import Message, Sample
from ted_memory.settings import Placement

_EXAMPLE: dict[str, Any] = {"ted_memory": {"example": True}}  # no provider is sent it
LONGEST_RESULT = 300  # characters of a tool's result that a critic is shown
TOOL_RESULTS = "The tool calls that were made for this, with their results:"
"""How a message begins that shows a model what was recorded of an agent's tools."""

_THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)

_ROLES: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}


def sample_messages(sample: Sample) -> list[BaseMessage]:
    """Return what a student is asked: the input, choices that it does not show, then the images."""
    given = (
        (Message(role="user", content=sample.input),)
        if isinstance(sample.input, str)
        else sample.input
    )
    messages = [
        _ROLES[m.role](content=m.content if isinstance(m.content, str) else list(m.content))
        for m in given
    ]
    hidden = [choice for choice in sample.choices if choice not in sample.text]
    if hidden:
        lines = [
            f"{label}) {choice}"
            for label, choice in zip(choice_labels(sample.choices), sample.choices, strict=True)
        ]
        messages = place_block(messages, "\n".join(["Choices:", *lines]), "user")
    for image in sample.images:
        messages = _with_last_user(messages, [*_blocks(_last_user(messages)), image_block(image)])
    return messages


def task_of(sample: Sample) -> str:
    """Return what a student is asked, in words, with choices that the input does not show."""
    return question(sample_messages(sample)).strip()


def choice_labels(choices: Sequence[str]) -> list[str]:
    """Return the letters of the choices, A first."""
    return [chr(ord("A") + i) for i in range(len(choices))]


def image_block(image: str) -> dict[str, Any]:
    """Return the content block of an http(s) or ``data:`` URL."""
    if not image.startswith("data:"):
        return {"type": "image", "url": image}
    head, _, data = image.removeprefix("data:").partition(",")
    return {"type": "image", "base64": data, "mime_type": head.partition(";")[0]}


def image_blocks(sample: Sample) -> list[dict[str, Any]]:
    """Return the content blocks of a sample that are no text: its images, wherever they stand."""
    given = () if isinstance(sample.input, str) else sample.input
    within = [block for m in given if not isinstance(m.content, str) for block in m.content]
    return [
        *(block for block in within if block.get("type") != "text"),
        *map(image_block, sample.images),
    ]


def tool_calls(output: Any) -> tuple[str, ...]:
    """Return the tool calls of an agent's last turn, each with its result, in one line; of any other student none."""
    messages = output.get("messages") if isinstance(output, Mapping) else output
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return ()
    start = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=-1) + 1
    results = {
        m.tool_call_id: _brief(text_of(m)) for m in messages[start:] if isinstance(m, ToolMessage)
    }
    calls = [call for m in messages[start:] if isinstance(m, AIMessage) for call in m.tool_calls]
    return tuple(
        f"{call['name']}({_brief(json.dumps(call['args'], ensure_ascii=False, default=str))})"
        f" -> {results.get(call['id'] or '', '(no result)')}"
        for call in calls
    )


def _brief(text: str) -> str:
    text = " ".join(without_block(text).split())
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]} ..."


def show_lessons(messages: Sequence[BaseMessage], exposure: Exposure) -> list[BaseMessage]:
    """Return the messages with what an exposure shows: its block in its place, its solved tasks as the first turns."""
    return add_turns(place_block(messages, exposure.block, exposure.placement), exposure.turns)


def add_turns(
    messages: Sequence[BaseMessage], turns: Sequence[tuple[str, str]]
) -> list[BaseMessage]:
    """Return the messages with tasks and their answers as turns, before the first one of the user.

    So users and assistants take turns as before. Without a user's turn there is nothing that they
    could come before.
    """
    first = next((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), None)
    if first is None:
        return list(messages)
    made: list[BaseMessage] = []
    for task, answer in turns:
        made += [
            HumanMessage(content=task, response_metadata=_EXAMPLE),
            AIMessage(content=answer, response_metadata=_EXAMPLE),
        ]
    return [*messages[:first], *made, *messages[first:]]


def _is_example(message: BaseMessage) -> bool:
    return bool(message.response_metadata.get("ted_memory") == _EXAMPLE["ted_memory"])


def place_block(
    messages: Sequence[BaseMessage], block: str, placement: Placement
) -> list[BaseMessage]:
    """Return the messages with the block at the end of the system message, or of the last user turn.

    A string stays a string; other content gets one text block more. Messages are copied, never
    changed.
    """
    if not block:
        return list(messages)
    if placement == "user" and any(isinstance(m, HumanMessage) for m in messages):
        return _with_last_user(messages, _appended(_last_user(messages).content, block))
    for i, message in enumerate(messages):
        if isinstance(message, SystemMessage):
            return [*messages[:i], append_block(message, block), *messages[i + 1 :]]
    return [SystemMessage(content=block), *messages]


def append_block(message: SystemMessage | None, block: str) -> SystemMessage:
    """Return a system message that ends with the block."""
    if message is None:
        return SystemMessage(content=block)
    return message.model_copy(update={"content": _appended(message.content, block)})


def question(messages: Sequence[BaseMessage]) -> str:
    """Return the text of the last user turn: what lessons are picked for. Recorded tool results are none."""
    turns = (text_of(m) for m in reversed(messages) if isinstance(m, HumanMessage))
    return next((turn for turn in turns if not turn.startswith(TOOL_RESULTS)), "")


def rests_on_tools(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether the recorded results of tools stand among these."""
    return any(
        isinstance(m, HumanMessage) and text_of(m).startswith(TOOL_RESULTS) for m in messages
    )


def text_of(message: BaseMessage) -> str:
    """Return the text of a message, without other content blocks and without a model's thoughts.

    Thoughts are blocks of their own, or stand before the answer in ``<think>``. Where they were cut
    off there is no answer: what a model considered is not what it said.
    """
    text = str(message.text)
    return _THOUGHTS.sub("", text, count=1) if isinstance(message, AIMessage) else text


def answer_of(output: Any) -> BaseMessage:
    """Return the answer in what a student gives back: a message, text, messages, or an agent's state."""
    if isinstance(output, BaseMessage):
        return output
    if isinstance(output, str):
        return AIMessage(content=output)
    messages = output.get("messages") if isinstance(output, Mapping) else output
    if isinstance(messages, Sequence) and messages and isinstance(messages[-1], BaseMessage):
        return messages[-1]
    raise TypeError(
        f"a student must give back a message, text or messages, not {type(output).__name__}"
    )


def _appended(content: str | list[Any], block: str) -> str | list[Any]:
    if isinstance(content, str):
        return f"{content}\n\n{block}" if content else block
    # a plain dict: helpers that make blocks give them a random id, which would spoil prompt caches
    return [*content, {"type": "text", "text": block}]


def _blocks(message: BaseMessage) -> list[Any]:
    content = message.content
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _last_user(messages: Sequence[BaseMessage]) -> BaseMessage:
    return next(
        (m for m in reversed(messages) if isinstance(m, HumanMessage)), HumanMessage(content="")
    )


def _with_last_user(messages: Sequence[BaseMessage], content: str | list[Any]) -> list[BaseMessage]:
    last = next(
        (i for i in reversed(range(len(messages))) if isinstance(messages[i], HumanMessage)), None
    )
    if last is None:
        return [*messages, HumanMessage(content=content)]
    changed = messages[last].model_copy(update={"content": content})
    return [*messages[:last], changed, *messages[last + 1 :]]


def restore_images(messages: Sequence[Message], images: Mapping[str, bytes]) -> tuple[Message, ...]:
    """Return recorded messages with their images; one whose bytes are gone is named in words."""

    def block(given: dict[str, Any]) -> dict[str, Any]:
        digest = given.get("blob")
        if digest is None:
            return given
        data = images.get(digest)
        return (
            image_block(data.decode())
            if data
            else {"type": "text", "text": f"[an image that is gone: {digest}]"}
        )

    return tuple(
        m
        if isinstance(m.content, str)
        else m.model_copy(update={"content": tuple(block(b) for b in m.content)})
        for m in messages
    )


def size_of_content(content: Any) -> int:
    """Return about how many bytes a message's content holds: its texts and data."""
    if isinstance(content, str):
        return len(content)
    if isinstance(content, Mapping):
        return sum(map(size_of_content, content.values()))
    return sum(map(size_of_content, content)) if isinstance(content, list | tuple) else 0


def record_messages(
    messages: Sequence[BaseMessage], *, largest: int
) -> tuple[tuple[Message, ...], dict[str, bytes]]:
    """Return messages as an episode keeps them, and the bytes of their images by hash, as ``data:`` URLs.

    Our own block and our solved tasks are cut out; tool calls and results are not among them (see
    `tool_calls`). An image of more than `largest` bytes is left out and named in words.
    """
    images: dict[str, bytes] = {}
    kept = []
    for message in messages:
        role = _NAMES.get(message.type.removesuffix("MessageChunk").lower())  # of a stream
        if role is None or _is_example(message):
            continue
        content = message.content
        if isinstance(content, str):
            said: Any = storable(without_block(content))
        else:
            blocks = (_record_block(block, images, largest) for block in content)
            said = tuple(block for block in blocks if block is not None)
        if said:
            kept.append(Message(role=role, content=said))
    return tuple(kept), images


def _record_block(given: Any, images: dict[str, bytes], largest: int) -> dict[str, Any] | None:
    """Return a content block as it is kept; None for what is neither text nor image, such as thoughts."""
    if isinstance(given, str) or given.get("type") == "text":
        text = given if isinstance(given, str) else str(given.get("text", ""))
        return {"type": "text", "text": storable(without_block(text))}
    url = _image_url(given)
    if url is None:
        return None
    if not url.startswith("data:"):
        return {"type": "image", "url": url}
    if len(url) > largest:
        return {"type": "text", "text": f"[an image of {len(url)} bytes was left out]"}
    digest = f"sha256:{hashlib.sha256(url.encode()).hexdigest()}"
    images[digest] = url.encode()
    return {"type": "image", "blob": digest}


_NAMES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "human": "user",
    "ai": "assistant",
}


def _image_url(block: Mapping[str, Any]) -> str | None:
    """Return the URL of an image block in one of the shapes that LangChain's providers know."""
    if block.get("type") == "image_url":
        given = block.get("image_url")
        url = given.get("url") if isinstance(given, Mapping) else given
        return str(url) if url else None
    if block.get("type") != "image":
        return None
    source = block["source"] if isinstance(block.get("source"), Mapping) else block
    data = source.get("base64") or source.get("data")
    if data:
        mime = source.get("mime_type") or source.get("media_type") or "image/png"
        return f"data:{mime};base64,{data}"
    return str(source["url"]) if source.get("url") else None
