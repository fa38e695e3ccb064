"""A tool with which an agent passes on what its user says of an answer."""

import asyncio
import contextvars
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import ToolRuntime

from ted_memory.capture.said import Said
from ted_memory.capture.texts import storable
from ted_memory.episodes import Feedback
from ted_memory.errors import TedMemoryError
from ted_memory.integrations.live_run import principal_of
from ted_memory.integrations.run_ids import STATE, find_run_id
from ted_memory.integrations.under_way import under_way
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory

LEAST = 0.25  # seconds; less would be too little for a server that is there
LATER = "Thank you, it will be passed on."
NOTHING = "There is no earlier answer of this conversation that feedback could belong to."
TOLD = {
    "credited": "Thank you, it was noted.",
    "corrected": "Thank you, the earlier feedback was replaced.",
    "repeated": "This was noted before.",
    "kept": "Thank you, it was noted.",
    "unknown": "Thank you, it was noted.",
    "foreign": "It was not noted: that answer was given to somebody else.",
    "limited": "This user has given all the feedback that counts today.",
}

_SENDING: set["asyncio.Task[None]"] = set()


def create_feedback_tool(memory: TedMemory, *, name: str = "rate_answer") -> BaseTool:
    """Return a tool by which an agent takes feedback on its latest earlier answer.

    For agents with `TedMemoryMiddleware(memory, record=True)`. It counts under the principal of the
    run that calls it, with that one's limits: a model can be talked into praise. A store is waited
    for `read_timeout`, a quarter of a second at least. Feedback that it has not taken by then goes
    as recorded runs do: it waits while the store is away, and `flush`, `aclose` and the program's
    end send it.
    """

    async def arate(
        score: float, runtime: ToolRuntime[Any, Any], comment: str = "", correction: str = ""
    ) -> str:
        run_id = _rated(runtime.state["messages"])
        if run_id is None:
            return NOTHING
        try:
            feedback = Feedback.checked(
                run_id=run_id,
                score=min(max(score, 0.0), 1.0),
                comment=storable(comment),
                correction=storable(correction),
                principal=_principal(memory, runtime),
            )
            said = memory.recorder.keep_feedback(feedback)
        except TedMemoryError as error:  # no reason for the agent to stop
            return _refused(error)
        sync_bridge.flush_at_exit(memory)
        sending = asyncio.create_task(memory.recorder.send_said(), context=contextvars.Context())
        _SENDING.add(sending)  # a loop holds its tasks weakly
        sending.add_done_callback(_SENDING.discard)
        # an agent waits for the store no longer here than elsewhere; the store is asked for seconds
        # beside it
        await asyncio.wait({sending}, timeout=max(memory.settings.read_timeout, LEAST))
        return _told(said)

    def rate(  # noqa: D417 - the runtime is not the model's to give
        score: float, runtime: ToolRuntime[Any, Any], comment: str = "", correction: str = ""
    ) -> str:
        """Note what the user says about your latest earlier answer.

        Args:
            score: 0 if it was wrong, 1 if it was right, or between.
            comment: what the user said about it.
            correction: the answer that would have been right, if the user gave it.
        """
        return sync_bridge.run(arate(score, runtime, comment, correction))

    made: BaseTool = tool(name)(rate)
    made.coroutine = arate
    return made


def _told(said: Said) -> str:
    """Return what the model is told of feedback."""
    if said.trouble is not None:
        return _refused(said.trouble)
    return LATER if said.verdict is None else TOLD[said.verdict]


def _refused(error: Exception) -> str:
    return f"It could not be noted: {error}"


def _rated(messages: Sequence[BaseMessage]) -> str | None:
    """Return the run of the latest answer before this turn."""
    turn = next(
        (i for i in reversed(range(len(messages))) if isinstance(messages[i], HumanMessage)), 0
    )
    return find_run_id(list(messages[:turn]))


def _principal(memory: TedMemory, runtime: ToolRuntime[Any, Any]) -> str:
    run = under_way(memory).of(str(runtime.state.get(STATE) or ""))
    return run.principal if run is not None else principal_of(runtime.context, runtime.config, None)
