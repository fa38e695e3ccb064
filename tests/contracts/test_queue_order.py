"""Which episode a learner begins with: what somebody spoke about, then the oldest."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.contracts.queue import LONG, Queue, an_episode, runs


async def test_what_somebody_spoke_about_is_begun_first_and_in_that_order(queue: Queue) -> None:
    """Others say little, and a learner may never come to the end of them."""
    await queue.say("early", 0.0)
    for name in ("a", "b", "c", "early", "d"):
        await queue.record(name)
        await asyncio.sleep(0.005)
    for name in ("c", "b", "c"):
        await queue.say(name, 0.0)
        await asyncio.sleep(0.005)
    assert runs(await queue.claim(10)) == ["early", "c", "b", "a", "d"], (
        "a second word on it changes nothing"
    )


@pytest.mark.parametrize("when", ["before", "held"])
async def test_what_somebody_spoke_about_keeps_its_place_when_it_is_given_back(
    queue: Queue, when: str
) -> None:
    """An outage of a model, or a learner's new version, gives back what was being learned from."""
    if when == "before":
        await queue.say("told", 0.0)
    await queue.record("told")
    claim = await queue.claim_one()
    await queue.record("a", "b")
    if when == "held":
        await queue.say("told", 0.0)
    await queue.return_claim(claim, counts=False, delay=LONG)
    assert runs(await queue.claim(10)) == ["told", "a", "b"]


async def test_a_dead_letter_that_a_person_takes_up_again_goes_first(queue: Queue) -> None:
    [dead] = await queue.kill("dead")
    await queue.record("a")
    await asyncio.sleep(0.005)
    await queue.log.retry_dead(queue.namespace, [dead])
    assert runs(await queue.claim(10)) == ["dead", "a"]


async def test_the_oldest_is_told_whatever_somebody_spoke_about(queue: Queue) -> None:
    then = datetime.now(UTC) - timedelta(hours=5)
    await queue.record(
        an_episode("old", started_at=then), an_episode("new", started_at=datetime.now(UTC))
    )
    await queue.say("new", 0.0)
    assert ((await queue.log.traffic(queue.namespace)).oldest or 0) > 4 * 3600
