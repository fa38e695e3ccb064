"""One namespace, in this process or on a server: opening it, reading it, moving its clock."""

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import redis

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Retention
from ted_memory.settings import Settings
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import in_memory
from ted_memory.testing.oracle.store import InMemoryStore

DAY = 24 * 3600
BEGIN = datetime(2099, 1, 1, tzinfo=UTC)
NAMESPACE = "attacked"
SETTINGS: dict[str, Any] = {
    "max_experiences": 5,
    "token_budget": 600,
    "max_episodes": 6,
    "max_episode_bytes": 5_000,
    "max_dead": 2,
    "dead_days": 20.0,
    "max_archived": 7,
    "max_archive_bytes": 2_000,
    "max_proposed": 3,
    "rate_limit": 12,
    "history_versions": 30,  # a look may take some twenty steps, each a version
    "withhold_share": 0.5,
    "run_days": 10.0,
    "refresh": 0.0,
}
"""Small bounds, so that few steps reach them."""


class Clock:
    """The days by which the machine's clocks are ahead."""

    ahead = 0.0


async def today(_clock: object, _namespace: str, ago: timedelta = timedelta(0)) -> str:
    """Tell the server's day, as `ServerClock.today` does."""
    return f"{BEGIN + timedelta(days=Clock.ahead) - ago:%Y-%m-%d}"


class Dice:
    """Stands in for `secrets`: a replayed example gets the same epochs, ids and tokens."""

    luck = random.Random(0)

    @classmethod
    def token_hex(cls, size: int) -> str:
        return f"{cls.luck.getrandbits(8 * size):0{2 * size}x}"

    @classmethod
    def choice(cls, among: Any) -> Any:
        return cls.luck.choice(among)


class Later(datetime):
    """A learner's clock, as far ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) + timedelta(days=Clock.ahead)


@dataclass
class Look:
    """All that one namespace holds: every text, and how much of each kind."""

    texts: dict[str, str] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=dict)
    """The ids of lessons in experiences, usage, usage_before, ranking, uncommitted and evidence."""
    waiting: set[int] = field(default_factory=set)
    claimed: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    episodes: dict[int, int] = field(default_factory=dict)
    """The bytes of each."""
    holders: set[int] = field(default_factory=set)
    archive: dict[int, int] = field(default_factory=dict)
    archived: set[int] = field(default_factory=set)
    told_bytes: int = 0
    """The bytes of the queue as they are counted, and of the archive."""
    told_archive: int = 0
    versions: set[int] = field(default_factory=set)
    runs: dict[str, int] = field(default_factory=dict)
    """The seq of each run that is known."""
    most_said: int = 0
    images: dict[str, set[int]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    """Milliseconds that each key has left, -1 for those that stay."""


class Place(ABC):
    """Where the attacked namespace lives. ``ends``: whether a time to live is kept there."""

    ends: bool
    memory: TedMemory
    agent: TedMemory

    def _open(self, memory: TedMemory) -> None:
        self.memory = memory
        slow = memory.settings.model_copy(update={"refresh": 1e9})
        # sees what is new when it is told to look
        self.agent = TedMemory(memory.store, slow, NAMESPACE)

    @abstractmethod
    def look(self) -> Look:
        """Return all that the namespace holds."""

    @abstractmethod
    def seq_of(self, run_id: str) -> int:
        """Return the place in the queue that a run was given; 0 where it was refused."""

    @abstractmethod
    def dead(self) -> set[int]:
        """Return the dead letters."""

    @abstractmethod
    def jump(self, days: float) -> None:
        """Have so many days pass: whatever has a time is older by them."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the place itself holds."""


class InProcess(Place):
    """The executable statement."""

    ends = False

    def __init__(self) -> None:
        kept = Retention(
            run_days=10.0, max_dead=SETTINGS["max_dead"], dead_days=SETTINGS["dead_days"]
        )
        self.store = InMemoryStore(kept)
        self._open(in_memory(namespace=NAMESPACE, store=self.store, **SETTINGS))

    def look(self) -> Look:
        queue, space = self.store.episodes._queue(NAMESPACE), self.store._spaces.get(NAMESPACE)
        # tombstones are digests elsewhere
        fields = {**vars(queue), **({**vars(space), "purged": ()} if space else {})}
        known = {id for id, rows in queue.evidence.voices.items() if rows}
        evidence = {*queue.evidence.change, *queue.evidence.done, *queue.evidence.units, *known}
        archive = {
            n: len(one.model_dump_json(exclude_defaults=True).encode())
            for n, one in queue.archive.items()
        }
        return Look(
            texts={name: repr(value) for name, value in fields.items() if value},
            ids={
                "evidence": evidence & {*queue.evidence.change},
                **(
                    {n: set(getattr(space, n)) for n in ("experiences", "usage", "usage_before")}
                    if space
                    else {}
                ),
            },
            waiting=set(queue.waiting),
            claimed=set(queue.claimed),
            dead=set(queue.dead),
            episodes={seq: queue.sizes[seq] for seq in queue.episodes},
            holders=set(queue.holders),
            archive=archive,
            archived=set(archive),
            told_bytes=sum(queue.sizes.values()),
            told_archive=sum(archive.values()),
            versions=set(space.log) if space else set(),
            runs={run_id: run.seq for run_id, run in queue.runs.items() if run.seq is not None},
            most_said=max((len(run.told) for run in queue.runs.values()), default=0),
            images={
                d: {n for n, e in queue.episodes.items() if d in e.images} for d in queue.images
            },
        )

    def close(self) -> None:
        """Nothing is held."""

    def seq_of(self, run_id: str) -> int:
        return self.store.episodes._queue(NAMESPACE).runs[run_id].seq or 0

    def dead(self) -> set[int]:
        return set(self.store.episodes._queue(NAMESPACE).dead)

    def jump(self, days: float) -> None:
        queue, seconds = self.store.episodes._queue(NAMESPACE), days * DAY
        for times in (queue.waiting, queue.claimed, queue.learners):
            times.update({key: at - seconds for key, at in times.items()})
        queue.looked_at -= seconds
        queue.dead = {
            n: d.model_copy(update={"at": d.at - timedelta(days=days)})
            for n, d in queue.dead.items()
        }


