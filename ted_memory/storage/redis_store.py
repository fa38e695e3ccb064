"""The experience store on Redis and Valkey: core commands and three scripts."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from ted_memory.errors import StoreError, StoreUnavailable
from ted_memory.models import Commit, ExperienceSet, LogEntry, Usage
from ted_memory.protocols import CommitRequest
from ted_memory.storage import codec, scripts
from ted_memory.storage.clients import Clients
from ted_memory.storage.keys import NAMESPACES, Keys

TOKEN_TTL = 7 * 24 * 3600 * 1000  # milliseconds that a token's answer is kept
PROGRESS_TTL = 30 * 24 * 3600  # seconds that an unfinished run can be taken up again
CHANGES_AT_MOST = 256  # versions that a read walks before it sends the whole set instead

Texts = Mapping[str, str]  # what a client with decode_responses gives; redis-py's types do not say so


class RedisStore:
    """An `ExperienceStore`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def read(self, namespace: str, known: ExperienceSet | None = None) -> ExperienceSet | None:
        return await self._read(self._clients.get().commit, namespace, known)

    async def read_fast(self, namespace: str, known: ExperienceSet | None = None) -> ExperienceSet | None:
        return await self._read(self._clients.get().fast, namespace, known)

    async def _read(self, client: Redis, namespace: str, known: ExperienceSet | None) -> ExperienceSet | None:
        epoch, version = ("", 0) if known is None else (known.epoch, known.version)
        with self._translated():
            reply = await scripts.read(client, Keys(namespace), epoch, version, most=CHANGES_AT_MOST)
        return codec.decode_set(namespace, known, reply)

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        client = self._clients.get().commit
        encoded = codec.encode_request(request, epoch=secrets.token_hex(8))
        with self._translated():
            repeated, answer = await scripts.commit(client, Keys(namespace), request.token, encoded, ttl=TOKEN_TTL)
        commit = codec.decode_answer(answer, repeated=bool(repeated))
        if commit.version == 1 and "~" not in namespace:
            with self._translated():
                await client.sadd(NAMESPACES, namespace)
        return commit

    async def credit(self, namespace: str, usage: Mapping[str, Usage], token: str) -> bool:
        additions = json.dumps(codec.encode_usages(usage))
        with self._translated():
            took_effect = await scripts.credit(
                self._clients.get().commit, Keys(namespace), token, additions, ttl=TOKEN_TTL
            )
        return bool(took_effect)

    async def usage(self, namespace: str) -> Mapping[str, Usage]:
        with self._translated():
            stored = cast(Texts, await self._clients.get().commit.hgetall(Keys(namespace).usage))
        return codec.decode_usages(stored.items())

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        if not versions:
            return ()
        with self._translated():
            reply = await self._clients.get().commit.hmget(Keys(namespace).log, [str(v) for v in versions])
            entries = cast(list[str | None], reply)
        return tuple(codec.decode_log_entry(raw) for raw in entries if raw is not None)

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        with self._translated():
            stored = cast(Texts, await self._clients.get().commit.hgetall(Keys(namespace).progress))
        return {key: codec.decode_record(key, record) for key, record in stored.items()}

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        name = Keys(namespace).progress
        with self._translated():
            async with self._clients.get().commit.pipeline(transaction=True) as pipeline:
                pipeline.hset(name, key, json.dumps(record))
                pipeline.expire(name, PROGRESS_TTL)
                await pipeline.execute()

    async def namespaces(self) -> tuple[str, ...]:
        with self._translated():
            return tuple(sorted(cast(set[str], await self._clients.get().commit.smembers(NAMESPACES))))

    async def drop(self, namespace: str) -> None:
        keys = Keys(namespace)
        client = self._clients.get().commit
        with self._translated():
            await client.delete(*keys.permanent, keys.progress)
            await client.srem(NAMESPACES, namespace)

    async def aclose(self) -> None:
        await self._clients.aclose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn redis-py's errors into ours, in one sentence."""
        where = self._clients.where
        try:
            yield
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise StoreUnavailable(
                f"the server at {where} refuses us ({error}); nothing was written. Check user and password in the URL"
            ) from error
        except ResponseError as error:
            raise StoreError(f"the server at {where} answered: {error}; nothing was written") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"no answer from the memory at {where} ({_reason(error)}). Is the server running and the URL right? "
                "A commit with the same token may safely be sent again"
            ) from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
