"""The Lua scripts as typed functions. What each one means stands in the head of its file.

The sources are read at import: no file is touched once an event loop runs.
"""

import hashlib
import json
import weakref
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from redis.exceptions import NoPermissionError, NoScriptError

from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import all_answers


class NotOurs(Exception):  # noqa: N818
    """Something answered that did not run the script."""


def _source(*names: str) -> str:
    folder = Path(__file__).parent / "lua"
    return "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)


_COMMIT = _source("usage", "episodes", "evidence", "commit")
_CREDIT = _source("usage", "credit")
_READ = _source("read")
_BLANK = _source("blank")
_KEEP = _source("keep")
_LEASE = _source("lease")
_RECORD = _source("episodes", "record")
_FEEDBACK = _source("usage", "episodes", "evidence", "feedback")
_REPLAYED = _source("episodes", "evidence", "replayed")
_KNOWN = _source("episodes", "evidence", "known")
_FORGET_ARCHIVED = _source("episodes", "forget_archived")
_COUNT = _source("count")
_NOW = _source("now")
_CLAIM = _source("episodes", "claim")
_EXTEND_LEASE = _source("episodes", "extend_lease")
_RETURN_CLAIM = _source("episodes", "return_claim")
_DEAD = _source("episodes", "dead")
_ERASE = _source("episodes", "erase")
_LACKING = _source("lacking")
_TELL = _source("tell")
_DIGESTS = {
    source: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    for source in (
        *(_COMMIT, _CREDIT, _READ, _BLANK, _KEEP, _LEASE),
        *(_RECORD, _FEEDBACK, _CLAIM, _EXTEND_LEASE, _RETURN_CLAIM, _DEAD, _ERASE, _COUNT, _NOW),
        *(_REPLAYED, _KNOWN, _FORGET_ARCHIVED, _LACKING, _TELL),
    )
}


_HEAD = [
    "epoch",
    "version",
    "stamp",
    "max_experiences",
    "token_budget",
    "format",
    "log_start",
    "models",
    "presentation",
]
PLAIN_TRIES = 5
_WITHOUT_SCRIPTS: weakref.WeakKeyDictionary[Client, set[str]] = weakref.WeakKeyDictionary()


async def commit(
    client: Client, keys: Keys, token: str, request: str, *, ttl: int, ends: int = 0, day: str = ""
) -> tuple[int, str]:
    """Apply a commit; return whether its token was used before (0 or 1), and the answer as JSON.

    `ends`: milliseconds after which a staging set goes; `day` is for a request that settles an
    episode.
    """
    names = [
        keys.meta,
        keys.experiences,
        keys.usage,
        keys.ranking,
        keys.log,
        keys.purged,
        keys.applied(token),
    ]
    names += [keys.uncommitted, keys.evidence, keys.usage_before]
    if day:
        names += [*keys.of_traffic[:5], keys.spend(day), keys.archive, keys.archived]
    channel = "" if "~" in keys.namespace else keys.commits
    reply = await _run(client, _COMMIT, names, [request, ttl, ends, channel])
    if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], str):
        raise NotOurs(f"a commit was answered with {str(reply)[:40]!r}")
    return reply[0], reply[1]


async def read(
    client: Client, keys: Keys, epoch: str, version: int, stamp: str, *, most: int
) -> list[Any]:
    """Read a set; gives what `replies.decode_set` takes."""
    refused = _WITHOUT_SCRIPTS.setdefault(client, set())
    if keys.namespace not in refused:
        names = [keys.meta, keys.experiences, keys.ranking, keys.log]
        try:
            return _listed(
                await _run(client, _READ, names, [epoch, version, stamp, most], writes=False)
            )
        except NoPermissionError:
            refused.add(keys.namespace)
    return await _read_plainly(client, keys, (epoch, str(version), stamp))


async def _read_plainly(client: Client, keys: Keys, known: tuple[str, str, str]) -> list[Any]:
    """Do the same for a user who may run no script, since a script that never ends stops a server.

    What changed is read whole. Every commit gives the head another version, so a set that has the
    same head before and after it was read is of one piece.
    """
    for _ in range(PLAIN_TRIES):
        head = await _head(client, keys)
        if head[0] is None:
            return ["absent"]
        if tuple(head[:3]) == known:
            return ["same"]
        pipeline = client.pipeline(transaction=False)
        pipeline.hgetall(keys.experiences)
        pipeline.hgetall(keys.ranking)
        experiences, ranking = await all_answers(pipeline)
        if await _head(client, keys) == head:
            return ["all", head, _flat(experiences), _flat(ranking)]
    raise TimeoutError(f"the set changed {PLAIN_TRIES} times while it was read")


async def _head(client: Client, keys: Keys) -> list[str | None]:
    return await cast(Awaitable[list[str | None]], client.hmget(keys.meta, _HEAD))


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


async def credit(
    client: Client, keys: Keys, token: str, additions: str, *, kept: float, ttl: int, ends: int = 0
) -> int:
    """Add to usage; return 1 when it took effect, 0 when the token was used before."""
    names = [keys.uncommitted, keys.experiences, keys.usage, keys.credited(token)]
    took_effect: int = await _run(client, _CREDIT, names, [ttl, additions, kept, ends])
    return took_effect


async def blank(client: Client, keys: Keys, entries: Sequence[tuple[int, str, str]]) -> list[int]:
    """Replace entries of the log, each a version with its old and its new text.

    Gives the versions that are no longer what they were: they stay as they are.
    """
    args = [part for entry in entries for part in entry]
    changed: list[int] = await _run(client, _BLANK, [keys.log], args)
    return changed


