"""More traffic than is learned from: the queue keeps its cap, and what it refuses is counted."""

import json
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.storage.redis import scripts
from ted_memory.storage.redis.keys import Keys
from ted_memory.testing import ScriptedChatModel, asked_for_edits
from tests.chaos.learner_process import known_to_scripts
from tests.chaos.sizes import FULL, report, size
from tests.conftest import Server, assert_only_known_keys

SENT = size(2000, 50_000)
LOUD = 10  # one in so many is of the same principal, who has a share of
SHARE = size(50, 1000)
MANY = 10**9
CAPS: dict[str, dict[str, int]] = {
    "count": {"max_episodes": size(100, 20_000), "max_episode_bytes": MANY},
    "bytes": {"max_episodes": MANY, "max_episode_bytes": size(75_000, 67_108_864)},
}
AT_ONCE = 500  # fewer than the buffer holds


def an_episode(number: int, draw: random.Random) -> Episode:
    words = " ".join(
        draw.choices(
            ("dock", "load", "tea", "silk", "ship", "crane"), k=draw.randrange(20, size(200, 900))
        )
    )
    return Episode(
        run_id=f"run-{number}",
        principal="loud" if number % LOUD == 0 else f"user-{number % 1000}",
        input=(Message(role="user", content=f"Where does load {number} go? {words}"),),
        output=(Message(role="assistant", content="dock 1"),),
    )


async def send(memory: TedMemory, count: int) -> list[str]:
    """Hand in so many runs; return their ids."""
    draw, sent = random.Random(21), list[str]()
    for number in range(count):
        episode = an_episode(number, draw)
        await memory.record(episode)
        sent.append(episode.run_id)
        if number % AT_ONCE == AT_ONCE - 1:
            await memory.flush()
    await memory.flush()
    return sent


async def check_queue(memory: TedMemory, client: "Redis", sent: Sequence[str]) -> dict[str, int]:
    """The queue keeps its caps; every run is in it once or counted as refused. Gives the counts."""
    traffic, health, caps = (
        await memory.store.episodes.traffic(memory.namespace),
        memory.health(),
        memory.settings,
    )
    stored: list[str] = [
        body async for _, body in client.hscan_iter(Keys(memory.namespace).episodes, count=1000)
    ]
    sizes, bodies = zip(*(body.split("|", 1) for body in stored), strict=True)
    runs = [str(json.loads(body)["run_id"]) for body in bodies]
    assert traffic.bytes <= caps.max_episode_bytes, f"{traffic.bytes} bytes are over the cap"
    assert len(runs) <= caps.max_episodes, f"{len(runs)} episodes are over the cap"
    assert traffic.bytes == sum(map(int, sizes)), "the bytes are those of what is there"
    assert sum(len(body.encode()) for body in bodies) <= traffic.bytes
    counts = {name: traffic.counts[name] for name in ("recorded", "dropped", "limited")}
    assert sum(counts.values()) == len(sent), f"{counts} do not add up to {len(sent)}"
    assert len(runs) == len(set(runs)) == traffic.waiting == counts["recorded"], (
        f"{len(runs)} are there: {counts}"
    )
    assert set(runs) <= set(sent)
    refused = len(set(sent) - set(runs))
    assert refused == counts["dropped"] + counts["limited"], f"{refused} are missing: {counts}"
    told = (health.recorded, health.dropped, health.buffered)
    assert told == (counts["recorded"], refused, 0), f"the sender counted {told}"
    return counts


@pytest.mark.parametrize("cap", list(CAPS))
async def test_a_queue_that_nobody_works_off_stays_under_its_cap_and_counts_what_it_drops(
    server: Server, namespace: str, cap: str
) -> None:
    settings: dict[str, Any] = {**CAPS[cap], "rate_limit": SHARE, "buffer_episodes": AT_ONCE}
    async with (
        Redis.from_url(server.url, decode_responses=True) as client,
        open_memory(server.url, namespace=namespace, **settings) as memory,
    ):
        before, began = (await client.info("memory"))["used_memory"], time.monotonic()
        sent = await send(memory, SENT)
        took, grown = (
            time.monotonic() - began,
            (await client.info("memory"))["used_memory"] - before,
        )
        counts = await check_queue(memory, client, sent)
        assert counts["dropped"] > SENT // 4, "the cap pressed"
        assert counts["limited"] == SENT // LOUD - SHARE > 0, (
            "of one principal no more than its share"
        )
        queued = (await memory.store.episodes.traffic(namespace)).bytes
        report(
            f"traffic at size, cap on {cap}: {SENT} sent in {took:.0f} s: "
            f"{counts['recorded']} recorded, {counts['dropped']} dropped, "
            f"{counts['limited']} limited, exactly; the queue has {queued / 1e6:.1f} MB, "
            f"the server's memory grew by {grown / 1e6:.1f} MB"
        )
        if not FULL:
            await check_worked_off(memory, counts["recorded"])
    await assert_only_known_keys(server.url)


async def check_worked_off(memory: TedMemory, recorded: int) -> None:
    """A learner comes at last, and then there is room again."""
    teacher = ScriptedChatModel(
        script=lambda messages: "{}" if asked_for_edits(messages) else "dock 1"
    )
    learner = Learner(memory, teacher=teacher, replay="none")
    await learner.run(until_empty=True)
    assert learner.report.outcomes == {"nothing": recorded}, learner.report
    traffic = await memory.store.episodes.traffic(memory.namespace)
    assert (traffic.waiting, traffic.claimed, traffic.dead, traffic.bytes) == (0, 0, 0, 0)
    await memory.record(an_episode(SENT + 1, random.Random(1)))
    await memory.flush()
    assert (await memory.store.episodes.traffic(memory.namespace)).waiting == 1


IN_RECORD = {  # mechanism: its text in the script, what takes its place, what is found out
    "caps": (
        "waiting >= request.max_episodes or bytes + size > request.max_bytes",
        "false",
        "over the cap",
    ),
    "counters": ("redis.call('HINCRBY', at.traffic, outcome, 1)", "", "do not add up"),
}


@pytest.mark.parametrize("mechanism", list(IN_RECORD))
async def test_a_queue_without_its_caps_or_counters_is_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    """The control."""
    text, instead, found = IN_RECORD[mechanism]
    assert text in scripts._RECORD
    monkeypatch.setattr(
        scripts, "_RECORD", known_to_scripts(scripts._RECORD.replace(text, instead))
    )
    async with (
        Redis.from_url(server.url, decode_responses=True) as client,
        open_memory(
            server.url, namespace=namespace, max_episodes=200, max_episode_bytes=100_000
        ) as memory,
    ):
        sent = await send(memory, 400)
        with pytest.raises(AssertionError, match=found):
            await check_queue(memory, client, sent)
