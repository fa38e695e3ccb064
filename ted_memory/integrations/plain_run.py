"""Runs of clients without LangChain, such as OpenAI's own: shown lessons and recorded."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, TypeAdapter, ValidationError

from ted_memory.episodes import ANONYMOUS, Exposure, RunId
from ted_memory.errors import InvalidInput
from ted_memory.integrations.live_run import LiveRun, is_sampled
from ted_memory.llm.messages import question
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory
from ted_memory.retrieval.selection import warm
from ted_memory.settings import Placement

__all__ = [
    "PlainRun",
]

_RUN_ID: TypeAdapter[str] = TypeAdapter(RunId)
_LOG = logging.getLogger("ted_memory")
_RECORDED: Mapping[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "developer": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}
"""What a role is recorded as. What tools returned belongs to `PlainRun.answer`."""


class PlainRun:
    """One request to a model by a client that LangChain knows nothing of.

    Use it ``with`` or ``async with``, once. Entering chooses which lessons the request is shown. It
    never raises for want of a store: it waits for the setting ``read_timeout`` (seconds) at most,
    and goes on with the lessons that were last seen, or none. Leaving hands the run in, to be
    learned from: with its answer, or with the error that ended it. What the model was really shown
    cannot be seen from here, so send `messages`, or all that is `shown`.

    Args:
        memory: the memory whose lessons are shown, and whose learner is to see the run (of all
            runs the share ``sample_rate``).
        asked: the user's question, or the messages as OpenAI's clients take them, ``{"role": ...,
            "content": ...}``, or what these returned. Give your own list each time: what `messages`
            adds is no part of the conversation.
        principal: who asks; whose word an outcome is. None: nobody is known.
        thread_id: the conversation, if it has one: all of its runs see the same lessons on trial.
        run_id: a name for the run that is used once; by default one is made.
        tags: words to find the run by.

    Raises:
        InvalidInput: the run id cannot be used, or what is asked are no messages.
        RuntimeError: it is entered a second time.

    Examples:
        >>> async def ask(question, user):
        ...     async with PlainRun(memory, question, principal=user) as run:
        ...         got = await client.chat.completions.create(
        ...             model="gpt-5-nano", messages=run.messages
        ...         )
        ...         run.answer(got.choices[0].message.content, model=got.model)
        ...     return await memory.give_feedback(run.run_id, score=1.0, principal=user)
        >>> asyncio.run(ask("I want my money back", "anna"))
        'credited'
    """

    run_id: str
    """What feedback on it names."""
    shown: Exposure
    """What it is shown: ``block``, ``placement`` and ``turns`` (see `Exposure`)."""

    def __init__(
        self,
        memory: TedMemory,
        asked: str | Sequence[Mapping[str, Any] | BaseModel],
        *,
        principal: str | None = None,
        thread_id: str | None = None,
        run_id: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.run_id = str(uuid.uuid4()) if run_id is None else _checked(run_id)
        self.shown = Exposure()
        self._memory = memory
        if isinstance(asked, str):
            asked = [{"role": "user", "content": asked}]
        self._given = list(asked)
        self._input = _to_record(self._given, self.run_id)
        self._thread_id, self._principal = str(thread_id or ""), str(principal or ANONYMOUS)
        self._tags = _each_as_text(tags)
        self._live: LiveRun | None = None
        self._has_begun = self._has_ended = False
        self._answer, self._model, self._tools = "", "", tuple[str, ...]()
        warm()

    @property
    def block(self) -> str:
        """The lessons as one text, "" for none; it belongs where ``shown.placement`` says."""
        return self.shown.block

    @property
    def messages(self) -> list[Any]:
        """The messages as they were given, with the block and solved tasks in their places.

        Clients that take the system message apart, as Anthropic's does, are given `block` there,
        and ``shown.turns`` before the first message of the user.
        """
        messages = _with_block(self._given, self.shown.block, self.shown.placement)
        return _with_turns(messages, self.shown.turns)

    def answer(
        self, text: str | None, *, model: str | None = None, tools: Sequence[str] = ()
    ) -> None:
        """Say what the model answered; the last word counts.

        Args:
            text: the whole answer; of a stream, what has come when it ends. None, as where a model
                only calls tools or refuses, is no answer.
            model: its name.
            tools: calls of tools on the way to it, each with its result, a line each.

        Raises:
            TypeError: the answer is no text.
            RuntimeError: the run has ended, and is handed in.
        """
        if text is not None and not isinstance(text, str):
            raise TypeError(f"an answer is text; this is of type {type(text).__name__}")
        if self._has_ended:
            raise RuntimeError("the run has ended: call answer() within `with`")
        self._answer, self._model, self._tools = text or "", str(model or ""), _each_as_text(tools)

    async def __aenter__(self) -> Self:
        if self._has_begun:
            raise RuntimeError("a PlainRun is one run: make another one")
        self._has_begun = True
        asked = question(self._input)
        if not is_sampled(self._memory, self.run_id):
            self.shown = await self._memory.present(asked)
            return self
        live = LiveRun(
            self._memory,
            self.run_id,
            self._thread_id,
            self._principal,
            self._input,
            tags=self._tags,
        )
        unit = live.thread_id or live.run_id
        self.shown = live.exposure = await self._memory.expose(
            asked, unit=unit, principal=live.principal
        )
        self._live = live
        live.begun()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)

    def __enter__(self) -> Self:
        return sync_bridge.run(self.__aenter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        self._has_ended = True
        if (live := self._live) is None:
            return
        said = []
        if self._answer:
            said.append(AIMessage(content=self._answer, id=f"{self.run_id}-answer"))
        live.model, live.tools = self._model, self._tools
        try:
            if error is None:
                live.finish(said)
            else:
                live.output = said
                live.fail(error, final=True)
        except Exception:  # noqa: BLE001 - such as for an error that cannot be printed
            _LOG.warning("the run %s could not be recorded", self.run_id, exc_info=True)


def _checked(run_id: str) -> str:
    try:
        return _RUN_ID.validate_python(run_id)
    except ValidationError as error:
        raise InvalidInput(
            f"run_id={run_id!r} cannot be used: {error.errors()[0]['msg']}"
        ) from None


def _each_as_text(given: Sequence[Any]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _fields(message: Any) -> Mapping[str, Any]:
    """A message's fields, of a mapping or of what a client returned."""
    if isinstance(message, Mapping):
        return message
    return message.model_dump() if isinstance(message, BaseModel) else {}


