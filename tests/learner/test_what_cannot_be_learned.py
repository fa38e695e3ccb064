"""Episodes from which nothing can be learned leave the queue, and hold up nothing behind them."""

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import open_memory
from ted_memory.episodes import Episode
from ted_memory.learner import Learner
from tests.conftest import Server
from tests.distill.scripts import (
    student,
    teacher,
)
from tests.learner.settled import CHEAP, check_nothing_held, traffic_of
from tests.learner.worlds import complain, episode


def says_nothing(number: int) -> Episode:
    return episode("apples", number).model_copy(update={"output": (), "error": "it broke"})


async def test_an_episode_that_nobody_can_answer_is_set_aside(
    valkey: Server, namespace: str
) -> None:
    def broken(_: list[BaseMessage]) -> str:
        raise ValueError("cannot answer this one")

    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await memory.record(says_nothing(1))
        await memory.flush()
        report = await Learner(memory, student=student(broken), teacher=teacher()).run(
            until_empty=True
        )
        assert report.outcomes == {"set_aside": 1}
        traffic = await traffic_of(memory)
        check_nothing_held(traffic)
        assert (traffic.waiting, traffic.counts["set_aside"]) == (0, 1)

        # the live run's own answer is enough to learn from
        await complain(memory, [episode("bananas")])
        report = await Learner(memory, student=student(broken), teacher=teacher()).run(
            until_empty=True
        )
        assert report.outcomes == {"learned": 1}


async def test_a_learner_that_ends_when_nothing_waits_tries_again_what_failed_before_it_ends(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        # nothing can be learned from it, and it waits a second each time
        await memory.record(Episode(run_id="empty"))
        await memory.flush()
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"failed": 2, "dead": 1}


async def test_an_episode_without_a_task_is_a_dead_letter_with_the_reason(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await memory.record(Episode(run_id="empty"))
        await complain(memory, [episode("apples")])
        learner, dead = Learner(memory, student=student(), teacher=teacher()), []
        while not dead:
            await learner.run(until_empty=True)
            dead = list(await memory.store.episodes.dead_letters(namespace, 5))
        assert [(letter.run_id, letter.deliveries) for letter in dead] == [("empty", 3)]
        assert "input" in dead[0].reason
        assert learner.report.outcomes == {"learned": 1, "failed": 2, "dead": 1}
        traffic = await traffic_of(memory)
        assert (traffic.waiting, traffic.claimed, traffic.last_error) == (0, 0, dead[0].reason)


async def test_an_episode_whose_lesson_is_refused_for_good_leaves_the_queue(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        await memory.purge("principal:anna")
        await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        traffic = await traffic_of(memory)
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 0)
        assert len(await memory.load()) == 0


@pytest.mark.parametrize(
    "source", ["principal:anna", "principal:eve", "run:apples-anna-0", "principal:zoe"]
)
async def test_no_model_reads_an_episode_of_which_something_was_purged(
    valkey: Server, namespace: str, source: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        one = episode("apples")
        await complain(memory, [one])
        await memory.give_feedback(one.run_id, comment="c000 it is", principal="eve", reviewer=True)
        await memory.purge(source)
        models = student(), teacher()
        await Learner(memory, student=models[0], teacher=models[1]).run(until_empty=True)
        is_read = source == "principal:zoe"  # the control: she said nothing of it
        assert bool(models[0].asked or models[1].asked) == is_read
        traffic = await traffic_of(memory)
        assert (traffic.waiting, traffic.claimed, traffic.archived) == (0, 0, int(is_read))
