"""Look at what a model is really sent: other middlewares may have removed the lessons from it."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Self

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig, merge_configs, var_child_runnable_config
from langgraph.config import get_config

from ted_memory.episodes import Exposure
from ted_memory.integrations.live_run import LiveRun
from ted_memory.integrations.run_ids import METADATA, tell_tracers
from ted_memory.memory.client import TedMemory

_LOG = logging.getLogger("ted_memory")


class PromptWatch(BaseCallbackHandler):
    """Stands around one call of a model.

    It looks for the lessons in the prompt, and tells tracers which run the call belongs to.
    """

    run_inline = True  # in the caller's event loop: it only takes notes

    def __init__(self, shown: Exposure, metadata: Mapping[str, Any]) -> None:
        self._shown, self._metadata = shown, metadata
        self.missing: bool | None = None
        """Whether the lessons are missing in the prompt; None: there were none, or no call."""

    def on_chat_model_start(
        self,
        serialized: Any,  # noqa: ARG002
        messages: list[list[BaseMessage]],
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Look at the prompt. Middlewares may ask other models beside: one prompt is enough."""
        if not self._shown.block and not self._shown.turns:
            return
        already_found = self.missing is False
        self.missing = not already_found and not _stands_in(self._shown, messages[0])

    def __enter__(self) -> Self:
        config = get_config()
        tell_tracers(config, self._metadata)
        added: RunnableConfig = {"callbacks": [self], "metadata": dict(self._metadata)}
        self._token = var_child_runnable_config.set(merge_configs(config, added))
        return self

    def __exit__(self, *exc: object) -> None:
        var_child_runnable_config.reset(self._token)


class PromptWatches:
    """Watches the model calls of one middleware.

    Where lessons are missing, another middleware has replaced the message that they stood in: this
    is counted, warned of once, and no lesson is credited, seen or withheld, until they are found in
    a prompt again.
    """

    def __init__(self, memory: TedMemory) -> None:
        self._memory = memory
        self._missing = False

    @contextlib.contextmanager
    def around(self, shown: Exposure, run: LiveRun | None) -> Iterator[None]:
        """Watch one call of a model; take the run's credit away where lessons are missing."""
        watch = PromptWatch(shown, self._metadata(shown, run))
        try:
            with watch:
                yield
        finally:
            if watch.missing is not None:
                self._missing = watch.missing
            if watch.missing:
                self._memory.recorder.removed += 1
                _warn_once(self._memory.namespace)
            if self._missing and run is not None:
                run.exposure = run.exposure.without_credit()

    def _metadata(self, shown: Exposure, run: LiveRun | None) -> Mapping[str, Any]:
        told = {
            "ted_memory_namespace": self._memory.namespace,
            "ted_memory_version": shown.version,
            "ted_memory_seen": list(shown.seen),
            "ted_memory_withheld": list(shown.withheld),
        }
        return told if run is None else {**told, METADATA: run.run_id}


def _stands_in(shown: Exposure, prompt: Sequence[BaseMessage]) -> bool:
    """Tell whether the block stands in a prompt, and the solved tasks as turns of their own."""
    texts = [message.text for message in prompt]
    block_is_there = not shown.block or any(shown.block in text for text in texts)
    return block_is_there and all(text in texts for turn in shown.turns for text in turn)


@cache
def _warn_once(namespace: str) -> None:
    _LOG.warning(
        "the lessons of %r do not reach the model: another middleware replaces the message that "
        "they stand in. Put TedMemoryMiddleware after it in middleware=[...]; "
        "these runs count neither for the lessons nor against them",
        namespace,
    )
