"""``learner``: one run learns from the episodes that wait, and says what came of it.

``{"seconds": 60}``: then nothing new is begun, and what is under way is finished, within the
setting ``lease_seconds``, or given back. Call it from a cron of the server, or have
``ted-memory learn`` run beside the server for good: any number of learners may work at once.

``TED_MEMORY_CALLS_A_DAY`` is how many calls of student and teacher all learners of the namespace
may make in a day (UTC); without it there is no limit.
"""

import asyncio
import os
from functools import partial
from typing import Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel, Field

from graphs.deployed import Refusing, make_model, memory
from ted_memory.distill import Budget
from ted_memory.errors import InvalidInput
from ted_memory.learner import Learner

CALLS_A_DAY = "TED_MEMORY_CALLS_A_DAY"


class Pass(BaseModel):
    """How long to learn."""

    seconds: float = Field(60, gt=0, le=900, description="After these nothing new is begun.")


class Learned(TypedDict):
    """What was done: the fields of `LearnerReport`, and how many episodes wait still."""

    settled: int
    outcomes: dict[str, int]
    replayed: int
    steps: list[str]
    last_error: str
    waiting: int


async def learn(student: BaseChatModel, teacher: BaseChatModel, given: Pass) -> Learned:
    """Learn from what waits.

    Raises:
        InvalidInput: a model cannot be made. No episode was begun.
    """
    for model in (student, teacher):
        if isinstance(model, Refusing):  # an episode would count it as a failure of its own
            raise InvalidInput(model.told)
    # it reads its prompts from files
    learner = await asyncio.to_thread(
        Learner, memory, student=student, teacher=teacher, budget=_budget()
    )
    ending = asyncio.get_running_loop().call_later(given.seconds, learner.stop)
    try:
        report = await learner.run(until_empty=True)
    finally:
        ending.cancel()
    if report.refused:
        raise InvalidInput(f"{report.refused} The episodes wait; run it again to go on")
    return {
        "settled": report.settled,
        "outcomes": dict(report.outcomes),
        "replayed": report.replayed,
        "steps": report.steps,
        "last_error": report.last_error,
        "waiting": (await memory.traffic()).waiting,
    }


def make_learner() -> Any:
    """Make the graph, of one step: the work on each episode is a graph of its own."""
    graph = StateGraph(Pass, output_schema=Learned)
    graph.add_node("learn", partial(learn, make_model("STUDENT"), make_model("TEACHER")))
    graph.add_edge(START, "learn")
    graph.add_edge("learn", END)
    return graph.compile(name="learner")


def _budget() -> Budget | None:
    """Read how much a day may take.

    Raises:
        InvalidInput: it is no number of calls.
    """
    calls = os.environ.get(CALLS_A_DAY)
    if calls is None:
        return None
    if not calls.isdecimal() or int(calls) < 1:
        raise InvalidInput(f"{CALLS_A_DAY}={calls!r}: use a number of calls, 1 or more")
    return Budget(calls=int(calls))
