"""How the parts of the Redis store make their calls."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from ted_memory.storage.redis.addresses import Client

T = TypeVar("T")


class WithRetries(Protocol):
    """How a call is made: again where that may help, with its errors translated."""

    async def __call__(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """Return what the call gives."""
        ...


async def hashes(names: Sequence[str], client: Client) -> list[dict[str, str]]:
    """Read whole hashes in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hgetall(name)
    found: list[dict[str, str]] = await pipeline.execute()
    return found
