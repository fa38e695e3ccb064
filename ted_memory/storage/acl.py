"""Least-privilege users for one namespace: what each role needs, and nothing else. Holds for Lua scripts too.

=========  ============================================================================================================
agent      reads what is rendered; writes nothing
learner    commits and credits, in the set and in the staging sets of its runs; cannot lift a purge
reviewer   approves, rejects, edits, rolls back; no staging sets, no usage of its own
admin      all of it, and purges, imports, drops sets
=========  ============================================================================================================
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ted_memory.errors import InvalidInput
from ted_memory.models import check_namespace
from ted_memory.storage.keys import NAMESPACES, Keys

Role = Literal["agent", "learner", "reviewer", "admin"]
ROLES: Sequence[Role] = get_args(Role)

_CONNECT = ("ping", "hello", "client|setname", "client|setinfo", "command|info", "command|count")
_CLUSTER = ("cluster|slots", "cluster|shards", "cluster|myid", "asking", "readonly")
_READ = ("evalsha_ro", "eval_ro", "hmget", "hget", "hgetall", "smembers")
_COMMIT = ("evalsha", "eval", "get", "set", "pexpire", "exists", "sismember", "hset", "hdel", "hexists", "time", "sadd")
_DURABLE = ("wait", "waitaof")
_RUN = ("multi", "exec", "expire", "del", "srem")

_COMMANDS: Mapping[Role, Sequence[str]] = {
    "agent": (*_CONNECT, *_CLUSTER, *_READ),
    "learner": (*_CONNECT, *_CLUSTER, *_READ, *_COMMIT, *_DURABLE, *_RUN),
    "reviewer": (*_CONNECT, *_CLUSTER, *_READ, *_COMMIT, *_DURABLE),
    "admin": (*_CONNECT, *_CLUSTER, *_READ, *_COMMIT, *_DURABLE, *_RUN),
}


def _keys(role: Role, namespace: str) -> list[str]:
    keys = Keys(namespace)
    shown = [keys.meta, keys.experiences, keys.ranking, keys.log]
    if role == "agent":
        return [f"%R~{key}" for key in shown]
    written = [*shown, keys.usage, keys.applied("*")]
    listing = [f"~{NAMESPACES}"]
    if role == "reviewer":
        return [*(f"~{key}" for key in written), f"%R~{keys.purged}", *listing]
    staging = f"~{Keys(f'{namespace}~*').any_key}"
    if role == "learner":
        written += [keys.credited("*"), keys.progress]
        return [*(f"~{key}" for key in written), f"%R~{keys.purged}", staging, *listing]
    return [f"~{keys.any_key}", staging, *listing]


def rules(role: Role, namespace: str) -> list[str]:
    """Return what follows the user's name and password in ``ACL SETUSER``."""
    commands = [f"+{name}" for name in _COMMANDS[role]]
    return ["resetkeys", "resetchannels", "-@all", *_keys(role, namespace), *commands]


def set_user(role: Role, namespace: str, *, password: str | None = None) -> str:
    """Return the command that makes the user of a role, with a fresh password if none is given.

    Raises:
        InvalidInput: the namespace has a character that is not allowed.
    """
    check_namespace(namespace)
    if role not in ROLES:
        raise InvalidInput(f"role {role!r} is not known: use one of {', '.join(ROLES)}")
    secret = secrets.token_urlsafe(24) if password is None else password
    return f"ACL SETUSER ted-{namespace}-{role} reset on >{secret} {' '.join(rules(role, namespace))}"
