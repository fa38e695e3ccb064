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

__all__ = [
    "create_feedback_tool",
]

LEAST = 0.25  # seconds that the store is waited for; less is too little for one that is there
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
    """A tool by which an agent passes on what its user says of its latest earlier answer.

    For agents with `TedMemoryMiddleware(memory, record=True)`. The feedback counts under the
    principal of the run that calls the tool, with the limits of that principal, since a model can
    be talked into praise. The tool never raises: what became of the feedback is told to the model
    in words.

    It waits for the store for ``read_timeout`` seconds, a quarter of a second at least. Feedback
    that the store has not taken by then goes as recorded runs do: it waits while the store is away,
    and `flush`, `aclose` and the program's end send it.

    Args:
        memory: the memory that the agent's middleware has.
        name: what the model calls the tool.

    Examples:
        >>> from langchain.agents import create_agent
        >>> agent = create_agent(
        ...     model,
        ...     tools=[create_feedback_tool(memory)],
        ...     middleware=[TedMemoryMiddleware(memory, record=True)],
        ... )
        >>> conversation = [("user", "I want my money back")]
        >>> conversation = agent.invoke({"messages": conversation})["messages"]
        >>> conversation.append(("user", "That was wrong: you never asked for my name"))
        >>> conversation = agent.invoke({"messages": conversation})["messages"]
        >>> [message.text for message in conversation if message.type == "tool"]
        ['Thank you, it was noted.']
    """

    async def arate(
        score: float, runtime: ToolRuntime[Any, Any], comment: str = "", correction: str = ""
    ) -> str:
        return await _note(memory, runtime, score, comment, correction)

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


async def _note(
    memory: TedMemory, runtime: ToolRuntime[Any, Any], score: float, comment: str, correction: str
) -> str:
    """Take in feedback, and wait a moment for the store; what the model is told of it."""
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
    # an agent waits for the store no longer here than elsewhere; it is sent for seconds beside it
    await asyncio.wait({sending}, timeout=max(memory.settings.read_timeout, LEAST))
    return _told(said)


def _told(said: Said) -> str:
    """What the model is told of its feedback."""
    if said.trouble is not None:
        return _refused(said.trouble)
    return LATER if said.verdict is None else TOLD[said.verdict]


def _refused(error: Exception) -> str:
    return f"It could not be noted: {error}"


def _rated(messages: Sequence[BaseMessage]) -> str | None:
    """The run of the latest answer before this turn."""
    places = reversed(range(len(messages)))
    turn = next((i for i in places if isinstance(messages[i], HumanMessage)), 0)
    return find_run_id(list(messages[:turn]))


def _principal(memory: TedMemory, runtime: ToolRuntime[Any, Any]) -> str:
    run = under_way(memory).of(str(runtime.state.get(STATE) or ""))
    return run.principal if run is not None else principal_of(runtime.context, runtime.config, None)
