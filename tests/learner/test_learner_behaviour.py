"""How a learner stops, shares its time, keeps its budget, and holds its claims."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableLambda

from ted_memory import TedMemory, open_memory
from ted_memory.distill import Budget
from ted_memory.errors import InvalidInput
from ted_memory.learner import Learner
from ted_memory.models import Message
from ted_memory.testing import wait_until
from tests.conftest import Server
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    follows,
    prompt_of,
    student,
    teacher,
    texts_of,
)
from tests.learner.settled import CHEAP, check_nothing_held, traffic_of
from tests.learner.worlds import complain, episode, on_another_day

THINGS = list(CODES)


def slow(seconds: float) -> SlowChatModel:
    return SlowChatModel(script=follows, pause=lambda _: seconds)


@contextlib.asynccontextmanager
async def at_work(learner: Learner, episodes: int = 1) -> AsyncIterator["asyncio.Task[Any]"]:
    """Let a learner run, and go on when it has begun so many."""
    running = asyncio.create_task(learner.run())
    try:
        await wait_until(lambda: len(learner._work) >= episodes, what="work")
        yield running
    finally:
        learner.stop()
        await running


# --- stopping


async def test_a_learner_that_is_stopped_finishes_what_is_under_way_and_begins_nothing(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=2, **CHEAP) as memory:
        await complain(memory, [episode(thing) for thing in THINGS[:6]])
        learner = Learner(memory, student=slow(0.3), teacher=teacher())
        async with at_work(learner, 2) as running:
            learner.stop()
            report = await running
        assert report.outcomes == {"learned": 2}
        traffic = await traffic_of(memory)
        check_nothing_held(traffic)
        assert (traffic.waiting, traffic.counts["learned"]) == (4, 2)


async def test_what_a_stopped_learner_cannot_finish_is_given_back_and_held_against_nobody(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_deliveries=1, **CHEAP) as memory:
        await complain(memory, [episode(thing) for thing in THINGS[:3]])
        learner = Learner(memory, student=slow(60), teacher=teacher())
        running = asyncio.create_task(learner.run(grace=0))
        await wait_until(lambda: len(learner._work) == 3, what="work")
        learner.stop()
        assert (await running).outcomes == {"released": 3}
        check_nothing_held(await traffic_of(memory))
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 3}, (
            "a failure that counted would have made dead letters of them"
        )

        # the control: without it they stay with a learner that is gone
        monkeypatch.setattr(Learner, "_hand_back", lambda *_, **__: asyncio.sleep(0, "released"))
        await complain(memory, [episode("apples", 1)])
        learner = Learner(memory, student=slow(60), teacher=teacher())
        running = asyncio.create_task(learner.run(grace=0))
        await wait_until(lambda: len(learner._work) == 1, what="work")
        learner.stop()
        await running
        with pytest.raises(AssertionError, match="still held"):
            check_nothing_held(await traffic_of(memory))


# --- until it is empty


async def test_a_learner_can_be_run_again(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        learner = Learner(memory, student=student(), teacher=teacher())
        for thing in THINGS[:3]:
            await complain(memory, [episode(thing)])
            await learner.run(until_empty=True)
        assert learner.report.outcomes == {"learned": 3}


async def abandoned(memory: TedMemory, *, lease: float, alone: bool = False) -> None:
    """Claim an episode as a learner that then dies; a short lease is at its end afterwards."""
    claim = memory.store.episodes.claim
    found = await claim(
        memory.namespace, "dead", lease=lease, count=1, max_deliveries=9, alone=alone
    )
    assert len(found.claims) == 1
    await asyncio.sleep(0.02)


async def test_what_becomes_free_while_it_works_on_the_last_episode_is_not_left(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples"), episode("bananas")])
        await abandoned(memory, lease=0.3)
        report = await Learner(memory, student=slow(0.6), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 2}


async def test_what_follows_on_a_dead_letter_is_not_left(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, max_deliveries=2, **CHEAP) as memory:
        await complain(memory, [episode("apples"), episode("bananas")])
        await abandoned(memory, lease=0.01)
        await abandoned(memory, lease=0.01, alone=True)
        await abandoned(memory, lease=0.01)
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {"learned": 1}
        traffic = await traffic_of(memory)
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 1)


# --- many namespaces


async def whose_turn(url: str, sizes: dict[str, int], *, turns: int) -> list[str]:
    """Return whose episodes were worked on, one after the other, so many of them at least."""
    solving = teacher()
    async with open_memory(url, namespace=next(iter(sizes)), episodes_at_once=1, **CHEAP) as memory:
        for name, count in sizes.items():
            one = memory.for_namespace(name)
            for i in range(count):
                asked = Message(role="user", content=f"What is the code of apples? (for {name})")
                right = episode("apples", i, principal=f"user-{i}", answer=CODES["apples"])
                await one.record(right.model_copy(update={"input": (asked,)}))
            await one.flush()
        learner = Learner(memory, teacher=solving, replay="none", namespaces=list(sizes))
        async with at_work(learner):
            await wait_until(lambda: learner.report.settled >= turns, timeout=60, what="turns")
    return [re.findall(r"\(for (\S+)\)", prompt_of(messages))[0] for messages in solving.asked]


async def test_a_namespace_with_much_traffic_does_not_starve_one_with_little(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud, quiet = f"{namespace}-loud", f"{namespace}-quiet"
    order = await whose_turn(valkey.url, {loud: 200, quiet: 3}, turns=10)
    assert order[:6].count(quiet) == 3, order

    # the control: without turns the first one always goes first
    monkeypatch.setattr(Learner, "_turn", property(lambda _: 0, lambda *_: None), raising=False)
    loud, quiet = f"{namespace}-loud-2", f"{namespace}-quiet-2"
    order = await whose_turn(valkey.url, {loud: 20, quiet: 3}, turns=23)
    assert order[-3:] == [quiet] * 3, order


async def test_a_learner_for_all_namespaces_finds_those_that_are_new(own_server: Server) -> None:
    async with open_memory(own_server.url, namespace="first", **CHEAP) as memory:
        learner = Learner(memory, student=student(), teacher=teacher(), namespaces="all")
        running = asyncio.create_task(learner.run())
        for number, name in enumerate(("second", "third", "first")):
            await complain(memory.for_namespace(name), [episode("apples")])
            await wait_until(
                lambda n=number: learner.report.settled == n + 1, what=f"work for {name}"
            )
        learner.stop()
        await running
        for name in ("first", "second", "third"):
            assert await texts_of(memory.for_namespace(name)) == [f"say {CODES['apples']}"]

        # the control: a learner for its own namespace looks at no other one
        await complain(memory.for_namespace("fourth"), [episode("apples")])
        report = await Learner(memory, student=student(), teacher=teacher()).run(until_empty=True)
        assert report.outcomes == {}


# --- budget


async def test_a_day_s_budget_holds_for_each_namespace_and_the_next_day_brings_another(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, budget = [namespace, f"{namespace}-2"], Budget(calls=7)
    async with open_memory(valkey.url, namespace=namespace, episodes_at_once=1, **CHEAP) as memory:
        for name in names:
            await complain(memory.for_namespace(name), [episode(thing) for thing in THINGS[:4]])

        async def learned() -> list[int]:
            both = Learner(
                memory, student=student(), teacher=teacher(), namespaces=names, budget=budget
            )
            both.report = (await both.run(until_empty=True)) or both.report
            told.append(both.report.last_error)
            return [
                (await traffic_of(memory.for_namespace(name))).counts["learned"] for name in names
            ]

        told: list[str] = []
        assert await learned() == [2, 2], "three calls each: two fit into seven"
        assert re.search(r"has used up its budget of 7 calls for today; its episodes wait", told[0])
        traffic = await traffic_of(memory)
        assert traffic.today["student_calls"] + traffic.today["teacher_calls"] == 6
        assert (traffic.waiting, traffic.claimed) == (2, 0)
        assert await learned() == [2, 2], "also for another learner"
        on_another_day(monkeypatch)
        assert await learned() == [4, 4]


# --- what the student is


async def test_a_learner_without_a_student_learns_from_the_live_run_alone(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, trust="always") as memory:
        with pytest.raises(InvalidInput, match="needs the student"):
            Learner(memory, teacher=teacher())
        await complain(memory, [episode("apples")])
        solving = teacher()
        report = await Learner(memory, teacher=solving, replay="none").run(until_empty=True)
        assert report.outcomes == {"learned": 1}
        assert await texts_of(memory) == [f"say {CODES['apples']}"]
        today = (await traffic_of(memory)).today
        assert (today["student_calls"], today["teacher_calls"]) == (0, len(solving.asked)) == (0, 2)


@pytest.mark.parametrize("replay", ["model", "agent"])
async def test_a_model_answers_over_the_recorded_tools_and_an_agent_uses_its_own(
    valkey: Server, namespace: str, replay: Any
) -> None:
    asked: list[str] = []

    def agent(messages: list[BaseMessage]) -> dict[str, Any]:
        asked.append(prompt_of(messages))
        return {
            "messages": [
                *messages,
                AIMessage(content=follows(messages[:2]) if replay == "agent" else "no idea"),
            ]
        }

    async with open_memory(valkey.url, namespace=namespace, **CHEAP) as memory:
        await complain(memory, [episode("apples", tools=("look_up(apples) -> nothing",))])
        learner = Learner(memory, student=RunnableLambda(agent), teacher=teacher(), replay=replay)
        assert (await learner.run(until_empty=True)).outcomes == {"learned": 1}
    assert asked
    assert all(("look_up(apples)" in prompt) == (replay == "model") for prompt in asked)


# --- holding on


async def test_work_that_takes_longer_than_the_lease_is_nobody_else_s(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, lease_seconds=1.0, max_deliveries=9, **CHEAP
    ) as memory:

        async def outcomes(thing: str, wanted: str) -> Counter[str]:
            """Let two learners work on one episode until there is such an outcome; return all."""
            await complain(memory, [episode(thing)])
            two = [Learner(memory, student=slow(1.6), teacher=teacher()) for _ in range(2)]
            async with at_work(two[0]), at_work(two[1], 0):
                await wait_until(
                    lambda: any(learner.report.outcomes[wanted] for learner in two),
                    timeout=60,
                    what=wanted,
                )
            return two[0].report.outcomes + two[1].report.outcomes

        assert await outcomes("apples", "learned") == {"learned": 1}
        # the control: without heartbeats the other one takes it over
        monkeypatch.setattr(Learner, "_beat_always", lambda _: asyncio.Event().wait())
        assert (await outcomes("bananas", "fenced"))["fenced"] >= 1


async def test_a_learner_stops_work_that_another_one_has_taken_over(
    valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken_over(memory: TedMemory, learner: Learner) -> None:
        """Take over as soon as the claim is at its end, which is brought about."""
        [(_, claim)] = learner._work.values()
        log = memory.store.episodes
        while True:
            await log.extend_lease(memory.namespace, learner.id, [claim], lease=0.001)
            await asyncio.sleep(0.002)
            found = await log.claim(
                memory.namespace, "other", lease=60, count=1, max_deliveries=9, alone=True
            )
            if found.claims:
                return

    async with open_memory(valkey.url, namespace=namespace, lease_seconds=0.4, **CHEAP) as memory:
        await complain(memory, [episode("apples")])
        learner = Learner(memory, student=slow(60), teacher=teacher())
        async with at_work(learner):
            await taken_over(memory, learner)
            await wait_until(
                lambda: learner.report.outcomes == {"fenced": 1}, what="the end of work in vain"
            )

        # the control: without heartbeats it would go on to the end
        monkeypatch.setattr(Learner, "_beat_always", lambda _: asyncio.Event().wait())
        await complain(memory, [episode("bananas")])
        learner = Learner(memory, student=slow(0.8), teacher=teacher())
        async with at_work(learner):
            await taken_over(memory, learner)
            await asyncio.sleep(0.3)
            assert learner.report.outcomes == {}
            await wait_until(
                lambda: learner.report.outcomes == {"fenced": 1}, what="a commit in vain"
            )
