"""What a server is, and what of it could cost data or answers: for people who set one up."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, cast

from redis.exceptions import NoPermissionError, ResponseError

from ted_memory.findings import Finding
from ted_memory.storage.redis import durability
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.clients import Clients

SLOW = 0.025  # seconds of a round trip: half of what an agent waits
CLOCKS_APART = 60.0  # seconds
PROBES = 5
UNSEEN = "these rights do not show it"


async def examine(clients: Clients, key: str) -> Sequence[Finding]:
    """Look at the server; ``key`` is any of ours, for what needs one.

    Raises:
        StoreError: there is none.
    """
    client = clients.get().commit
    began = time.monotonic()
    await client.ping()  # a first connection takes longer than a call
    connected = time.monotonic() - began
    return [
        await _speed(client, clients.where, connected),
        *await _from_info(client, "server", _version),
        *await _from_info(client, "persistence", _persistence),
        *await _from_info(client, "memory", _eviction),
        await _clock(client),
        await _fsync(client, key),
    ]


async def _speed(client: Client, where: str, connected: float) -> Finding:
    took = []
    for _ in range(PROBES):
        began = time.monotonic()
        await client.ping()
        took.append(time.monotonic() - began)
    middle = sorted(took)[PROBES // 2]
    told = (
        f"{where} answers within {middle * 1000:.1f} ms; the first connection took "
        f"{connected * 1000:.0f} ms"
    )
    if middle < SLOW:
        return Finding(of="answers", state="ok", told=told)
    hint = "agents go on with what they last saw; raise read_timeout or move the server nearer"
    return Finding(of="answers", state="warning", told=f"{told}: {hint}")


Look = Callable[[Mapping[str, Any]], Finding]


async def _from_info(client: Client, section: str, look: Look) -> Sequence[Finding]:
    try:
        told = await client.info(section)
    except (NoPermissionError, ResponseError):
        return [Finding(of=section, state="unknown", told=UNSEEN)]
    # a cluster tells of each of its nodes
    nodes = (
        told.values() if told and all(isinstance(one, dict) for one in told.values()) else [told]
    )
    return [look(node) for node in nodes]


def _version(info: Mapping[str, Any]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version"))
    if int(version.split(".", maxsplit=1)[0]) >= 7:
        return Finding(of="server", state="ok", told=f"{name} {version}")
    return Finding(of="server", state="problem", told=f"{name} {version}: 7.0 or newer is needed")


def _persistence(info: Mapping[str, Any]) -> Finding:
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if info.get("aof_enabled") and failed:
        told = f"its append-only file cannot be written ({', '.join(failed)}); is the disk full?"
        return Finding(of="persistence", state="problem", told=told)
    if info.get("aof_enabled"):
        return Finding(of="persistence", state="ok", told="writes an append-only file")
    if (
        info.get("rdb_last_bgsave_status") == "ok"
        and info.get("rdb_changes_since_last_save", 0) == 0
    ):
        told = "snapshots only (no appendonly): a crash loses what was learned since the last one"
        return Finding(of="persistence", state="warning", told=told)
    told = "no append-only file: a crash loses what no snapshot holds. Set appendonly yes"
    return Finding(of="persistence", state="warning", told=told)


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy, most = str(info.get("maxmemory_policy", "noeviction")), int(info.get("maxmemory", 0))
    if not most:
        return Finding(
            of="memory",
            state="ok",
            told=f"{info.get('used_memory_human')} used, no bound (maxmemory)",
        )
    told = f"{info.get('used_memory_human')} of {info.get('maxmemory_human')} used"
    if policy == "noeviction":
        return Finding(of="memory", state="ok", told=told)
    what = "run records and images" if policy.startswith("volatile") else "keys, lessons too"
    state: Literal["warning", "problem"] = "warning" if policy.startswith("volatile") else "problem"
    hint = f"maxmemory-policy {policy} deletes {what}, when it is full; set noeviction"
    return Finding(of="memory", state=state, told=f"{told}: {hint}")


async def _clock(client: Client) -> Finding:
    try:
        told = await cast(Awaitable[Any], client.time())
    except (NoPermissionError, ResponseError):
        return Finding(of="clock", state="unknown", told=UNSEEN)
    seconds = next(iter(told.values()))[0] if isinstance(told, dict) else told[0]
    apart = abs(float(seconds) - time.time())
    if apart < CLOCKS_APART:
        return Finding(of="clock", state="ok", told="as ours")
    told = f"{apart:.0f} s from ours; days are counted by the server's, trials end by the learner's"
    return Finding(of="clock", state="warning", told=told)


async def _fsync(client: Client, key: str) -> Finding:
    try:
        lacking = await durability.lacks_fsync(client, key)
    except (NoPermissionError, ResponseError):
        return Finding(of="durability=fsync", state="unknown", told=UNSEEN)
    if lacking:
        return Finding(of="durability=fsync", state="unknown", told=f"not possible here: {lacking}")
    return Finding(of="durability=fsync", state="ok", told="possible")
