"""What of a namespace's traffic waits, what became of the rest, and how old the oldest is."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ted_memory.episodes import Traffic
from ted_memory.errors import CorruptData
from ted_memory.protocols import TOLD_FIRST
from ted_memory.storage.redis import codec
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.clock import ServerClock
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.retries import WithRetries, all_answers, fields_of
from ted_memory.storage.redis.sealing import Seal

SECOND = 1000  # milliseconds
HOUR = timedelta(hours=1)
COUNTED = (
    "recorded",
    "learned",
    "nothing",
    "set_aside",
    "dead",
    "dropped",
    "limited",
    "expired",
    "retried",
)


async def read_traffic(
    with_retries: WithRetries, clock: ServerClock, seal: Seal, keys: Keys
) -> Traffic:
    """Count what waits and read the counters, in two round trips."""
    now = await clock.now(keys.namespace)
    # the hour before may be yesterday's
    days = [await clock.today(keys.namespace, ago) for ago in (timedelta(0), HOUR)]
    reply = await with_retries(lambda client: _ask(client, keys, days))
    head, today, before, waiting, claimed, dead, archived, learners, *firsts = reply
    seqs = [seq for first in firsts for seq in first]
    bodies = await with_retries(lambda client: fields_of(keys.episodes, seqs, client))
    settled = head.get("settled_at")
    return Traffic(
        waiting=waiting,
        claimed=claimed,
        dead=dead,
        archived=archived,
        bytes=int(head.get("bytes", 0)),
        oldest=_age_of_oldest(bodies, seal),
        counts={name: int(head.get(name, 0)) for name in COUNTED},
        today=_without_hours(today),
        hour=int(today.get(_hour(now), 0)) + int(before.get(_hour(now - HOUR), 0)),
        last_settled=datetime.fromtimestamp(float(settled) / SECOND, UTC) if settled else None,
        last_error=head.get("last_error", ""),
        learners=learners,
    )


async def _ask(client: Client, keys: Keys, days: Sequence[str]) -> list[Any]:
    here = datetime.now(UTC).timestamp() * SECOND
    pipeline = client.pipeline(transaction=False)
    for name in (keys.traffic, *map(keys.spend, days)):
        pipeline.hgetall(name)
    pipeline.zcard(keys.waiting)
    pipeline.zcard(keys.claimed)
    pipeline.hlen(keys.dead)
    pipeline.zcard(keys.archived)
    pipeline.zcount(keys.learners, int(here), "+inf")
    # what may be begun first: those that somebody spoke about come before the others
    spoken_about = int(here - TOLD_FIRST * SECOND / 2)
    pipeline.zrangebyscore(keys.waiting, "-inf", "+inf", start=0, num=1)
    pipeline.zrangebyscore(keys.waiting, spoken_about, "+inf", start=0, num=1)
    pipeline.zrangebyscore(keys.claimed, "-inf", "+inf", start=0, num=1)
    return await all_answers(pipeline)


def _hour(at: datetime) -> str:
    return f"hour:{at:%H}"


def _without_hours(spent: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in spent.items() if not name.startswith("hour:")}


def _age_of_oldest(bodies: list[str | None], seal: Seal) -> float | None:
    """Tell the seconds since the first of these episodes began; None where none can be read."""
    began = []
    for body in bodies:
        with contextlib.suppress(CorruptData):  # a claim makes a dead letter of it
            stored = (body or "").partition("|")[2]
            began.append(codec.decode_episode(seal.open(stored)).started_at)
    return max(0.0, (datetime.now(UTC) - min(began)).total_seconds()) if began else None
