"""What a queue says after a learner has run: helpers for tests."""

from typing import Any

from ted_memory import TedMemory
from ted_memory.episodes import Traffic

CHEAP: dict[str, Any] = {"trust": "always", "rollouts": 1, "verify_calls": 0}


async def traffic_of(memory: TedMemory) -> Traffic:
    return await memory.store.episodes.traffic(memory.namespace)


def check_nothing_held(traffic: Traffic) -> None:
    assert (traffic.claimed, traffic.dead) == (0, 0), f"something is still held: {traffic}"
