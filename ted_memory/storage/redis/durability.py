"""WAIT and WAITAOF: what has been acknowledged is on a replica, or on the disk.

Both speak of what their own connection wrote. So the token's key is touched on that connection
first, which is a write that comes after the commit; and a server that does not know the token tells
that the commit is not there.
"""

import asyncio
from typing import Any

from redis.asyncio import RedisCluster, SentinelConnectionPool
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from ted_memory.settings import Durability
from ted_memory.storage.redis.addresses import Client

# answers that say something about where we are or who we are, not about what the server can do
_ELSEWHERE = (AskError, ClusterDownError, ReadOnlyError, NoPermissionError)

ASK = 0.5  # seconds for a Sentinel to say who the primary is


async def confirm(client: Client, key: str, ttl: int, durability: Durability, within: int) -> bool:
    """Tell whether all up to now is as durable as asked for, after so many milliseconds at most.

    Raises:
        RedisConnectionError: the key is gone: what it stands for is not there (any more), and must
            be done again. Or Sentinel is electing another primary: a replica that still follows the
            old one is no proof.
    """
    wait = ("WAITAOF", 1, 0, within) if durability == "fsync" else ("WAIT", 1, within)
    try:
        touched, reached = await _together(client, key, [("PEXPIRE", key, ttl), wait])
    except _ELSEWHERE:
        raise
    except ResponseError:
        # its appendonly was switched off meanwhile: the commit is there, and not on the disk
        return False
    if not touched:
        raise RedisConnectionError("the commit was lost in a failover or a restart")
    count = reached[0] if isinstance(reached, list) else reached
    return int(count) >= 1


async def lacks_fsync(client: Client, key: str) -> str:
    """Tell why the server cannot wait for its disk, or "". Writes nothing."""
    try:
        await _together(client, key, [("WAITAOF", 1, 0, 1)])
    except _ELSEWHERE:
        raise
    except ResponseError as error:
        return str(error)
    return ""


async def _together(client: Client, key: str, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Send commands over one connection to the server that holds the key; gives the answers."""
    if isinstance(client, RedisCluster):
        await client.initialize()
        node = client.get_node_from_key(key)
        if node is None:
            raise RedisConnectionError("no node of the cluster serves this namespace now")
        connection = node.acquire_connection()
        try:
            return await _over(connection, commands)
        finally:
            node.release(connection)
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        answers = await _over(connection, commands)
        if isinstance(pool, SentinelConnectionPool):
            await _still_primary(pool, connection)
        return answers
    finally:
        await pool.release(connection)


async def _over(connection: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    try:
        await connection.connect()
        await connection.send_packed_command(connection.pack_commands(commands))
        answers = [await connection.read_response() for _ in commands]
    except BaseException:
        # what was not read must not be taken for the answer to something else
        await connection.disconnect()
        raise
    return answers


async def _still_primary(pool: SentinelConnectionPool, connection: Any) -> None:
    """Make sure that most Sentinels take the server that answered for the primary.

    None of them may be replacing it. A primary that was frozen, and replaced meanwhile, answers
    again when it thaws; so may a replica that still follows it. What both have confirmed is thrown
    away a moment later.
    """

    async def ask(sentinel: Any) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ASK):
                return dict(await sentinel.execute_command("SENTINEL", "MASTER", pool.service_name))
        except (RedisError, OSError, TimeoutError):
            return None

    def agrees(state: dict[str, Any]) -> bool:
        replaced = state.get("is_odown") or "failover_in_progress" in str(state.get("flags"))
        return not replaced and (state["ip"], int(state["port"])) == (
            connection.host,
            int(connection.port),
        )

    sentinels = pool.sentinel_manager.sentinels
    states = [state for state in await asyncio.gather(*map(ask, sentinels)) if state]
    if 2 * len(states) <= len(sentinels) or not all(map(agrees, states)):
        await connection.disconnect()  # the next one asks Sentinel where to go
        raise RedisConnectionError("a failover is under way")
