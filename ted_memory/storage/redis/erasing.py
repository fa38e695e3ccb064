"""Forgetting a subject's traffic on Redis and Valkey: there is no index by person, so all of it is looked through."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, cast

from redis.exceptions import ResponseError

from ted_memory.episodes import ANONYMOUS, Erased, Subject
from ted_memory.errors import CorruptData, StoreError
from ted_memory.storage.redis import codec, scripts
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import WithRetries, hashes
from ted_memory.storage.redis.sealing import Seal

REWRITE_TRIES = 600
REWRITE_WAIT = 0.05  # seconds
PAGE = 200  # keys, or episodes, that are looked at in one round trip


async def erase(with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject) -> Erased:
    """Forget a subject's episodes, run records, feedback and counts."""
    episodes = await _episodes(with_retries, seal, keys, subject)
    await with_retries(lambda client: scripts.erase(client, keys, list(episodes)))
    runs, words = set(episodes.values()), 0
    async for name, record in _records(with_retries, keys):
        if _owns(subject, keys, name, record):
            runs.add(_run_of(keys, name))
            words += sum(_is_feedback(field) for field in record)
            await with_retries(partial(_delete, [name]))
        elif said := [
            field for field in record if _is_said_by(subject, seal, field, record[field])
        ]:
            words += len(said)
            await with_retries(partial(_delete_fields, name, said))
    if subject.kind == "principal":
        async for names in _names(with_retries, keys.rate("*")):
            for name in names:
                await with_retries(
                    partial(_delete_fields, name, [f"e:{subject.name}", f"o:{subject.name}"])
                )
    return Erased(episodes=len(episodes), runs=tuple(sorted(runs)), words=words)


async def runs_of(
    with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject
) -> frozenset[str]:
    """Return the ids of a subject's runs that wait or are known still."""
    if subject.kind == "run":
        return frozenset({subject.name})
    waiting = (await _episodes(with_retries, seal, keys, subject)).values()
    known = [
        _run_of(keys, name)
        async for name, record in _records(with_retries, keys)
        if _owns(subject, keys, name, record)
    ]
    return frozenset((*waiting, *known))


async def _records(
    with_retries: WithRetries, keys: Keys
) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Give the records of all runs, with their keys."""
    async for names in _names(with_retries, keys.run("*")):
        for name, record in zip(names, await with_retries(partial(hashes, names)), strict=True):
            yield name, record


def _run_of(keys: Keys, name: str) -> str:
    return name.removeprefix(keys.run(""))


def _owns(subject: Subject, keys: Keys, name: str, record: Mapping[str, str]) -> bool:
    return subject.owns_record(
        _run_of(keys, name), record.get("principal", ""), record.get("unit", "")
    )


async def drop_all(with_retries: WithRetries, keys: Keys) -> None:
    """Delete every key of a namespace."""
    async for names in _names(with_retries, keys.any_key):
        await with_retries(partial(_delete, names))


async def staging_with(
    with_retries: WithRetries,
    seal: Seal,
    namespace: str,
    named: Collection[str],
    runs: Collection[str],
) -> set[str]:
    """Return the staging sets of a namespace in which one of these is named, or that worked on one of these runs."""
    # whole strings of JSON, with letters beyond ASCII as they are, and without
    written = {
        json.dumps(name, ensure_ascii=ascii_only) for name in named for ascii_only in (False, True)
    }
    fields = {f"sample:{run}" for run in runs}
    found = set()
    async for names in _names(with_retries, Keys(f"{namespace}~*").any_key):
        for name in names:
            staging, _, kind = name.removeprefix("ted:{").partition("}:")
            if staging in found or kind not in {"progress", "experiences", "log"}:
                continue
            [texts] = await with_retries(partial(hashes, [name]))
            told = _opened(seal, list(texts.values()))
            if fields & texts.keys() or any(one in text for text in told for one in written):
                found.add(staging)
    return found


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
        "the server's file of changes was not rewritten: until it is, it may hold what was deleted. Is its disk full? "
        "All else is done; call it again"
    )


async def _episodes(
    with_retries: WithRetries, seal: Seal, keys: Keys, subject: Subject
) -> dict[str, str]:
    """Return the subject's episodes, by seq their run's id."""
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
    """Return those texts that can be read."""
    found = []
    for text in stored:
        with contextlib.suppress(CorruptData):
            found.append(seal.open(text))
    return found


def _page(name: str, cursor: int, client: Client) -> Awaitable[tuple[int, Mapping[str, str]]]:
    return cast(Awaitable[tuple[int, Mapping[str, str]]], client.hscan(name, cursor, count=PAGE))


def _delete(names: Sequence[str], client: Client) -> Awaitable[Any]:
    return cast(Awaitable[Any], client.delete(*names))


def _delete_fields(name: str, fields: Sequence[str], client: Client) -> Awaitable[Any]:
    return cast(Awaitable[Any], client.hdel(name, *fields))


def _is_feedback(field: str) -> bool:
    return field[:1] == "f" and field[1:].isdigit()


def _is_said_by(subject: Subject, seal: Seal, field: str, stored: str) -> bool:
    """Tell whether a field of a run's record is feedback of a principal who is to be forgotten."""
    if subject.kind != "principal" or not _is_feedback(field):
        return False
    with contextlib.suppress(ValueError, AttributeError, CorruptData):
        return bool(json.loads(seal.open(stored)).get("principal", ANONYMOUS) == subject.name)
    return False
