"""A lesson whose trial was begun under the first rules is sent back to its replays."""

import json

import pytest
from redis.asyncio import Redis

from ted_memory import TedMemory, open_memory
from ted_memory.learner import trials
from ted_memory.models import SetState, Trial
from ted_memory.storage.redis.keys import Keys
from tests.conftest import Server
from tests.learner.worlds import PEOPLE, archive, propose, replayed, sums

OF_THE_FIRST_RULES = {
    "exposure": 0.05,
    "n_with": 12.0,
    "n_without": 230.0,
    "rounds": 2,
    "passed": False,
}


async def test_a_trial_of_the_first_rules_begins_anew_with_replays(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        [id] = await propose(memory, "apples")
        await memory.commit([SetState(id=id, state="trial", trial=Trial(bet=0.4))], author="test")
        assert await _has_a_part(memory, id), "the control"
    await _store_as_then(valkey.url, namespace, id)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        found = (await memory.load()).by_id[id]
        assert (found.state, found.trial) == ("trial", Trial()), (
            "what no rule reads any more is left out"
        )

        assert not await _has_a_part(memory, id), "nobody sees it meanwhile"
        done, _ = await trials.look(memory, "one")
        why = (
            "its trial begins anew with replays: "
            "it was begun under other rules, or for another text"
        )
        assert done == [f"{id}: proposed: {why}"]
        [entry] = await memory.log(limit=1)
        assert (entry.author, entry.why) == ("trials", why)

        await archive(memory, "apples", PEOPLE[:4])
        await replayed(memory)
        assert (await sums(memory, id)).pairs == pytest.approx(4)


async def _has_a_part(memory: TedMemory, id: str) -> bool:
    shown = await memory.expose("What is the code of apples?", unit="u", principal="carl")
    return id in {*shown.seen, *shown.withheld}


async def _store_as_then(url: str, namespace: str, id: str) -> None:
    """Write a lesson's trial as the first version did."""
    async with Redis.from_url(url, decode_responses=True) as client:
        stored = str(await client.hget(Keys(namespace).experiences, id))
        *head, body = stored.split("|", 4)
        changed = json.loads(body) | {"trial": OF_THE_FIRST_RULES}
        await client.hset(Keys(namespace).experiences, id, "|".join([*head, json.dumps(changed)]))
