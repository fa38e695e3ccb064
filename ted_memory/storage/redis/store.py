"""The experience store on Redis and Valkey: core commands and a few scripts."""

import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from ted_memory.episodes import Retention
from ted_memory.errors import NotDurable, StoreError, StoreRefused
from ted_memory.findings import Finding
from ted_memory.models import Commit, ExperienceSet, LogEntry, Usage
from ted_memory.protocols import CommitFeed, CommitRequest, VectorStore
from ted_memory.settings import Durability
from ted_memory.storage.redis import codec, durability, erasing, replies, rights, scripts
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.clients import Clients, cancellable
from ted_memory.storage.redis.examining import examine
from ted_memory.storage.redis.failures import ASK_FOR_RIGHTS, in_our_words
from ted_memory.storage.redis.feed import RedisFeed
from ted_memory.storage.redis.keys import NAMESPACES, WITH_TRAFFIC, Keys
from ted_memory.storage.redis.queue import RedisEpisodeQueue
from ted_memory.storage.redis.sealing import Seal
from ted_memory.storage.redis.vectors import RedisVectors

TOKEN_TTL = 7 * 24 * 3600 * 1000  # milliseconds that a token's answer is kept
# ... and that of a commit that settles an episode, of which there are as many as runs: later its
# fence refuses a repeat
SETTLED_TTL = 3600 * 1000
PROGRESS_TTL = 30 * 24 * 3600  # seconds that an unfinished run can be taken up again
LACKS_TOLD = 3  # commands that a user may not use, of those that an error names
BLANKED_AT_ONCE = 100  # entries of the log that are looked at
BLANKED_BYTES = 1_000_000  # of the log that one script replaces: others wait meanwhile
CHANGES_AT_MOST = 256  # versions that a read walks before it sends the whole set instead

# what a client with decode_responses gives; redis-py's types do not say so
Texts = Mapping[str, str]
T = TypeVar("T")


