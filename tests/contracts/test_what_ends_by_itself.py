"""What nobody takes up again goes: staging sets of killed runs, and answers of settlements."""

import pytest
from redis.asyncio import Redis

from ted_memory import Add, TedMemory
from ted_memory.errors import ClaimLost
from ted_memory.models import Usage
from ted_memory.protocols import Settle
from ted_memory.storage.redis.keys import Keys
from ted_memory.storage.redis.store import PROGRESS_TTL, SETTLED_TTL, TOKEN_TTL
from tests.conftest import Server
from tests.learner.worlds import episode


async def _ends(client: "Redis", keys: Keys) -> dict[str, int]:
    """Return the milliseconds that each key of a namespace has left; -1: it stays."""
    found = [name async for name in client.scan_iter(match=keys.any_key)]
    return {name.partition("}:")[2]: await client.pttl(name) for name in found}


async def test_a_staging_set_ends_whenever_its_run_was_killed(
    memory: TedMemory, valkey: Server
) -> None:
    """Also between a commit and the next record, when it has keys that no record knows of."""
    staging = memory.staging("run-1")
    made = await staging.commit(
        [Add(text="One."), Add(text="Two.")], author="distill", models={"student": "a"}
    )
    await staging.credit({made.applied[0].id: Usage(n_with=1)}, token="credit-1")
    await staging.commit([], author="distill", models={"student": "b"})
    await staging.credit({made.applied[1].id: Usage(n_with=1)}, token="credit-2")
    await staging.commit([Add(text="Three.")], author="distill")
    await staging.credit({made.applied[1].id: Usage(n_with=1)}, token="credit-3")
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        left = await _ends(client, Keys(staging.namespace))
        assert {
            "meta",
            "experiences",
            "usage",
            "usage_before",
            "ranking",
            "log",
            "uncommitted",
        } <= set(left)
        assert all(0 < ms <= PROGRESS_TTL * 1000 for ms in left.values()), left


async def test_a_set_that_agents_read_stays(memory: TedMemory, valkey: Server) -> None:
    made = await memory.commit([Add(text="One.")], author="me")
    await memory.credit({made.applied[0].id: Usage(n_with=1)}, token="credit-1")
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        left = await _ends(client, Keys(memory.namespace))
    assert {name for name, ms in left.items() if ms == -1} >= {
        "meta",
        "experiences",
        "usage",
        "log",
        "uncommitted",
    }


async def test_the_answer_of_a_settlement_is_kept_for_an_hour_and_a_later_repeat_is_refused(
    memory: TedMemory, valkey: Server
) -> None:
    """There are as many of them as runs. What a token guards its fence guards too, for ever."""
    await memory.record(episode("apples"))
    await memory.flush()
    log, name = memory.store.episodes, memory.namespace
    [claim] = (await log.claim(name, "x", lease=60, count=1, max_deliveries=3, alone=False)).claims
    settle, edits = Settle(seq=claim.seq, fence=claim.fence, outcome="learned"), [Add(text="One.")]
    await memory.commit(edits, author="x", token="settle-1", settle=settle)
    assert (await memory.commit(edits, author="x", token="settle-1", settle=settle)).repeated
    await memory.commit([Add(text="Two.")], author="x", token="plain-1")
    async with Redis.from_url(valkey.url) as client:
        assert 0 < await client.pttl(Keys(name).applied("settle-1")) <= SETTLED_TTL
        assert SETTLED_TTL < await client.pttl(Keys(name).applied("plain-1")) <= TOKEN_TTL
        await client.delete(Keys(name).applied("settle-1"))
    with pytest.raises(ClaimLost):
        await memory.commit(edits, author="x", token="settle-1", settle=settle)
    assert sorted(e.text for e in await memory.load()) == ["One.", "Two."]