class OnServer(Place):
    """A real server of the test's own."""

    ends = True

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.client.flushdb()
        self._open(open_memory(url, namespace=NAMESPACE, read_timeout=5.0, **SETTINGS))

    def close(self) -> None:
        self.client.close()

    def _all(self) -> tuple[dict[str, Any], dict[str, int]]:
        names = sorted(self.client.scan_iter(count=1000))
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.type(name)
            pipeline.pttl(name)
        told = pipeline.execute()
        for name, kind in zip(names, told[::2], strict=True):
            read = {"string": pipeline.get, "hash": pipeline.hgetall, "set": pipeline.smembers}
            read["none"] = read["string"]  # it has ended just now
            if kind == "zset":
                pipeline.zrange(name, 0, -1, withscores=True)
            else:
                read[kind](name)
        values = pipeline.execute()
        return dict(zip(names, values, strict=True)), dict(zip(names, told[1::2], strict=True))

    def look(self) -> Look:
        values, keys = self._all()
        ours: dict[str, Any] = {
            name.partition("}:")[2]: value for name, value in values.items() if "}:" in name
        }
        traffic: Mapping[str, str] = ours.get("traffic", {})
        of_runs = {
            name.removeprefix("run:"): value
            for name, value in ours.items()
            if name.startswith("run:")
        }
        named = ("experiences", "usage", "usage_before", "ranking", "uncommitted")
        return Look(
            texts={name: str(value) for name, value in values.items()},
            ids={
                **{name: set(ours.get(name, ())) for name in named},
                "evidence": {one.partition(" ")[0] for one in ours.get("evidence", {})} - {""},
            },
            waiting={int(seq) for seq, _ in ours.get("waiting", ())},
            claimed={int(seq) for seq, _ in ours.get("claimed", ())},
            dead={int(seq) for seq in ours.get("dead", ())},
            episodes={
                int(seq): int(body.partition("|")[0])
                for seq, body in ours.get("episodes", {}).items()
            },
            holders={int(seq) for seq in ours.get("holders", ())},
            archive={int(seq): len(body.encode()) for seq, body in ours.get("archive", {}).items()},
            archived={int(seq) for seq, _ in ours.get("archived", ())},
            told_bytes=int(traffic.get("bytes", 0)),
            told_archive=int(traffic.get("archive_bytes", 0)),
            versions={int(version) for version in ours.get("log", ())},
            runs={
                run_id: int(record["seq"]) for run_id, record in of_runs.items() if "seq" in record
            },
            most_said=max(
                (len(re.findall(r"'f\d+'", str(record))) for record in of_runs.values()), default=0
            ),
            images={
                name.removeprefix("image:"): {int(seq) for seq in value if seq != "data"}
                for name, value in ours.items()
                if name.startswith("image:")
            },
            keys=keys,
        )

    def seq_of(self, run_id: str) -> int:
        return int(str(self.client.hget(Keys(NAMESPACE).run(run_id), "seq")))

    def dead(self) -> set[int]:
        return {int(seq) for seq in cast(list[str], self.client.hkeys(Keys(NAMESPACE).dead))}

    def jump(self, days: float) -> None:
        values, keys = self._all()
        passed = int(days * DAY * 1000)
        pipeline = self.client.pipeline(transaction=False)
        for name, left in keys.items():
            kind = name.partition("}:")[2]
            if left >= 0:
                pipeline.pexpire(name, max(left - passed, 0))
            elif kind in {"waiting", "claimed"}:
                pipeline.zadd(name, {seq: at - passed for seq, at in values[name]})
            elif kind == "dead":
                for seq, letter in values[name].items():
                    told = json.loads(letter)
                    pipeline.hset(name, seq, json.dumps({**told, "at": told["at"] - passed}))
            elif kind == "traffic" and "looked_at" in values[name]:
                pipeline.hincrby(name, "looked_at", -passed)
        pipeline.execute()


def settings_of(place: Place) -> Settings:
    return place.memory.settings
