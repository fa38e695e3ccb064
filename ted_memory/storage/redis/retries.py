"""How the parts of the Redis store make their calls: retried, and several to one slot at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    ReadOnlyError,
    RedisClusterException,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ted_memory.storage.redis.addresses import Client

T = TypeVar("T")

# what passes by itself: the network, a restart, a failover, a slot that moves
PASSING: tuple[Any, ...] = (
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
    ReadOnlyError,
    ClusterDownError,
    ClusterError,
    TryAgainError,
    AskError,
    RedisClusterException,
)


class WithRetries(Protocol):
    """How a call is made: again where that may help, with its errors translated."""

    async def __call__(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """Give what the call gives."""
        ...


async def all_answers(pipeline: Any) -> list[Any]:
    """Send a pipeline, and give the answers to its commands.

    Raises:
        RedisError: the first that a command was answered with, as the server said it. redis-py's
            own way names the command with its arguments, among them ids of people.
    """
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def hashes(names: Sequence[str], client: Client) -> list[dict[str, str]]:
    """Read whole hashes, which lie in one slot, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hgetall(name)
    return await all_answers(pipeline)


async def field_of_each(names: Sequence[str], field: str, client: Client) -> list[str | None]:
    """Read one field of several hashes, which lie in one slot, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.hget(name, field)
    return await all_answers(pipeline)


async def fields_of(name: str, fields: Sequence[str], client: Client) -> list[str | None]:
    """Read fields of a hash; nothing is asked where there are none to read."""
    if not fields:
        return []
    return await cast(Awaitable[list[str | None]], client.hmget(name, list(fields)))
