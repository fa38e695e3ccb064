"""Live traffic in the world of `tests.distill.scripts`: agents that ask for codes, and principals who complain."""

from collections.abc import Iterable
from typing import Any

from ted_memory import TedMemory
from ted_memory.episodes import Episode
from ted_memory.models import Message
from tests.distill.scripts import CODES

WRONG = "no idea"


def episode(thing: str, i: int = 0, *, principal: str = "anna", answer: str = WRONG, **fields: Any) -> Episode:
    """One run in which an agent was asked for the code of a thing."""
    given = {"run_id": f"{thing}-{principal}-{i}", "principal": principal, **fields}
    return Episode(
        input=(Message(role="user", content=f"What is the code of {thing}?"),),
        output=(Message(role="assistant", content=answer),),
        **given,
    )


async def complain(memory: TedMemory, episodes: Iterable[Episode]) -> None:
    """Record runs, and say of each what would have been right."""
    for one in episodes:
        await memory.record(one)
    await memory.flush()
    for one in episodes:
        thing = next(thing for thing in CODES if thing in one.question)
        await memory.give_feedback(one.run_id, score=0.0, correction=CODES[thing], principal=one.principal)
