"""A client that holds a version is sent what changed since, however large the set is."""

import redis.asyncio

from ted_memory import Add, Remove, Rewrite, open_memory
from ted_memory.models import Usage
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import Keys
from tests.conftest import Server

MANY = 300


async def test_a_refresh_carries_what_changed_and_not_the_set(
    valkey: Server, namespace: str
) -> None:
    roomy = {"max_experiences": 1000, "token_budget": 10**6}
    async with (
        open_memory(valkey.url, namespace=namespace, **roomy) as memory,
        redis.asyncio.Redis.from_url(valkey.url, decode_responses=True) as client,
    ):
        commit = await memory.commit([Add(text=f"Lesson {i}.") for i in range(MANY)], author="me")
        ids = [applied.id for applied in commit.applied]
        every = {id: Usage(weight=1, weighted_difference=0.5) for id in ids}
        await memory.commit([Add(text="One more.")], author="me", usage=every)
        held = await memory.load()
        await memory.credit({ids[7]: Usage(helped=1)}, token="c")
        await memory.commit(
            [Rewrite(id=ids[3], text="First."), Remove(id=ids[4])], author="me", base=held
        )

        async def reply(version: int, stamp: str) -> list[list[str]]:
            kind, *rest = await scripts.read(
                client, Keys(namespace), held.epoch, version, stamp, most=256
            )
            return [kind, *rest]

        kind, _, items, usage = await reply(held.version, held.stamp)
        assert kind == "changes"
        assert set(items[::2]) == set(usage[::2]) == {ids[3], ids[4], ids[7]}
        kind, _, items, usage = await reply(held.version, "another line of history")
        assert (kind, len(items[::2]), len(usage[::2])) == ("all", MANY, MANY - 2), (
            "the control: the whole set"
        )
        now = await memory.load()
        assert now == await memory.for_namespace(namespace).load()
        assert now.usage[ids[7]].helped == 1
