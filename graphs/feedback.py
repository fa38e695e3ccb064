"""``feedback``: say how good an answer of ``agent`` was, now or up to 30 days later.

``{"run_id": "...", "score": 0, "correction": "..."}``. The id is that of the server's run; each
answer has it, too (``response_metadata.ted_memory.run_id``). The feedback is the word of whom the
server has authenticated: such a user can rate answers of his own alone.
"""

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel, Field

from graphs.deployed import memory

ANONYMOUS = "anonymous"
AUTHENTICATED = "langgraph_auth_user_id"
"""Where in ``configurable`` the server names whom it has authenticated; no client can."""


class Said(BaseModel):
    """What somebody says of an answer."""

    run_id: str = Field(description="The run that gave the answer.")
    score: float | None = Field(
        None, ge=0, le=1, description="0 if it was wrong, 1 if it was right, or between."
    )
    comment: str = Field("", description="What is to be said of it.")
    correction: str = Field("", description="The answer that would have been right.")


class Noted(TypedDict):
    """What became of it: a ``Verdict``, as `TedMemory.give_feedback` returns it."""

    verdict: str


async def note(state: Said, config: RunnableConfig) -> Noted:
    """Hand it to the memory."""
    verdict = await memory.give_feedback(
        state.run_id,
        score=state.score,
        comment=state.comment,
        correction=state.correction,
        principal=str(config["configurable"].get(AUTHENTICATED) or ANONYMOUS),
    )
    return {"verdict": verdict}


def make_feedback() -> Any:
    """Make the graph, of one step."""
    graph = StateGraph(Said, output_schema=Noted)
    graph.add_node("note", note)
    graph.add_edge(START, "note")
    graph.add_edge("note", END)
    return graph.compile(name="feedback")
