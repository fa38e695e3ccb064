"""One run of an agent while it goes on, and the episode that it becomes."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import BaseMessage

from ted_memory.episodes import ANONYMOUS, Episode, Exposure
from ted_memory.experience.trust import draw
from ted_memory.integrations import sync_bridge
from ted_memory.memory import TedMemory
from ted_memory.messages import record_messages, tool_calls
from ted_memory.recording import ABANDONED, SETTLED

WHO = ("principal", "user_id", "langgraph_auth_user_id")
"""Where a run's context or ``configurable`` may say who is behind it, best first."""


@dataclass
class LiveRun:
    """What is known of a run so far. The messages are those of the run, which nobody changes in place."""

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
    tags: tuple[str, ...] = ()
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def begun(self) -> None:
        """Have it recorded as abandoned, should nothing more be heard of it."""
        self._hand_over(lambda: self.memory.recorder.hold(self.run_id, self._abandoned, ABANDONED))

    def finish(self, output: Sequence[BaseMessage] = ()) -> None:
        """Record it: it came to its end."""
        self.ended, self.output, self.error = time.monotonic(), output, ""
        self._hand_over(lambda: self.memory.recorder.put(self.run_id, self.episode))

    def fail(self, error: BaseException, *, final: bool = False) -> None:
        """Record what went wrong; unless it is final something may still try again and succeed."""
        self.ended = time.monotonic()
        self.error = f"{type(error).__name__}: {error}"
        recorder = self.memory.recorder
        if final:
            self._hand_over(lambda: recorder.put(self.run_id, self.episode))
        else:
            self._hand_over(lambda: recorder.hold(self.run_id, self.episode, SETTLED))

    @staticmethod
    def _hand_over(call: Callable[[], None]) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a synchronous program: the bridge's loop sends it
            sync_bridge.soon(call)
        else:
            call()

    def _abandoned(self) -> tuple[Episode, Mapping[str, bytes]]:
        self.error = self.error or "abandoned: it did not come to an end"
        return self.episode()

    def episode(self) -> tuple[Episode, Mapping[str, bytes]]:
        """Return the episode and its images. Called when it is sent, off the agent's path."""
        largest = self.memory.settings.image_size
        given, images = record_messages(self.input, largest=largest)
        said, more = record_messages(self.output, largest=largest)
        images.update(more)
        episode = Episode(
            run_id=self.run_id,
            thread_id=self.thread_id,
            principal=self.principal[:200] or ANONYMOUS,
            input=given,
            output=said,
            tools=self.tools or tool_calls(list(self.output)),
            seen=self.exposure.seen,
            withheld=self.exposure.withheld,
            counted=self.exposure.counted,
            epoch=self.exposure.epoch,
            version=self.exposure.version,
            model=self.model,
            started_at=self.started_at,
            latency=None if self.ended is None else self.ended - self.began,
            error=self.error.encode("utf-8", "replace").decode(),
            tags=self.tags,
            images=tuple(images),
        )
        return episode, images


def is_sampled(memory: TedMemory, run_id: str) -> bool:
    """Tell whether a run is among those that are recorded (setting ``sample_rate``)."""
    rate = memory.settings.sample_rate
    return rate >= 1 or draw(run_id, "sample") < rate


def run_id_of(config: Mapping[str, Any]) -> str:
    """Return the caller's run id, else a new one."""
    return str(config.get("run_id") or uuid.uuid4())


def thread_of(config: Mapping[str, Any]) -> str:
    """Return the conversation's id, "" without one."""
    return str((config.get("configurable") or {}).get("thread_id") or "")


def principal_of(context: Any, config: Mapping[str, Any], given: str | None) -> str:
    """Return who is behind a run: the argument, the runtime's context, or ``configurable``."""
    if given:
        return given
    fields = context if isinstance(context, Mapping) else getattr(context, "__dict__", None) or {}
    configurable = config.get("configurable") or {}
    return next((str(place[name]) for name in WHO for place in (fields, configurable) if place.get(name)), ANONYMOUS)