def _to_record(given: Sequence[Any], run_id: str) -> list[BaseMessage]:
    """The messages as they are recorded. Each has an id: no answer is taken for one of them."""
    if not given:
        raise InvalidInput("there are no messages; give the question, or the messages with it")
    made = []
    for i, message in enumerate(given):
        fields = _fields(message)
        if not isinstance(fields.get("role"), str):
            raise InvalidInput(
                f'message {i + 1} is none such as {{"role": "user", "content": "..."}}: '
                f"{str(message)[:100]!r}; nothing was recorded"
            )
        if kind := _RECORDED.get(fields["role"]):
            made.append(kind(content=_content(fields.get("content")), id=f"{run_id}-{i}"))
    return made


def _content(content: Any) -> str | list[str | dict[str, Any]]:
    """Content as it is recorded. A block that has a text is recorded as that text."""
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, Sequence):
        raise InvalidInput(
            "a message's content is text or a list of blocks; "
            f"this is of type {type(content).__name__}"
        )
    return [_recorded_block(block) for block in content]


def _recorded_block(block: Any) -> str | dict[str, Any]:
    if isinstance(block, str):
        return block
    fields = dict(_fields(block))
    return {"type": "text", "text": fields["text"]} if _is_text(fields) else fields


def _is_text(block: Mapping[str, Any]) -> bool:
    return isinstance(block.get("text"), str)


def _with_block(given: Sequence[Any], block: str, placement: Placement) -> list[Any]:
    """Put the block at the end of the system message, or of the user's last one.

    Where there is none of these, it becomes a system message before all others.
    """
    if not block:
        return list(given)
    roles = [_fields(message)["role"] for message in given]
    users = [i for i, role in enumerate(roles) if role == "user"]
    systems = [i for i, role in enumerate(roles) if role in {"system", "developer"}]
    if placement == "user" and users:
        place = users[-1]
    elif systems:
        place = systems[0]
    else:
        return [{"role": "system", "content": block}, *given]
    return [*given[:place], _ending_with(block, _fields(given[place])), *given[place + 1 :]]


def _ending_with(block: str, message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not content:
        return {**message, "content": block}
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{block}"}
    # OpenAI's two interfaces name blocks of text differently: as the message has them
    kinds = [part["type"] for part in map(_fields, content) if _is_text(part)]
    last = {"type": kinds[-1] if kinds else "text", "text": block}
    return {**message, "content": [*content, last]}


def _with_turns(messages: Sequence[Any], turns: Sequence[tuple[str, str]]) -> list[Any]:
    """Put solved tasks with their answers before the first message of the user."""
    roles = [_fields(message)["role"] for message in messages]
    first = roles.index("user") if "user" in roles else len(messages)
    earlier = []
    for task, answer in turns:
        earlier.append({"role": "user", "content": task})
        earlier.append({"role": "assistant", "content": answer})
    return [*messages[:first], *earlier, *messages[first:]]
