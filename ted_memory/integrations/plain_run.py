"""A run of a plain client, such as OpenAI's or Anthropic's own: shown what agents are shown, and recorded like theirs.

.. code-block:: python

    async with PlainRun(memory, "I want my money back", principal="anna") as run:
        answer = await client.chat.completions.create(model="gpt-5-nano", messages=run.messages)
        run.answer(answer.choices[0].message.content)
    await memory.give_feedback(run.run_id, score=1.0, principal="anna")
"""

import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from pydantic import TypeAdapter, ValidationError

from ted_memory.episodes import ANONYMOUS, Exposure, RunId
from ted_memory.errors import InvalidInput
from ted_memory.integrations import sync_bridge
from ted_memory.integrations.live_run import LiveRun, is_sampled
from ted_memory.llm.messages import question, show_lessons
from ted_memory.memory import TedMemory

_RUN_ID: TypeAdapter[str] = TypeAdapter(RunId)


class PlainRun:
    """One request to a model by a client that LangChain knows nothing of: use it ``with`` or ``async with``.

    Entering chooses what the request is shown, which never raises and waits `read_timeout` at most. Leaving hands the
    run in, to be learned from (setting ``sample_rate``): with its answer, or with the error that ended it. What the
    model was shown cannot be seen from here, so use `messages`, or all of `shown`.

    Args:
        memory: of which lessons are shown, and to which the run is handed in.
        asked: the user's question, or the messages as OpenAI's clients take them (``{"role": ..., "content": ...}``).
        principal: who asks; whose word an outcome is.
        thread_id: the conversation, if it has one: all of its runs see the same lessons on trial.
        run_id: a name for the run that is used once; by default one is made.
        tags: words to find the run by.

    Raises:
        InvalidInput: the run id cannot be used, or what is asked are no messages.
    """

    def __init__(
        self,
        memory: TedMemory,
        asked: str | Sequence[Mapping[str, Any]],
        *,
        principal: str = ANONYMOUS,
        thread_id: str = "",
        run_id: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.run_id: str = str(uuid.uuid4()) if run_id is None else _checked(run_id)
        """What feedback names."""
        self.shown = Exposure()
        """What it is shown: ``block``, ``placement`` and ``turns``."""
        self._memory = memory
        self._given = [HumanMessage(content=asked)] if isinstance(asked, str) else _read(asked)
        self._live = LiveRun(
            memory,
            self.run_id,
            thread_id=thread_id,
            principal=principal,
            input=self._given,
            tags=tuple(tags),
        )
        self._is_recorded = is_sampled(memory, self.run_id)
        self._said: list[BaseMessage] = []

    @property
    def block(self) -> str:
        """The lessons as one text, "" for none; it belongs where ``shown.placement`` says."""
        return self.shown.block

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages as OpenAI's clients take them, lessons and solved tasks in their places.

        Anthropic's takes the system message apart: give it those of ``role`` "system" as ``system``.
        """
        made = convert_to_openai_messages(show_lessons(self._given, self.shown))
        return made if isinstance(made, list) else [made]

    def answer(self, text: str, *, model: str = "", tools: Sequence[str] = ()) -> None:
        """Say what the model answered; the last word counts.

        Args:
            text: the whole answer; of a stream, what has come when it ends.
            model: its name.
            tools: calls of tools on the way to it, each with its result, a line each.
        """
        self._said = [AIMessage(content=text)]
        self._live.model, self._live.tools = model, tuple(tools)

    async def __aenter__(self) -> Self:
        asked, live = question(self._given), self._live
        if not self._is_recorded:
            self.shown = await self._memory.present(asked)
            return self
        unit = live.thread_id or live.run_id
        self.shown = live.exposure = await self._memory.expose(asked, unit=unit, principal=live.principal)
        live.begun()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def __enter__(self) -> Self:
        return sync_bridge.run(self.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if not self._is_recorded:
            return
        if error is None:
            self._live.finish(self._said)
        else:
            self._live.output = self._said
            self._live.fail(error, final=True)


def _checked(run_id: str) -> str:
    try:
        return _RUN_ID.validate_python(run_id)
    except ValidationError as error:
        raise InvalidInput(f"run_id={run_id!r} cannot be used: {error.errors()[0]['msg']}") from None


def _read(asked: Sequence[Mapping[str, Any]]) -> list[BaseMessage]:
    try:
        messages = convert_to_messages([dict(message) for message in asked])
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(
            f'these are no messages such as {{"role": "user", "content": "..."}}: {reason}; nothing was recorded'
        ) from error
    if not messages:
        raise InvalidInput("there are no messages; give the question, or the messages with it")
    return messages
