"""Forgetting a subject's traffic on Redis and Valkey.

There is no index by person, so all of it is looked through, by the page.
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, cast

from redis.exceptions import ResponseError

from ted_memory.episodes import Erased, Subject
from ted_memory.errors import CorruptData, StoreError
from ted_memory.storage.redis import codec, scripts
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import WithRetries, all_answers, hashes
from ted_memory.storage.redis.run_record import RunRecord
from ted_memory.storage.redis.sealing import Seal

REWRITE_TRIES = 600
REWRITE_WAIT = 0.05  # seconds
PAGE = 200  # keys, or episodes, that are looked at in one round trip


async def erase(with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject) -> Erased:
    """Forget a subject's episodes, run records, feedback and counts."""
    episodes = await _episodes(with_retries, seal, keys, subject)
    await with_retries(lambda client: scripts.erase(client, keys, list(episodes)))
    runs, words = await _erase_records(with_retries, seal, keys, subject)
    if subject.kind == "principal":
        counts = [f"e:{subject.name}", f"o:{subject.name}"]
        async for names in _names(with_retries, keys.rate("*")):
            await with_retries(partial(_delete, [], dict.fromkeys(names, counts)))
    runs.update(episodes.values())
    return Erased(episodes=len(episodes), runs=tuple(sorted(runs)), words=words)


async def _erase_records(
    with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject
) -> tuple[set[str], int]:
    """Forget the records of a subject's runs, and what it said of others' runs.

    Gives the runs, and how many words of feedback went, on them and on others'.
    """
    runs, words = set[str](), 0
    async for page in _records(with_retries, keys):
        own, said = list[str](), dict[str, list[str]]()
        for name, record in page.items():
            if _owns(subject, record):
                own.append(name)
                runs.add(record.run_id)
                words += len(record.feedback_fields)
            elif subject.kind == "principal":
                said[name] = record.fields_said_by(subject.name, seal)
                words += len(said[name])
        await with_retries(partial(_delete, own, said))
    return runs, words


async def runs_of(
    with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject
) -> frozenset[str]:
    """Find the ids of a subject's runs that wait or are known still."""
    if subject.kind == "run":
        return frozenset({subject.name})
    waiting = (await _episodes(with_retries, seal, keys, subject)).values()
    found = set(waiting)
    async for page in _records(with_retries, keys):
        found.update(record.run_id for record in page.values() if _owns(subject, record))
    return frozenset(found)


async def _records(with_retries: WithRetries, keys: Keys) -> AsyncIterator[dict[str, RunRecord]]:
    """Give the records of all runs by their keys, a page at a time."""
    begin = keys.run("")
    async for names in _names(with_retries, keys.run("*")):
        stored = await with_retries(partial(hashes, names))
        yield {
            name: RunRecord(name.removeprefix(begin), fields)
            for name, fields in zip(names, stored, strict=True)
        }


def _owns(subject: Subject, record: RunRecord) -> bool:
    return subject.owns_record(record.run_id, record.principal, record.unit)


async def drop_all(with_retries: WithRetries, keys: Keys) -> None:
    """Delete every key of a namespace."""
    async for names in _names(with_retries, keys.any_key):
        await with_retries(partial(_delete_keys, names))


async def staging_with(
    with_retries: WithRetries,
    seal: Seal,
    namespace: str,
    named: Collection[str],
    runs: Collection[str],
) -> set[str]:
    """Find the staging sets that name one of these, or worked on one of these runs."""
    quoted = _as_json(named)
    samples = {f"sample:{run}" for run in runs}
    found = set()
    for staging, names in (await _staging_sets(with_retries, namespace)).items():
        for stored in await with_retries(partial(hashes, names)):
            texts = _opened(seal, list(stored.values()))
            if samples & stored.keys() or _names_any(texts, quoted):
                found.add(staging)
    return found


async def _staging_sets(with_retries: WithRetries, namespace: str) -> dict[str, list[str]]:
    """Find the keys of staging sets in which a source or a run may be named, by set."""
    found = defaultdict[str, list[str]](list)
    async for names in _names(with_retries, Keys(f"{namespace}~*").any_key):
        for name in names:
            staging, _, kind = name.removeprefix("ted:{").partition("}:")
            if kind in {"progress", "experiences", "log"}:
                found[staging].append(name)
    return found


def _as_json(names: Collection[str]) -> set[str]:
    """Write names as whole strings of JSON, with letters beyond ASCII as they are, and without."""
    as_they_are = {json.dumps(name, ensure_ascii=False) for name in names}
    return as_they_are | {json.dumps(name) for name in names}


def _names_any(texts: Sequence[str], quoted: Collection[str]) -> bool:
    return any(name in text for text in texts for name in quoted)


async def rewrite_log(client: Client) -> None:
    """Have a server of ours write its append-only file anew, and wait until the old one is gone.

    Raises:
        StoreError: it did not come to that in time, or the disk is full.
    """
    begun = False
    for _ in range(REWRITE_TRIES):
        told = await client.info("persistence")
        is_busy = told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]
        if begun and not is_busy:
            if told["aof_last_bgrewrite_status"] == "ok":
                return
            break
        if not is_busy:
            # another one began just now: ours comes after it
            with contextlib.suppress(ResponseError):
                await client.bgrewriteaof()
                begun = True
        await asyncio.sleep(REWRITE_WAIT)
    raise StoreError(
        "the server's file of changes was not rewritten: until it is, it may hold what was "
        "deleted. Is its disk full? All else is done; call it again"
    )


async def _episodes(
    with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject
) -> dict[str, str]:
    """Find the subject's episodes: the ids of their runs, by seq."""
    found, cursor = {}, 0
    while True:
        cursor, page = await with_retries(partial(_page, keys.episodes, cursor))
        for seq, stored in page.items():
            # what is no episode has no owner: whoever claims it makes a dead letter of it
            with contextlib.suppress(CorruptData):
                episode = codec.decode_episode(seal.open(stored.partition("|")[2]))
                if subject.owns(episode):
                    found[seq] = episode.run_id
        if cursor == 0:
            return found


async def _names(with_retries: WithRetries, pattern: str) -> AsyncIterator[list[str]]:
    """Give the names of all keys that match, by the page."""
    found = await with_retries(partial(_scanned, pattern))
    for first in range(0, len(found), PAGE):
        yield found[first : first + PAGE]


async def _scanned(pattern: str, client: Client) -> list[str]:
    # of a cluster, whose cursors are several, the client goes through all nodes
    return [name async for name in client.scan_iter(match=pattern, count=1000)]


def _opened(seal: Seal, stored: Sequence[str]) -> list[str]:
    """Open the texts that can be read, and leave out the others."""
    found = []
    for text in stored:
        with contextlib.suppress(CorruptData):
            found.append(seal.open(text))
    return found


def _page(name: str, cursor: int, client: Client) -> Awaitable[tuple[int, Mapping[str, str]]]:
    return cast(Awaitable[tuple[int, Mapping[str, str]]], client.hscan(name, cursor, count=PAGE))


def _delete_keys(names: Sequence[str], client: Client) -> Awaitable[Any]:
    return cast(Awaitable[Any], client.delete(*names))


async def _delete(
    names: Sequence[str], fields: Mapping[str, Sequence[str]], client: Client
) -> None:
    """Delete keys, and fields of others, which all lie in one slot, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.delete(name)  # one by one: a slot that is on its way refuses several keys
    for name, gone in fields.items():
        if gone:
            pipeline.hdel(name, *gone)
    await all_answers(pipeline)
