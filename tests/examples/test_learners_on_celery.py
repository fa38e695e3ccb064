"""Learners on Celery, as `examples/learners_on_celery.py` has them: real workers, real broker."""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from ted_memory.testing import Reply, wait_until
from tests.conftest import Server
from tests.examples.celery_workers import PATIENCE, Place, answer, item_in, place

EPISODES = 40
NEVER = 10_000.0  # seconds

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("celery")]


def wanted(count: int) -> Counter[str]:
    return Counter(f"run:run-{number}" for number in range(count))


class FirstAnswer:
    """Has the first call of a model wait for so many seconds, and answers all others at once."""

    def __init__(self, delay: float) -> None:
        self.delays = [delay]

    def __call__(self, request: dict[str, Any]) -> Reply:
        return Reply(answer(request), delay=self.delays.pop() if self.delays else 0.0)


@dataclass
class Slow:
    """Has each call of a model wait for so many seconds."""

    delay: float

    def __call__(self, request: dict[str, Any]) -> Reply:
        return Reply(answer(request), delay=self.delay)


async def until_it_asks(at: Place) -> None:
    """Wait until a worker holds an episode, and waits for a model."""
    await at.until_held(1)
    await wait_until(lambda: bool(at.models.requests), timeout=PATIENCE, what="a question")


def call_learner(at: Place) -> None:
    """Call one learner, as ``look`` does."""
    with Celery("learners", broker=at.url) as app:
        app.send_task("learn", args=["items"], ignore_result=True)


async def ended(process: Any) -> int:
    return int(await asyncio.wait_for(asyncio.to_thread(process.wait), PATIENCE))


async def test_two_workers_that_beat_calls_settle_each_episode_once(
    own_server: Server, tmp_path: Path
) -> None:
    models = Slow(0.2)
    async with place(own_server.url, tmp_path, models) as at:
        one_each = {"TED_MEMORY_EPISODES_AT_ONCE": "1"}
        with at.worker("one", **one_each) as one, at.worker("two", **one_each) as two:
            await at.ready("one", "two")
            with at.beat():
                await at.record(EPISODES // 2)
                await at.until_held(2)  # one by each worker
                models.delay = 0.0
                await at.until_queue_is(0, 0)
                await at.until_tasks_end(3)  # of two processes: a loop has served a second task
                await at.record(EPISODES // 2, EPISODES // 2)
                await at.until_queue_is(0, 0)
            for process in (one, two):
                process.terminate()
            assert [await ended(one), await ended(two)] == [0, 0]
        assert await at.learned() == wanted(EPISODES)
        each = [at.settled_by("one"), at.settled_by("two")]
        assert sum(each) == EPISODES, "each was settled by one of them"
        assert min(each) > 0, "both took part"
        assert "Traceback" not in at.told_by("one") + at.told_by("two")


async def test_what_a_killed_worker_held_is_settled_once_by_another(
    own_server: Server, tmp_path: Path
) -> None:
    async with place(own_server.url, tmp_path, FirstAnswer(NEVER)) as at:
        await at.record(1)
        with at.worker("killed") as killed:
            await at.ready("killed")
            call_learner(at)
            await until_it_asks(at)
            killed.kill()
            assert await ended(killed) == -signal.SIGKILL
        assert await at.queue() == (0, 1), "it died with the episode in its hands"
        with at.worker("another"):
            await at.ready("another")
            with at.beat():
                await at.until_queue_is(0, 0)
        assert await at.learned() == wanted(1)
    items = [item_in(str(request["messages"])) for request in at.models.requests]
    assert items.count(0) > 3, "the control: it was begun twice, and settled once"


@pytest.mark.parametrize(
    ("delay", "queue"), [(3.0, (0, 0)), (NEVER, (1, 0))], ids=["finishes", "gives back"]
)
async def test_a_worker_that_is_told_to_stop_finishes_what_it_holds_or_gives_it_back(
    own_server: Server, tmp_path: Path, delay: float, queue: tuple[int, int]
) -> None:
    async with place(own_server.url, tmp_path, FirstAnswer(delay)) as at:
        await at.record(1)
        with at.worker("stopped", LEARN_SECONDS="1" if delay == NEVER else "60") as stopped:
            await at.ready("stopped")
            call_learner(at)
            await until_it_asks(at)
            stopped.terminate()
            await at.told("stopped", "Warm shutdown")
            assert await ended(stopped) == 0
        assert await at.queue() == queue, "nobody has to wait for a lease"
        assert await at.learned() == wanted(1 - queue[0])
