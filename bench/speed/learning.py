"""A learner whose models answer at once: how many episodes a second it settles.

Beside it a task queue on Redis does nothing but write a key for each task.
"""

import json
import time
from typing import Any

from bench.figures import Figure, Measured
from bench.peers import peers
from ted_memory import open_memory
from ted_memory.episodes import Episode
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.testing import ScriptedChatModel, asked_for_edits

TITLE = "Learning from traffic"
EPISODES = 400
ROOMY: dict[str, Any] = {
    "max_proposed": 10**5,
    "rate_limit": 10**6,
    "max_episodes": 10**6,
    "buffer_episodes": 10**6,
}


async def measure(url: str) -> list[Measured]:
    """Measure episodes that lead to a critique, and those that there is nothing to learn from."""
    peer = peers("task_queue")
    figures: list[Measured] = []
    for name, score, part in (("with a critique", 0.0, 0.15), ("nothing to learn", 1.0, 0.5)):
        rate, cpu = await _settled(url, score)
        figures.append(
            Figure(
                f"episodes settled, {name}",
                rate,
                "/s",
                beside="docket, a task that writes a key" if peer else "",
                theirs=peer.get("docket"),
                at_least=part if peer else None,
                note=f"processor {cpu:,.1f} ms an episode",
            )
        )
    return figures


async def _settled(url: str, score: float) -> tuple[float, float]:
    async with open_memory(url, namespace=f"learn-{score:g}", **ROOMY) as memory:
        for i in range(EPISODES):
            await memory.record(_episode(i))
        await memory.flush()
        for i in range(EPISODES):
            await memory.give_feedback(
                f"run-{i}", score=score, correction="c001" if not score else ""
            )
        learner = Learner(memory, student=_student(), teacher=_teacher())
        began, worked = time.perf_counter(), time.process_time()
        await learner.run(until_empty=True)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    return EPISODES / seconds, cpu / EPISODES * 1000


def _episode(i: int) -> Episode:
    return Episode(
        run_id=f"run-{i}",
        principal=f"p{i % 50}",
        input=(Message(role="user", content=f"Which code does ticket {i} get?"),),
        output=(Message(role="assistant", content="c000"),),
    )


def _student() -> ScriptedChatModel:
    return ScriptedChatModel(script=lambda _: "c000")


def _teacher() -> ScriptedChatModel:
    def says(messages: Any) -> str:
        if not asked_for_edits(messages):
            return "c001"
        edit = {"op": "add", "ids": [], "when": "a ticket", "text": "Look it up in the list."}
        return json.dumps({"reason": "it guessed", "edits": [edit]})

    return ScriptedChatModel(script=says)
