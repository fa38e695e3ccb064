"""WAIT and WAITAOF: what has been acknowledged is on a replica, or on the disk.

Both speak of what their own connection wrote. So the token's key is touched on that connection first, which is a write
that comes after the commit; and a server that does not know the token tells that the commit is not there.
"""

from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from ted_memory.settings import Durability
from ted_memory.storage.addresses import Client

WAIT = 1000  # milliseconds; less than a try of the commit client may take


async def confirm(client: Client, key: str, ttl: int, durability: Durability) -> bool:
    """Tell whether all up to now is as durable as asked for.

    Raises:
        RedisConnectionError: the key is gone: what it stands for is not there (any more), and must be done again.
    """
    touched, reached = await _together(client, key, [("PEXPIRE", key, ttl), _command(durability, WAIT)])
    if not touched:
        raise RedisConnectionError("the commit was lost in a failover or a restart")
    count = reached[0] if isinstance(reached, list) else reached
    return int(count) >= 1


async def missing(client: Client, key: str, durability: Durability) -> str:
    """Return why the server cannot do what is asked for, or "". Writes nothing."""
    try:
        await _together(client, key, [_command(durability, 1)])
    except ResponseError as error:
        return str(error)
    return ""


def _command(durability: Durability, milliseconds: int) -> tuple[Any, ...]:
    return ("WAITAOF", 1, 0, milliseconds) if durability == "fsync" else ("WAIT", 1, milliseconds)


async def _together(client: Client, key: str, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Send commands over one connection to the server that holds the key; return the answers."""
    if not isinstance(client, RedisCluster):
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute())
    await client.initialize()
    node = client.get_node_from_key(key)
    if node is None:
        raise RedisConnectionError("no node of the cluster serves this namespace now")
    connection = node.acquire_connection()
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_packed_command(connection.pack_commands(commands))
        answers = []
        for _ in commands:
            answers.append(await connection.read_response())
        return answers
    except BaseException:
        await connection.disconnect()  # what was not read must not be taken for the answer to something else
        raise
    finally:
        node.release(connection)
