"""Least-privilege users for one namespace: what each role needs, and nothing else.

agent
    reads lessons, also those that wait, and where they come from; writes nothing and runs no
    script, since one that never ends stops a server
recorder
    the same, and hands in what it did and what was said of it: outcomes count as evidence, lessons
    are not touched; reads no episode, waiting or archived
learner
    commits and credits, in the set and in the staging sets of its runs; claims episodes, archives
    and replays them; cannot lift a purge
reviewer
    approves, rejects, edits, rolls back; cannot credit usage, nor reach staging sets
admin
    all of it, and purges, forgets, imports, drops sets; sees the names of all keys of the server
    (SCAN)

It holds for what scripts do, too. They work in database 0: rules of Redis do not tell databases
apart, so SELECT is nobody's.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from ted_memory.errors import InvalidInput
from ted_memory.fields import check_namespace
from ted_memory.settings import Durability
from ted_memory.storage.redis.keys import NAMESPACES, WITH_TRAFFIC, Keys

Role = Literal["agent", "recorder", "learner", "reviewer", "admin"]
ROLES: Sequence[Role] = get_args(Role)

_CONNECT = (
    "ping",
    "hello",
    "command",
    "client|setname",
    "cluster|slots",
    "cluster|shards",
    "cluster|myid",
    "asking",
    "readonly",
)
_LISTEN = ("ssubscribe", "sunsubscribe")
_READ = ("hmget", "hget", "hgetall", "hlen", "smembers")
_READ_SCRIPTS = ("evalsha_ro", "eval_ro")
_COMMIT = ("get", "set", "pexpire", "hset", "hsetnx", "hkeys", "hdel", "hexists", "time", "wait")
_SCRIPTS = ("evalsha", "eval")
_RUN = ("expire",)
_RECORD = (
    "get",
    "set",
    "hget",
    "hgetall",
    "hset",
    "hincrby",
    "hexists",
    "zadd",
    "zscore",
    "pexpire",
    "time",
    "sadd",
)
_LEARN = (
    "zrem",
    "zrange",
    "zrangebyscore",
    "zremrangebyscore",
    "zcard",
    "zcount",
    "scard",
    "hstrlen",
)


def rules(role: Role, namespace: str, durability: Durability = "none") -> list[str]:
    """Write what follows the user's name and password in ``ACL SETUSER``."""
    keys = Keys(namespace)
    shown = [keys.meta, keys.experiences, keys.ranking, keys.log, keys.vectors]
    start = ["resetkeys", "resetchannels", "-@all"]
    if role == "agent":
        return [
            *start,
            *_allow((*_CONNECT, *_READ)),
            *(f"%R~{key}" for key in shown),
            f"%R~{NAMESPACES}",
            _selector(_LISTEN, [f"&{keys.commits}"]),
        ]
    if role == "recorder":
        return [*rules("agent", namespace), *_allow(_READ_SCRIPTS), *_recording(keys)]
    staging = Keys(f"{namespace}~*").any_key
    own = [
        *shown,
        keys.usage,
        keys.usage_before,
        keys.uncommitted,
        keys.evidence,
        keys.applied("*"),
    ]
    commands: tuple[str, ...] = (*_CONNECT, *_READ, *_READ_SCRIPTS, *_COMMIT)
    if role != "reviewer":
        own += [keys.credited("*"), keys.lease("*"), keys.progress, staging]
        own += [
            *keys.of_traffic,
            keys.learners,
            keys.archive,
            keys.archived,
            *_of_runs(keys),
            keys.spend("*"),
        ]
        commands += (*_RUN, *_RECORD, *_LEARN)
    # Redis 7.0 has no WAITAOF, and refuses a user that may use what it does not know
    if durability == "fsync":
        commands += ("waitaof",)
    if role == "admin":
        everything = [f"~{keys.any_key}", f"~{staging}"]
        more = ("del", "exists", "sismember", "smismember", "sadd", "scan", "hscan")
        return [
            *start,
            *_allow((*commands, *_SCRIPTS, *more)),
            *everything,
            *_beside_keys(keys, "sadd", "srem"),
        ]
    writes = [f"~{key}" for key in own]
    selectors = [
        # a script is refused unless it may read and write all that it names: what it does with them
        # is checked again
        _selector(_SCRIPTS, [*writes, f"~{keys.purged}"]),
        _selector(("exists", "sismember", "smismember"), [f"%R~{keys.purged}"]),
    ]
    if role == "learner":
        selectors += [_selector(("del", "exists", "sismember", "smismember"), [f"~{staging}"])]
    return [*start, *_allow(commands), *writes, *selectors, *_beside_keys(keys, "sadd")]


def _of_runs(keys: Keys) -> tuple[str, ...]:
    return (keys.run("*"), keys.image("*"), keys.rate("*"))


def _recording(keys: Keys) -> list[str]:
    """Write what it takes to hand in episodes and outcomes."""
    patterns = [
        f"~{key}"
        for key in (keys.traffic, keys.waiting, keys.usage, keys.uncommitted, *_of_runs(keys))
    ]
    return [
        _selector((*_RECORD, "hmget"), patterns),
        _selector(("hset", "hlen"), [f"~{keys.episodes}"]),
        _selector(("hget", "hset"), [f"~{keys.evidence}"]),
        # a script is refused unless it may read and write all that it names: what it does with them
        # is checked again
        _selector(
            _SCRIPTS, [*patterns, f"~{keys.episodes}", f"~{keys.evidence}", f"~{keys.experiences}"]
        ),
        _selector(("hget", "hexists"), [f"%R~{keys.experiences}"]),
        _selector(("sadd", "smembers"), [f"~{WITH_TRAFFIC}"]),
    ]


def _allow(commands: Iterable[str]) -> list[str]:
    return [f"+{name}" for name in commands]


def _selector(commands: Iterable[str], places: Iterable[str]) -> str:
    return f"({' '.join([*_allow(commands), *places])})"


def _beside_keys(keys: Keys, *commands: str) -> list[str]:
    """Write what who commits does beside the set's keys: to the lists of all sets, on a channel."""
    return [
        _selector((*commands, "smembers"), [f"~{NAMESPACES}", f"~{WITH_TRAFFIC}"]),
        _selector((*_LISTEN, "spublish"), [f"&{keys.commits}"]),
    ]


def set_user(
    role: Role, namespace: str, *, password: str | None = None, durability: Durability = "none"
) -> str:
    """Write the command that makes the user of a role, with a fresh password if none is given.

    Raises:
        InvalidInput: the namespace has a character that is not allowed.
    """
    check_namespace(namespace)
    if role not in ROLES:
        raise InvalidInput(f"role {role!r} is not known: use one of {', '.join(ROLES)}")
    secret = secrets.token_urlsafe(24) if password is None else password
    allowed = " ".join(rules(role, namespace, durability))
    return f"ACL SETUSER ted-{namespace}-{role} reset on >{secret} {allowed}"
