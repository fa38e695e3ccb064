"""The set behind LangGraph's interface of a store, beside LangGraph's own in memory."""

from typing import Any

from langgraph.store.memory import InMemoryStore

from bench.figures import Figure, Measured, middle
from bench.measuring import times
from ted_memory import open_memory
from ted_memory.integrations.store import TedMemoryStore

TITLE = "As a store of LangGraph's"


async def measure(url: str) -> list[Measured]:
    """Measure a put and a get of one of a hundred lessons."""
    settings: dict[str, Any] = {"max_experiences": 10**5, "token_budget": 10**7, "trust": "always"}
    async with open_memory(url, namespace="store", **settings) as memory:
        ours, theirs = TedMemoryStore(memory), InMemoryStore()
        figures: list[Measured] = []
        for name, call in (("aput", _put), ("aget", _get)):
            mine = await times(lambda i: call(ours, i), 500)  # noqa: B023
            peer = await times(lambda i: call(theirs, i), 500)  # noqa: B023
            figures.append(
                Figure(
                    f"TedMemoryStore.{name}",
                    middle(mine),
                    "us",
                    "InMemoryStore, without a server",
                    middle(peer),
                )
            )
    return figures


async def _put(store: TedMemoryStore | InMemoryStore, i: int) -> None:
    await store.aput(("bench",), f"k{i % 100}", {"text": f"Lesson {i}."})


async def _get(store: TedMemoryStore | InMemoryStore, i: int) -> None:
    await store.aget(("bench",), f"k{i % 100}")
