"""What a learner does at a server, and which of it the server would refuse.

It is asked before anything is paid for. The server answers for its user, whoever set that one up
(`redis.acl_check_cmd`); nothing is read or written.
"""

from collections.abc import Mapping, Sequence

from ted_memory.settings import Durability
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.addresses import Client
from ted_memory.storage.redis.keys import NAMESPACES, Keys

SOME = "some"  # run, image, token, lease or day: rights are the same for each
ANY_DIGEST = "0" * 40


async def lacking(client: Client, namespace: str, durability: Durability) -> list[str]:
    """Tell what of a learner's work the user may not do: commands, each with the key it is for."""
    calls = needed_to_learn(namespace, durability)
    refused = [calls[place - 1] for place in await scripts.lacking(client, Keys(namespace), calls)]
    return [" ".join(call if len(call) == 2 else call[:1]) for call in refused]


def needed_to_learn(namespace: str, durability: Durability) -> list[Sequence[str]]:
    """List the commands of a learner, in its scripts and beside them.

    What only some learners need is left out: vectors, for embeddings, and the list of all
    namespaces with traffic.
    """
    keys = Keys(namespace)
    on_set, on_traffic = _of_the_set(keys), _of_traffic(keys)
    commands = [
        (name, key) for key, names in {**on_set, **on_traffic}.items() for name in names.split()
    ]
    written = [key for key in (*on_set, *on_traffic) if key != NAMESPACES]
    looked_at = [keys.meta, keys.experiences, keys.ranking, keys.log, keys.evidence]
    return [
        *commands,
        ("TIME",),
        # WAITAOF is tried: not every server knows it
        *([("WAIT",)] if durability == "replica" else []),
        *(_script(name, written) for name in ("EVALSHA", "EVAL")),
        *(_script(name, looked_at) for name in ("EVALSHA_RO", "EVAL_RO")),
    ]


def _script(command: str, keys: Sequence[str]) -> Sequence[str]:
    return command, ANY_DIGEST, str(len(keys)), *keys


def _of_the_set(keys: Keys) -> Mapping[str, str]:
    return {
        keys.meta: "HMGET HSET",
        keys.experiences: "HGET HGETALL HSET HDEL HKEYS HLEN HEXISTS",
        keys.usage: "HGET HSET HDEL",
        keys.usage_before: "HGET HSET HDEL",
        keys.ranking: "HGET HGETALL HSET HDEL",
        keys.uncommitted: "SMEMBERS SADD PEXPIRE",
        keys.log: "HGET HSET HDEL",
        keys.purged: "EXISTS SISMEMBER SMISMEMBER",
        keys.applied(SOME): "GET SET PEXPIRE",
        keys.lease(SOME): "GET SET PEXPIRE",
        NAMESPACES: "SADD",
    }


def _of_traffic(keys: Keys) -> Mapping[str, str]:
    return {
        keys.traffic: "HGET HMGET HGETALL HSET HINCRBY HDEL",
        keys.episodes: "HGET HMGET HDEL",
        keys.waiting: "ZADD ZREM ZRANGE ZRANGEBYSCORE ZCARD",
        keys.claimed: "ZADD ZREM ZRANGEBYSCORE ZCARD ZCOUNT",
        keys.holders: "HGET HSET HDEL HEXISTS",
        keys.dead: "HGET HSET HDEL HKEYS HLEN",
        keys.learners: "ZADD ZRANGE ZREMRANGEBYSCORE ZCOUNT PEXPIRE",
        keys.evidence: "HGET HMGET HSET HSETNX HDEL HEXISTS",
        keys.archive: "HMGET HSET HDEL HSTRLEN HEXISTS",
        keys.archived: "ZADD ZREM ZRANGE ZRANGEBYSCORE ZCARD",
        keys.run(SOME): "HGET HMGET HGETALL HSET HEXISTS PEXPIRE",
        keys.image(SOME): "HGET HDEL HLEN",
        keys.rate(SOME): "HINCRBY PEXPIRE",
        keys.spend(SOME): "HGETALL HINCRBY PEXPIRE",
    }
