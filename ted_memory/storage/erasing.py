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
from ted_memory.storage import codec, scripts
from ted_memory.storage.addresses import Client
from ted_memory.storage.keys import Keys
from ted_memory.storage.patiently import Patiently, hashes
from ted_memory.storage.sealing import Seal

REWRITE_TRIES = 600
REWRITE_WAIT = 0.05  # seconds
PAGE = 200  # keys, or episodes, that are looked at in one round trip


async def erase(patiently: Patiently, seal: Seal, keys: Keys, subject: Subject) -> Erased:
    """Forget a subject's episodes, run records, feedback and counts."""
    episodes = await _episodes(patiently, seal, keys, subject)
    if episodes:
        await patiently(lambda client: scripts.erase(client, keys, list(episodes)))
    runs, words = set(episodes.values()), 0
    async for names in _names(patiently, keys.run("*")):
        records = await patiently(partial(hashes, names))
        for name, record in zip(names, records, strict=True):
            run_id = name.removeprefix(keys.run(""))
            if subject.owns_record(run_id, record.get("principal", ""), record.get("unit", "")):
                runs.add(run_id)
                words += sum(_is_feedback(field) for field in record)
                await patiently(partial(_delete, [name]))
            elif said := [field for field in record if _is_said_by(subject, seal, field, record[field])]:
                words += len(said)
                await patiently(partial(_delete_fields, name, said))
    if subject.kind == "principal":
        async for names in _names(patiently, keys.rate("*")):
            for name in names:
                await patiently(partial(_delete_fields, name, [f"e:{subject.name}", f"o:{subject.name}"]))
    return Erased(episodes=len(episodes), runs=tuple(sorted(runs)), words=words)


async def drop_all(patiently: Patiently, keys: Keys) -> None:
    """Delete every key of a namespace."""
    async for names in _names(patiently, keys.any_key):
        await patiently(partial(_delete, names))


async def staging_with(patiently: Patiently, seal: Seal, namespace: str, marks: Collection[str]) -> set[str]:
    """Return the staging sets of a namespace in which one of these names stands."""
    # as our JSON has it, with letters beyond ASCII as they are, and without
    written = {json.dumps(mark, ensure_ascii=ascii_only)[1:-1] for mark in marks for ascii_only in (False, True)}
    found = set()
    async for names in _names(patiently, Keys(f"{namespace}~*").any_key):
        for name in names:
            staging, _, kind = name.removeprefix("ted:{").partition("}:")
            if staging in found or kind not in {"progress", "experiences", "log"}:
                continue
            [texts] = await patiently(partial(hashes, [name]))
            if any(mark in text for pair in texts.items() for text in _opened(seal, pair) for mark in written):
                found.add(staging)
    return found


async def rewrite_log(client: Client) -> None:
    """Have a server of ours write its append-only file anew, and wait until the old one is gone."""
    with contextlib.suppress(ResponseError):  # one is under way: it began before, and another one follows it
        await client.bgrewriteaof()
    for _ in range(REWRITE_TRIES):
        told = await client.info("persistence")
        if not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]:
            return
        await asyncio.sleep(REWRITE_WAIT)
    raise StoreError(
        "the server's file of changes was not rewritten in time: until it is, it may hold what was deleted. All else "
        "is done; call it again"
    )


async def _episodes(patiently: Patiently, seal: Seal, keys: Keys, subject: Subject) -> dict[str, str]:
    """Return the subject's episodes, by seq their run's id."""
    found, cursor = {}, 0
    while True:
        cursor, page = await patiently(partial(_page, keys.episodes, cursor))
        for seq, stored in page.items():
            # what is no episode has no owner: whoever claims it makes a dead letter of it
            with contextlib.suppress(CorruptData):
                episode = codec.decode_episode(seal.open(stored.partition("|")[2]))
                if subject.owns(episode):
                    found[seq] = episode.run_id
        if cursor == 0:
            return found


async def _names(patiently: Patiently, pattern: str) -> AsyncIterator[list[str]]:
    """Give the names of all keys that match, by the page."""
    found = await patiently(partial(_scanned, pattern))
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
