"""The Lua scripts as typed functions. What each one means stands in the head of its file.

The sources are read at import: no file is touched once an event loop runs.
"""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from ted_memory.storage.keys import Keys


def _source(*names: str) -> str:
    folder = Path(__file__).parent / "lua"
    return "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)


_COMMIT = _source("usage", "commit")
_CREDIT = _source("usage", "credit")
_READ = _source("read")


async def commit(client: Redis, keys: Keys, token: str, request: str, *, ttl: int) -> tuple[int, str]:
    """Apply a commit; return whether its token was used before (0 or 1), and the answer as JSON."""
    names = [keys.meta, keys.experiences, keys.usage, keys.ranking, keys.log, keys.applied(token)]
    repeated, answer = await _run(client, _COMMIT, names, [request, ttl])
    return repeated, answer


async def read(client: Redis, keys: Keys, epoch: str, version: int, *, most: int) -> list[Any]:
    """Read a set; return what `codec.decode_set` takes."""
    names = [keys.meta, keys.experiences, keys.ranking, keys.log]
    reply: list[Any] = await _run(client, _READ, names, [epoch, version, most])
    return reply


async def credit(client: Redis, keys: Keys, token: str, additions: str, *, ttl: int) -> int:
    """Add to usage; return 1 when it took effect, 0 when the token was used before."""
    took_effect: int = await _run(
        client, _CREDIT, [keys.experiences, keys.usage, keys.credited(token)], [ttl, additions]
    )
    return took_effect


async def _run(client: Redis, source: str, keys: list[str], args: list[Any]) -> Any:
    # a Script object loads itself again when the server has lost its script cache
    return await client.register_script(source)(keys=keys, args=args)