class RedisStore:
    """An `ExperienceStore`.

    Args:
        clients: its connections.
        durable: what each commit waits for.
        kept: how long what was recorded stays.
        seal: closes what people wrote.
    """

    def __init__(
        self,
        clients: Clients,
        durable: Durability = "none",
        kept: Retention | None = None,
        seal: Seal | None = None,
    ) -> None:
        self._clients = clients
        self._durable = durable
        self._seal = seal or Seal()
        self._listed: set[str] = set()
        self.episodes = RedisEpisodeQueue(self._with_retries, kept, self._seal)

    async def read(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        return await self._with_retries(lambda client: self._read(client, namespace, known))

    async def read_fast(
        self, namespace: str, known: ExperienceSet | None = None
    ) -> ExperienceSet | None:
        with in_our_words(self._clients.where):
            return await cancellable(self._read(self._clients.get().fast, namespace, known))

    async def _read(
        self, client: Client, namespace: str, known: ExperienceSet | None
    ) -> ExperienceSet | None:
        epoch, version, stamp = (
            ("", 0, "") if known is None else (known.epoch, known.version, known.stamp)
        )
        reply = await scripts.read(
            client, Keys(namespace), epoch, version, stamp, most=CHANGES_AT_MOST
        )
        return await replies.decode_set(namespace, known, reply)

    def feed(self, namespace: str) -> CommitFeed:
        return RedisFeed(self._clients, Keys(namespace).commits)

    def vectors(self, namespace: str) -> VectorStore:
        return RedisVectors(self._with_retries, namespace)

    async def commit(self, namespace: str, request: CommitRequest) -> Commit:
        within = int(self._clients.get().durable_within * 1000)
        keys, told = Keys(namespace), codec.encode_told(request)
        encoded = codec.encode_request(request, told, secrets.token_hex(8), self._seal)
        await self._prove_durability(namespace)
        await self._list(namespace)
        day = await self.episodes.clock.today(namespace) if request.settle else ""
        ttl = SETTLED_TTL if request.settle else TOKEN_TTL

        async def once(client: Client) -> tuple[int, str, bool]:
            repeated, answer = await scripts.commit(
                client, keys, request.token, encoded, ttl=ttl, ends=_ends(namespace), day=day
            )
            applied = keys.applied(request.token)
            kept = self._durable == "none" or await durability.confirm(
                client, applied, ttl, self._durable, within
            )
            return repeated, answer, kept

        repeated, answer, kept = await self._with_retries(once)
        commit = replies.decode_answer(
            answer, [c.edit for c in request.changes], told, repeated=bool(repeated)
        )
        if commit.version == 1:
            # the data may have been lost since, and the list with them
            await self._list(namespace, again=True)
        if not kept:
            lacking = (
                "no replica has" if self._durable == "replica" else "the server's disk has not"
            )
            raise NotDurable(
                f"version {commit.version} of {namespace!r} is written, but {lacking} confirmed it "
                f"within {within} ms (durability={self._durable}); it can be lost in a failover. "
                "Send the same token again to wait again",
                commit,
            )
        return commit

    async def _list(self, namespace: str, *, again: bool = False) -> None:
        # before the first commit: a set that nobody finds would be worse than a name without a set
        if "~" not in namespace and (again or namespace not in self._listed):
            await self._with_retries(lambda client: client.sadd(NAMESPACES, namespace))
            self._listed.add(namespace)

    async def prove(self, namespace: str, *, to_learn: bool = False) -> None:
        await self._prove_durability(namespace)
        if not to_learn:
            return
        lacks = await self._with_retries(
            lambda client: rights.lacking(client, namespace, self._durable)
        )
        if lacks:
            raise StoreRefused(
                f"the server at {self._clients.where} refuses its user {len(lacks)} of the "
                f"commands that a learner of {namespace!r} needs "
                f"({', '.join(lacks[:LACKS_TOLD])}); nothing was asked or written. {ASK_FOR_RIGHTS}"
            )

    async def _prove_durability(self, namespace: str) -> None:
        clients, key = self._clients.get(), Keys(namespace).meta
        if self._durable != "fsync" or clients.syncs.is_set():  # WAIT is everywhere
            return
        reason = await self._with_retries(lambda client: durability.lacks_fsync(client, key))
        if reason:
            raise StoreError(
                f"the server at {self._clients.where} cannot give durability=fsync ({reason}); "
                "nothing was written. It needs Redis 7.2 or Valkey, with appendonly yes"
            )
        clients.syncs.set()

    async def credit(
        self, namespace: str, usage: Mapping[str, Usage], token: str, *, kept: float = 1.0
    ) -> bool:
        additions = json.dumps(codec.encode_usages(usage))
        took_effect = await self._with_retries(
            lambda client: scripts.credit(
                client,
                Keys(namespace),
                token,
                additions,
                kept=kept,
                ttl=TOKEN_TTL,
                ends=_ends(namespace),
            )
        )
        return bool(took_effect)

    async def usage(self, namespace: str) -> Mapping[str, Usage]:
        stored = await self._with_retries(
            lambda client: _texts(client.hgetall(Keys(namespace).usage))
        )
        return codec.decode_usages(stored.items())

    async def log(self, namespace: str, versions: Sequence[int]) -> tuple[LogEntry, ...]:
        raw = await self._raw_log(namespace, versions)
        return tuple(codec.decode_log_entry(entry) for entry in raw if entry is not None)

    async def _raw_log(self, namespace: str, versions: Sequence[int]) -> list[str | None]:
        if not versions:
            return []
        names = [str(version) for version in versions]

        def ask(client: Client) -> Awaitable[list[str | None]]:
            return cast(Awaitable[list[str | None]], client.hmget(Keys(namespace).log, names))

        return await self._with_retries(ask)

    async def tombstone(self, namespace: str, *sources: str) -> None:
        if not sources:
            return
        await self._with_retries(
            lambda client: client.sadd(Keys(namespace).purged, *map(codec.digest, sources))
        )

    async def tombstoned(self, namespace: str, sources: Iterable[str]) -> frozenset[str]:
        asked = list(sources)
        if not asked:
            return frozenset()
        found = await self._with_retries(
            lambda client: cast(
                Awaitable[list[int]],
                client.smismember(Keys(namespace).purged, [*map(codec.digest, asked)]),
            )
        )
        return frozenset(source for source, is_in in zip(asked, found, strict=True) if is_in)

    async def blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> None:
        left = list(versions)
        while left:
            first, rest = left[:BLANKED_AT_ONCE], left[BLANKED_AT_ONCE:]
            left = await self._blank(namespace, first, change) + rest

    async def _blank(
        self, namespace: str, versions: Sequence[int], change: Callable[[LogEntry], LogEntry]
    ) -> list[int]:
        """Blank entries; gives those that somebody else blanked meanwhile, to look at again."""
        raws = await self._raw_log(namespace, versions)
        replaced = []
        for version, raw in zip(versions, raws, strict=True):
            if raw is None:
                continue
            entry = codec.decode_log_entry(raw)
            blanked = change(entry)
            if blanked != entry:
                replaced.append((version, raw, codec.encode_log_entry(blanked, raw)))
        again = list[int]()
        for some in _in_parts(replaced):
            replaces = partial(scripts.blank, keys=Keys(namespace), entries=some)
            again += await self._with_retries(replaces)
        return again

    async def load_progress(self, namespace: str) -> Mapping[str, Mapping[str, Any]]:
        stored = await self._with_retries(
            lambda client: _texts(client.hgetall(Keys(namespace).progress))
        )
        return {
            key: codec.decode_record(key, self._seal.open(record)) for key, record in stored.items()
        }

    async def save_progress(self, namespace: str, key: str, record: Mapping[str, Any]) -> None:
        encoded = self._seal.close(json.dumps(record))
        await self._with_retries(
            lambda client: scripts.keep(client, Keys(namespace), key, encoded, ttl=PROGRESS_TTL)
        )

    async def hold(self, namespace: str, name: str, holder: str, seconds: float) -> bool:
        key, ttl = Keys(namespace).lease(name), int(seconds * 1000)
        return bool(
            await self._with_retries(lambda client: scripts.hold(client, key, holder, ttl=ttl))
        )

    async def namespaces(self) -> tuple[str, ...]:
        names = await self._with_retries(
            lambda client: cast(Awaitable[set[str]], client.smembers(NAMESPACES))
        )
        return tuple(sorted(names))

    async def drop(self, namespace: str) -> None:
        keys = Keys(namespace)
        if "~" in namespace:  # a run has nothing else, and its learner may not look for keys
            names = [*keys.permanent, keys.progress]
            await self._with_retries(lambda client: client.delete(*names))
        else:
            for every in (keys, Keys(f"{namespace}~*")):  # what its runs of distill are at, too
                await erasing.drop_all(self._with_retries, every)
            await self._with_retries(lambda client: client.srem(NAMESPACES, namespace))
            await self._with_retries(lambda client: client.srem(WITH_TRAFFIC, namespace))
            self.episodes.forget(namespace)
            await self._with_retries(lambda client: scripts.tell_dropped(client, keys))
        self._listed.discard(namespace)

    async def examine(self, namespace: str) -> Sequence[Finding]:
        with in_our_words(self._clients.where):
            return await examine(self._clients, Keys(namespace).meta)

    async def drop_runs(
        self, namespace: str, sources: Collection[str], runs: Collection[str]
    ) -> int:
        found = await erasing.staging_with(
            self._with_retries, self._seal, namespace, (*sources, *runs), runs
        )
        for staging in found:
            await self.drop(staging)
        return len(found)

    async def compact(self) -> bool:
        if self._clients.server is None:
            return False
        await self._with_retries(erasing.rewrite_log)
        return True

    async def aclose(self) -> None:
        await self._clients.aclose()

    async def _with_retries(self, call: Callable[[Client], Awaitable[T]]) -> T:
        with in_our_words(self._clients.where):
            return await self._clients.get().with_retries(call)


def _in_parts(
    replaced: Sequence[tuple[int, str, str]],
) -> Iterator[list[tuple[int, str, str]]]:
    """Yield entries of the log in parts of `BLANKED_BYTES` at most, or of one entry."""
    part, size = list[tuple[int, str, str]](), 0
    for entry in replaced:
        if part and size + len(entry[1]) > BLANKED_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry[1])
    if part:
        yield part


def _ends(namespace: str) -> int:
    """Tell the milliseconds after which a staging set goes that nobody writes to; else 0."""
    return PROGRESS_TTL * 1000 if "~" in namespace else 0


def _texts(reply: Any) -> Awaitable[Texts]:
    return cast(Awaitable[Texts], reply)
