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
"""Where in ``configurable`` LangGraph's server says whom it has authenticated; it lets no client set it there."""
SERVED = ("langgraph_request_id", "langgraph_api_url")
"""What stands in the configuration or the metadata of a run that a client of LangGraph's server has begun."""

_LOG = logging.getLogger("ted_memory")


@dataclass(eq=False, slots=True, weakref_slot=True)
class LiveRun:
    """What is known of a run so far. The messages are those of the run, which nobody changes in place.

    Those that it was given may stand among the ``output`` too.
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
    """What failed: "model", or the id of a tool call."""
    tags: tuple[str, ...] = ()
    started_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def begun(self) -> None:
        """Have it recorded as abandoned, should nothing more be heard of it."""
        self._hand_over(self.memory.recorder.hold, self._abandoned, ABANDONED)

    def finish(self, output: Sequence[BaseMessage] = ()) -> None:
        """Record it: it came to its end."""
        self.ended, self.output, self.error = time.monotonic(), output, ""
        self._hand_over(partial(self.memory.recorder.put, size=self._size()), self.episode)

    def fail(self, error: BaseException, *, at: str = "model", final: bool = False) -> None:
        """Record what went wrong; unless it is final something may still try again and succeed."""
        self.ended = time.monotonic()
        # it is cancelled since something failed
        if not (self.error and isinstance(error, asyncio.CancelledError)):
            self.error, self.failed_at = f"{type(error).__name__}: {error}", at
        recorder = self.memory.recorder
        if final:
            self._hand_over(partial(recorder.put, size=self._size()), self.episode)
        else:
            self._hand_over(recorder.hold, self.episode, SETTLED)

    def goes_on(self, at: str = "model") -> None:
        """Take a failure back: its model is asked again, or the tool that failed is called again."""
        if self.error and at in {"model", self.failed_at}:
            self.ended, self.error = None, ""
            self.begun()

    def _hand_over(self, call: Callable[..., None], *given: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a synchronous program: the bridge's loop sends it
            sync_bridge.soon(lambda: call(self.run_id, *given))
        else:
            call(self.run_id, *given)
        sync_bridge.flush_at_exit(self.memory)

    def _size(self) -> int:
        """Return about how many bytes its messages hold. The same message may stand in input and output."""
        return sum(
            map(size_of_content, {id(m): m.content for m in (*self.input, *self.output)}.values())
        )

    def _abandoned(self) -> tuple[Episode, Mapping[str, bytes]]:
        self.error = self.error or "abandoned: it did not come to an end"
        return self.episode()

    def episode(self) -> tuple[Episode, Mapping[str, bytes]]:
        """Return the episode and its images. Called when it is sent, off the agent's path."""
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


def is_sampled(memory: TedMemory, run_id: str) -> bool:
    """Tell whether a run is among those that are recorded (setting ``sample_rate``)."""
    rate = memory.settings.sample_rate
    return rate >= 1 or draw(run_id, "sample") < rate


def thread_of(config: Mapping[str, Any]) -> str:
    """Return the conversation's id, "" without one."""
    return str((config.get("configurable") or {}).get("thread_id") or "")


def principal_of(
    context: Any, config: Mapping[str, Any], given: str | None, *, from_clients: bool = False
) -> str:
    """Return who is behind a run: the argument, whom LangGraph's server has authenticated, context, ``configurable``.

    The latter two are the client's word where such a server has begun the run: nobody's, unless
    ``from_clients``.
    """
    if given:
        return given
    configurable = config.get("configurable") or {}
    # there alone: context and metadata are the client's to write
    if known := _told(configurable, AUTHENTICATED):
        return str(known)
    places = (context, configurable)
    told = next(filter(None, (_told(place, name) for name in WHO for place in places)), None)
    if told and not from_clients and any(_told(place, mark) for mark in SERVED for place in places):
        _warn_of_clients()
        return ANONYMOUS
    return str(told or ANONYMOUS)


def _told(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)


@cache  # once for each process
def _warn_of_clients() -> None:
    _LOG.warning(
        "a client of this LangGraph server names the principal of its run, and nobody is authenticated: it may name "
        "anybody, so the run is taken for %r. Have the server authenticate its users, or say "
        "principal_from_clients=True",
        ANONYMOUS,
    )


def new_messages(given: Sequence[BaseMessage], now: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return those of the messages as they are now that were not there when the run began, nor before."""
    known = {message.id for message in given if message.id}
    after = 0
    for last in given[-1:]:
        after = next((i + 1 for i in reversed(range(len(now))) if _is(now[i], last)), 0)
    return [message for message in now[after:] if not message.id or message.id not in known]


def _is(one: BaseMessage, other: BaseMessage) -> bool:
    if other.id:
        return one.id == other.id
    # what a graph was given as a dict has neither an id nor an identity
    return one is other or (one.type, one.content) == (other.type, other.content)


def up_to_the_question(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages up to the last user turn; all of them where there is none."""
    last = next(
        (i for i in reversed(range(len(messages))) if isinstance(messages[i], HumanMessage)),
        len(messages),
    )
    return messages[: last + 1]
