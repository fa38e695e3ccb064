"""One run of an agent while it goes on, and the episode that it becomes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import telemetry
from ted_memory.capture.recorder import ABANDONED, SETTLED
from ted_memory.capture.texts import storable
from ted_memory.episodes import ANONYMOUS, Episode, Exposure
from ted_memory.experience.assignment import draw
from ted_memory.llm.messages import record_messages, size_of_content, tool_calls
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory

WHO = ("principal", "user_id")
"""Where a run's context or ``configurable`` may say who is behind it, best first."""
AUTHENTICATED = "langgraph_auth_user_id"
"""Where in ``configurable`` LangGraph's server names whom it has authenticated; no client can."""
SERVED = ("langgraph_request_id", "langgraph_api_url")
"""What tells a run that a client of LangGraph's server has begun, by its ``configurable``."""

_LOG = logging.getLogger("ted_memory")


@dataclass(eq=False, slots=True, weakref_slot=True)
class LiveRun:
    """What is known of a run so far.

    ``input`` and ``output`` are the run's own messages, which nobody changes in place; those of the
    input may stand among the output, too. ``started_at`` is wall-clock time, ``began`` and
    ``ended`` are monotonic, all in seconds.
    """

    memory: TedMemory
    run_id: str
    thread_id: str = ""
    principal: str = ANONYMOUS
    input: Sequence[BaseMessage] = ()
    exposure: Exposure = field(default_factory=Exposure)
    output: Sequence[BaseMessage] = ()
    tools: tuple[str, ...] = ()
    model: str = ""
    error: str = ""
    failed_at: str = ""
    """"model", or the id of the tool call that failed."""
    tags: tuple[str, ...] = ()
    started_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    is_suspended: bool = False
    """Whether an interrupt has stopped it within a call of a model or a tool."""

    def __post_init__(self) -> None:
        """Note the place of the run in its program's traces."""
        telemetry.run_began(self.run_id)

    def begun(self) -> None:
        """Have it recorded as abandoned if nothing more is heard of it."""
        self._hand_over(self.memory.recorder.hold, self._abandoned, ABANDONED)

    def finish(self, output: Sequence[BaseMessage] = ()) -> None:
        """Record it as ended well, with the messages that it gave back."""
        self.ended, self.output, self.error = time.monotonic(), output, ""
        telemetry.run_answered(self.run_id, _response_id(output))
        self._hand_over(partial(self.memory.recorder.put, size=self._size()), self.episode)

    def fail(self, error: BaseException, *, at: str = "model", final: bool = False) -> None:
        """Record what went wrong; unless it is `final` something may still try again and succeed.

        Args:
            error: what was raised.
            at: what raised it: "model", or the id of a tool call.
            final: nothing comes after it.
        """
        self.ended = time.monotonic()
        is_cancelled_for_it = self.error and isinstance(error, asyncio.CancelledError)
        if not is_cancelled_for_it:
            self.error, self.failed_at = f"{type(error).__name__}: {error}", at
        recorder = self.memory.recorder
        if final:
            self._hand_over(partial(recorder.put, size=self._size()), self.episode)
        else:
            self._hand_over(recorder.hold, self.episode, SETTLED)

    def goes_on(self, at: str = "model") -> None:
        """Take a failure back, since the model or the tool that failed is called again."""
        self.is_suspended = False
        if self.error and at in {"model", self.failed_at}:
            self.ended, self.error = None, ""
            self.begun()

    def has_been_resumed_at(self, messages: Sequence[BaseMessage]) -> bool:
        """Tell whether a call over these messages goes on with this run after an interrupt.

        The last question must be the one that it began with. A run that begins stands at its
        question; one that goes on stands behind an answer, or was stopped within a call.
        """
        asked, began_with = up_to_the_question(messages), up_to_the_question(self.input)
        if not asked or not began_with or not _is_same(asked[-1], began_with[-1]):
            return False
        return self.is_suspended or len(asked) < len(messages)

    def _hand_over(self, call: Callable[..., None], *given: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a synchronous program: the bridge's loop sends it
            sync_bridge.soon(lambda: call(self.run_id, *given))
        else:
            call(self.run_id, *given)
        sync_bridge.flush_at_exit(self.memory)

    def _size(self) -> int:
        """About how many bytes its messages hold; one in input and output counts once."""
        contents = {id(message): message.content for message in (*self.input, *self.output)}
        return sum(map(size_of_content, contents.values()))

    def _abandoned(self) -> tuple[Episode, Mapping[str, bytes]]:
        self.error = self.error or "abandoned: it did not come to an end"
        return self.episode()

    def episode(self) -> tuple[Episode, Mapping[str, bytes]]:
        """Build the episode, and its images by hash. Off the agent's path, when it is sent."""
        largest = self.memory.settings.image_size
        given, images = record_messages(self.input, largest=largest)
        new = new_messages(self.input, self.output)
        said, more = record_messages(new, largest=largest)
        images.update(more)
        episode = Episode(
            run_id=self.run_id,
            thread_id=storable(self.thread_id),
            principal=storable(self.principal)[:200] or ANONYMOUS,
            input=given,
            output=said,
            tools=tuple(map(storable, self.tools or tool_calls(new))),
            seen=self.exposure.seen,
            withheld=self.exposure.withheld,
            counted=self.exposure.counted,
            withhold_share=self.exposure.withhold_share,
            epoch=self.exposure.epoch,
            version=self.exposure.version,
            model=storable(self.model),
            started_at=datetime.fromtimestamp(self.started_at, UTC),
            latency=None if self.ended is None else self.ended - self.began,
            error=storable(self.error),
            tags=tuple(map(storable, self.tags)),
            images=tuple(images),
        )
        return episode, images


def _response_id(output: Sequence[BaseMessage]) -> str:
    """What the provider calls the last answer, "" where it does not say."""
    return str(output[-1].response_metadata.get("id") or "") if output else ""


def is_sampled(memory: TedMemory, run_id: str) -> bool:
    """Tell whether a run is among those that are recorded (setting ``sample_rate``)."""
    rate = memory.settings.sample_rate
    return rate >= 1 or draw(run_id, "sample") < rate


def configurable_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the caller has put under ``configurable``."""
    return config.get("configurable") or {}


def thread_of(config: Mapping[str, Any]) -> str:
    """The conversation's id, "" without one."""
    return str(configurable_of(config).get("thread_id") or "")


def principal_of(
    context: Any, config: Mapping[str, Any], given: str | None, *, from_clients: bool = False
) -> str:
    """Tell who is behind a run.

    The first of these that is known: ``given``; whom LangGraph's server has authenticated; the
    run's ``context``; its ``configurable``. The last two are the client's own word where a client
    of such a server has begun the run: it counts as `ANONYMOUS` then, unless ``from_clients``.
    """
    if given:
        return given
    configurable = configurable_of(config)
    # there alone: context and metadata are the client's to write
    if authenticated := _field(configurable, AUTHENTICATED):
        return str(authenticated)
    places = (context, configurable)
    named = _first_of(WHO, places)
    if not named:
        return ANONYMOUS
    if _first_of(SERVED, places) and not from_clients:
        _warn_of_clients()
        return ANONYMOUS
    return str(named)


def _first_of(names: Sequence[str], places: Sequence[Any]) -> Any:
    """The first of these fields that says something; None where none does."""
    values = (_field(place, name) for name in names for place in places)
    return next(filter(None, values), None)


def _field(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)


@cache  # once for each process
def _warn_of_clients() -> None:
    _LOG.warning(
        "a client of this LangGraph server names the principal of its run, "
        "and nobody is authenticated: it may name anybody, so the run is taken for %r. "
        "Have the server authenticate its users, or say principal_from_clients=True",
        ANONYMOUS,
    )


def new_messages(given: Sequence[BaseMessage], now: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages of ``now`` that a run has added to those that it was ``given``."""
    known = {message.id for message in given if message.id}
    after = _place_of(given[-1], now) + 1 if given else 0
    return [message for message in now[after:] if not message.id or message.id not in known]


def _place_of(message: BaseMessage, messages: Sequence[BaseMessage]) -> int:
    """Where it stands last; -1 where it does not."""
    places = reversed(range(len(messages)))
    return next((i for i in places if _is_same(messages[i], message)), -1)


def _is_same(one: BaseMessage, other: BaseMessage) -> bool:
    if other.id:
        return one.id == other.id
    # what a graph was given as a dict has neither an id nor an identity
    return one is other or (one.type, one.content) == (other.type, other.content)


def up_to_the_question(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """The messages up to the last user turn; all of them where there is none."""
    places = reversed(range(len(messages)))
    last = next((i for i in places if isinstance(messages[i], HumanMessage)), len(messages))
    return messages[: last + 1]


def given_to_the_run(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """The messages that a run began with, of those at its first model call here.

    Answers behind the question are the caller's, unless they name a run: then it has begun in
    another process, and goes on here after an interrupt.
    """
    asked = up_to_the_question(messages)
    went_on = any("ted_memory" in message.response_metadata for message in messages[len(asked) :])
    return asked if went_on else messages