async def keep(client: Client, keys: Keys, key: str, record: str, *, ttl: int) -> None:
    """Keep a record of a run, and its staging set as long."""
    names = [keys.progress, *(keys.permanent if "~" in keys.namespace else ())]
    await _run(client, _KEEP, names, [key, record, ttl])


async def hold(client: Client, key: str, holder: str, *, ttl: int) -> int:
    """Hold a lease; return 0 when another one has it."""
    held: int = await _run(client, _LEASE, [key], [holder, ttl])
    return held


async def record(
    client: Client,
    keys: Keys,
    day: str,
    runs: Sequence[str],
    images: Mapping[str, str],
    request: str,
) -> list[Any]:
    """Take in episodes, with images by hash; gives what ``record.lua`` says."""
    names = [
        keys.traffic,
        keys.episodes,
        keys.waiting,
        keys.rate(day),
        *map(keys.run, runs),
        *map(keys.image, images),
    ]
    done: list[Any] = await _run(client, _RECORD, names, [request, *images.values()])
    return done


async def feedback(client: Client, keys: Keys, day: str, run: str, args: Sequence[Any]) -> str:
    """Keep what is said of a run and credit its score; return what became of it."""
    names = [
        keys.run(run),
        keys.waiting,
        keys.uncommitted,
        keys.experiences,
        keys.usage,
        keys.rate(day),
        keys.evidence,
    ]
    return str(await _run(client, _FEEDBACK, names, list(args)))


async def replayed(client: Client, keys: Keys, args: Sequence[Any]) -> str:
    """Count a pair of answers; return what became of it."""
    return str(
        await _run(client, _REPLAYED, [keys.evidence, keys.experiences, keys.archive], list(args))
    )


async def known(client: Client, keys: Keys, held: Sequence[tuple[str, int]]) -> list[Any]:
    """Read what is known of lessons.

    ``held`` are their ids, each with the number of the change that the caller knows.
    """
    args = [part for one in held for part in one]
    return _listed(await _run(client, _KNOWN, [keys.evidence], args, writes=False))


async def forget_archived(client: Client, keys: Keys, seqs: Sequence[int]) -> int:
    """Take episodes out of the archive; return how many there were."""
    names = [keys.archive, keys.archived, keys.traffic]
    gone: int = await _run(client, _FORGET_ARCHIVED, names, list(seqs))
    return gone


async def now(client: Client, keys: Keys) -> int:
    """Ask the server for its time, in seconds."""
    return int(await _run(client, _NOW, [keys.traffic], []))


async def claim(client: Client, keys: Keys, args: Sequence[Any]) -> list[Any]:
    """Claim episodes; return how many became dead letters, and the claims."""
    names = [*keys.of_traffic, keys.learners, keys.archive, keys.archived]
    claims: list[Any] = await _run(client, _CLAIM, names, list(args))
    return claims


async def extend_lease(client: Client, keys: Keys, args: Sequence[Any]) -> list[int]:
    """Hold claims for longer; return the seqs of those that are lost."""
    lost: list[int] = await _run(
        client, _EXTEND_LEASE, [keys.claimed, keys.holders, keys.learners], list(args)
    )
    return lost


async def return_claim(client: Client, keys: Keys, run_id: str, args: Sequence[Any]) -> str:
    """Let go of a claim without a result; return what became of it."""
    return str(await _run(client, _RETURN_CLAIM, [*keys.of_traffic, keys.run(run_id)], list(args)))


async def count(client: Client, key: str, counters: Mapping[str, int], *, ttl: int) -> None:
    """Add to the counters of a day."""
    await _run(client, _COUNT, [key], [ttl, *(part for one in counters.items() for part in one)])


async def dead(client: Client, keys: Keys, how: str, seqs: Sequence[int]) -> int:
    """Retry or drop dead letters; return how many there were."""
    found: int = await _run(client, _DEAD, list(keys.of_traffic), [how, *seqs])
    return found


async def erase(client: Client, keys: Keys, seqs: Sequence[str]) -> None:
    """Forget episodes, whoever holds them."""
    await _run(client, _ERASE, list(keys.of_traffic), list(seqs))


async def tell_dropped(client: Client, keys: Keys) -> None:
    """Tell who listens that there is no set any more, where the user may."""
    await _run(client, _TELL, [keys.meta], [keys.commits, " 0"])


async def lacking(client: Client, keys: Keys, calls: Sequence[Sequence[str]]) -> list[int]:
    """Tell which of these commands the user may not use: their places, from 1."""
    places: list[int] = await _run(client, _LACKING, [keys.meta], [json.dumps(calls)])
    return places


def _listed(reply: Any) -> list[Any]:
    """Read a reply that is a list, as JSON. Raises NotOurs."""
    try:
        decoded = json.loads(reply)
    except (TypeError, ValueError):
        decoded = None
    if not isinstance(decoded, list) or not decoded:
        raise NotOurs(f"a read was answered with {str(reply)[:40]!r}")
    return decoded


async def _run(
    client: Client, source: str, keys: list[str], args: list[Any], *, writes: bool = True
) -> Any:
    by_digest, by_source = ("EVALSHA", "EVAL") if writes else ("EVALSHA_RO", "EVAL_RO")
    try:
        return await client.execute_command(by_digest, _DIGESTS[source], len(keys), *keys, *args)
    except NoScriptError:
        # a server that is new, restarted or was told SCRIPT FLUSH; EVAL makes it known again
        return await client.execute_command(by_source, source, len(keys), *keys, *args)
