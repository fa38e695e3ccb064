"""LangChain messages: from a sample, and with our block in its place."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

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
    """Make what a student is asked: the input, choices that it does not show, then the images."""
    if isinstance(sample.input, str):
        messages: list[BaseMessage] = [HumanMessage(content=sample.input)]
    else:
        messages = [_langchain_message(message) for message in sample.input]
    if any(choice not in sample.text for choice in sample.choices):
        labelled = zip(choice_labels(sample.choices), sample.choices, strict=True)
        lines = [f"{label}) {choice}" for label, choice in labelled]
        messages = place_block(messages, "\n".join(["Choices:", *lines]), "user")
    for image in sample.images:
        messages = _with_last_user(messages, [*_blocks(_last_user(messages)), image_block(image)])
    return messages


def _langchain_message(message: Message) -> BaseMessage:
    content = message.content
    return _ROLES[message.role](content=content if isinstance(content, str) else list(content))


def task_of(sample: Sample) -> str:
    """Put what a student is asked in words, with choices that the input does not show."""
    return question(sample_messages(sample)).strip()


def choice_labels(choices: Sequence[str]) -> list[str]:
    """Name the choices by letters, A first."""
    return [chr(ord("A") + i) for i in range(len(choices))]


def image_block(image: str) -> dict[str, Any]:
    """Make the content block of an image from its http(s) or ``data:`` URL."""
    if not image.startswith("data:"):
        return {"type": "image", "url": image}
    head, _, data = image.removeprefix("data:").partition(",")
    return {"type": "image", "base64": data, "mime_type": head.partition(";")[0]}


def image_blocks(sample: Sample) -> list[dict[str, Any]]:
    """Collect the content blocks of a sample that are no text: images, wherever they stand."""
    found: list[dict[str, Any]] = []
    for message in () if isinstance(sample.input, str) else sample.input:
        if not isinstance(message.content, str):
            found += [block for block in message.content if block.get("type") != "text"]
    return [*found, *map(image_block, sample.images)]


def tool_calls(output: Any) -> tuple[str, ...]:
    """Write down the tool calls of an agent's last turn, a line each, with their results.

    A student that is no agent makes none.
    """
    messages = output.get("messages") if isinstance(output, Mapping) else output
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return ()
    calls: list[ToolCall] = []
    results: dict[str, str] = {}
    for message in messages[_after_last_user(messages) :]:
        if isinstance(message, AIMessage):
            calls += message.tool_calls
        elif isinstance(message, ToolMessage):
            results[message.tool_call_id] = _brief(text_of(message))
    return tuple(_call_in_words(call, results) for call in calls)


def _call_in_words(call: ToolCall, results: Mapping[str, str]) -> str:
    arguments = _brief(json.dumps(call["args"], ensure_ascii=False, default=str))
    result = results.get(call["id"] or "", "(no result)")
    return f"{call['name']}({arguments}) -> {result}"


def _after_last_user(messages: Sequence[Any]) -> int:
    for i in reversed(range(len(messages))):
        if isinstance(messages[i], HumanMessage):
            return i + 1
    return 0


def _brief(text: str) -> str:
    text = " ".join(without_block(text).split())
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]} ..."


def show_lessons(messages: Sequence[BaseMessage], exposure: Exposure) -> list[BaseMessage]:
    """Add what an exposure shows: its block in its place, its solved tasks as the first turns."""
    return add_turns(place_block(messages, exposure.block, exposure.placement), exposure.turns)


def add_turns(
    messages: Sequence[BaseMessage], turns: Sequence[tuple[str, str]]
) -> list[BaseMessage]:
    """Add tasks and their answers as turns, before the first turn of the user.

    So users and assistants take turns as before. Without a user's turn there is nothing that they
    could come before, and none is added.
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
    """Add the block at the end of the system message, or of the last user turn.

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
    """Make a system message that ends with the block."""
    if message is None:
        return SystemMessage(content=block)
    return message.model_copy(update={"content": _appended(message.content, block)})


def question(messages: Sequence[BaseMessage]) -> str:
    """Find the text of the last user turn, which lessons are picked for.

    What was recorded of tools is shown to models as a user turn, and does not count as one.
    """
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            turn = text_of(message)
            if not turn.startswith(TOOL_RESULTS):
                return turn
    return ""


def rests_on_tools(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether the recorded results of tools stand among these."""
    return any(
        isinstance(m, HumanMessage) and text_of(m).startswith(TOOL_RESULTS) for m in messages
    )


