"""The vectors of one set's lessons, in one hash."""

import base64
import binascii
import json
from collections.abc import Awaitable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from pydantic import ValidationError

from ted_memory.errors import CorruptData, reason_of
from ted_memory.protocols import VectorHead
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import WithRetries, all_answers

HEAD = "model"  # the field that is no vector; names of vectors are hexadecimal
AT_ONCE = 500  # vectors that one command carries
SPARE = 64  # vectors of lessons that are gone, beyond which they are looked for


def outdated(names: Collection[str], keep: Collection[str]) -> list[str]:
    """Tell which vectors go: none before they are many, since it takes a look at all of them."""
    if len(names) <= 2 * len(keep) + SPARE:
        return []
    return [name for name in names if name not in keep]


class RedisVectors:
    """A `VectorStore`."""

    def __init__(self, with_retries: WithRetries, namespace: str) -> None:
        self._with_retries = with_retries
        self._key = Keys(namespace).vectors

    async def head(self) -> VectorHead | None:
        raw = await self._ask("HGET", HEAD)
        return None if raw is None else _decode_head(raw)

    async def load(self, names: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            raws = await self._ask("HMGET", *some)
            found.update(
                {name: _decode(name, raw) for name, raw in zip(some, raws, strict=True) if raw}
            )
        return found

    async def save(
        self, head: VectorHead, vectors: Mapping[str, bytes], keep: Collection[str]
    ) -> VectorHead:
        kept = await self._with_retries(lambda client: self._claim_head(client, head))
        if kept != head:
            return kept
        items = [(name, base64.b64encode(vector).decode()) for name, vector in vectors.items()]
        for begin in range(0, len(items), AT_ONCE):
            some = items[begin : begin + AT_ONCE]
            await self._ask("HSET", *chain.from_iterable(some))
        await self._tidy(keep)
        return kept

    async def _claim_head(self, client: Client, head: VectorHead) -> VectorHead:
        """Be the model whose vectors are kept, if there are none; gives whose they are."""
        pipeline = client.pipeline(transaction=False)
        pipeline.hsetnx(self._key, HEAD, json.dumps(head.model_dump()))
        pipeline.hget(self._key, HEAD)
        _, raw = await all_answers(pipeline)
        return head if raw is None else _decode_head(raw)

    async def _tidy(self, keep: Collection[str]) -> None:
        count = await self._ask("HLEN")
        if count - 1 <= 2 * len(keep) + SPARE:
            return
        names = await self._ask("HKEYS")
        gone = outdated([name for name in names if name != HEAD], keep)
        for begin in range(0, len(gone), AT_ONCE):
            await self._ask("HDEL", *gone[begin : begin + AT_ONCE])

    async def drop(self) -> None:
        await self._ask("DEL")

    async def _ask(self, command: str, *args: str) -> Any:
        return await self._with_retries(
            lambda client: cast(Awaitable[Any], client.execute_command(command, self._key, *args))
        )


def _decode_head(raw: str) -> VectorHead:
    try:
        return VectorHead.model_validate_json(raw)
    except ValidationError as error:
        raise _corrupt("the head of the vectors", error) from None


def _decode(name: str, raw: str) -> bytes:
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _corrupt(f"vector {name!r}", error) from None


def _corrupt(what: str, error: Exception) -> CorruptData:
    reason = reason_of(error)[:200]
    return CorruptData(
        f"{what} cannot be read ({reason}); nothing was changed. `await memory.forget_vectors()` "
        "has them made anew"
    )