def text_of(message: BaseMessage) -> str:
    """Read a message's text, without other content blocks and without a model's thoughts.

    Thoughts are blocks of their own, or stand before the answer in ``<think>``. Where they were cut
    off there is no answer: what a model considered is not what it said.
    """
    text = str(message.text)
    return _THOUGHTS.sub("", text, count=1) if isinstance(message, AIMessage) else text


def answer_of(output: Any) -> BaseMessage:
    """Find the answer in what a student gives back: a message, text, messages, an agent's state.

    Raises:
        TypeError: it is something else.
    """
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
    after = _after_last_user(messages)
    return messages[after - 1] if after else HumanMessage(content="")


def _with_last_user(messages: Sequence[BaseMessage], content: str | list[Any]) -> list[BaseMessage]:
    after = _after_last_user(messages)
    if not after:
        return [*messages, HumanMessage(content=content)]
    changed = messages[after - 1].model_copy(update={"content": content})
    return [*messages[: after - 1], changed, *messages[after:]]


def restore_images(messages: Sequence[Message], images: Mapping[str, bytes]) -> tuple[Message, ...]:
    """Give recorded messages their images back; one whose bytes are gone is named in words."""
    return tuple(_restored(message, images) for message in messages)


def _restored(message: Message, images: Mapping[str, bytes]) -> Message:
    if isinstance(message.content, str):
        return message
    blocks = tuple(_restored_block(block, images) for block in message.content)
    return message.model_copy(update={"content": blocks})


def _restored_block(block: dict[str, Any], images: Mapping[str, bytes]) -> dict[str, Any]:
    digest = block.get("blob")
    if digest is None:
        return block
    data = images.get(digest)
    if data:
        return image_block(data.decode())
    return {"type": "text", "text": f"[an image that is gone: {digest}]"}


def size_of_content(content: Any) -> int:
    """Measure about how many bytes a message's content holds: its texts and data."""
    if isinstance(content, str):
        return len(content)
    if isinstance(content, Mapping):
        return sum(map(size_of_content, content.values()))
    return sum(map(size_of_content, content)) if isinstance(content, list | tuple) else 0


def record_messages(
    messages: Sequence[BaseMessage], *, largest: int
) -> tuple[tuple[Message, ...], dict[str, bytes]]:
    """Make of messages what an episode keeps, with the images (``data:`` URLs) apart, by hash.

    Our own block and our solved tasks are cut out; tool calls and results are not among them (see
    `tool_calls`). An image of more than `largest` bytes is left out and named in words.
    """
    images: dict[str, bytes] = {}
    recorded = []
    for message in messages:
        role = _NAMES.get(message.type.removesuffix("MessageChunk").lower())  # of a stream
        if role is None or _is_example(message):
            continue
        content = message.content
        if isinstance(content, str):
            recorded_content: Any = storable(without_block(content))
        else:
            blocks = (_record_block(block, images, largest) for block in content)
            recorded_content = tuple(block for block in blocks if block is not None)
        if recorded_content:
            recorded.append(Message(role=role, content=recorded_content))
    return tuple(recorded), images


def _record_block(block: Any, images: dict[str, bytes], largest: int) -> dict[str, Any] | None:
    """Make of a content block what is kept; None for thoughts and all else but texts and images.

    The bytes of an image are added to ``images``.
    """
    if isinstance(block, str) or block.get("type") == "text":
        text = block if isinstance(block, str) else str(block.get("text", ""))
        return {"type": "text", "text": storable(without_block(text))}
    url = _image_url(block)
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
    """Read the URL of an image block in one of the shapes that LangChain's providers know."""
    kind = block.get("type")
    if kind == "image_url":  # OpenAI's
        image = block.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        return str(url) if url else None
    if kind != "image":
        return None
    source = block.get("source")  # Anthropic's; LangChain's own has the same keys in the block
    return _source_url(source if isinstance(source, Mapping) else block)


def _source_url(source: Mapping[str, Any]) -> str | None:
    data = source.get("base64") or source.get("data")
    if data:
        mime = source.get("mime_type") or source.get("media_type") or "image/png"
        return f"data:{mime};base64,{data}"
    return str(source["url"]) if source.get("url") else None
