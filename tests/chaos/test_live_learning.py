"""Agents under live traffic and a learner, each a process of its own: what one learns, all know; what hurts, goes."""

import asyncio
import json
import sys
import time
from pathlib import Path

from ted_memory import Add, Merge, TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.experience.utility import observed
from ted_memory.learner import Learner
from ted_memory.models import Experience, Message, Usage
from ted_memory.testing import ScriptedChatModel, wait_until
from tests.chaos.live_world import DOCKS, TRUST, follows, learner, teaches
from tests.chaos.sizes import FULL, report, size
from tests.conftest import Server

REQUESTS = size(250, 600)
WITHIN = 2.0  # seconds


async def _start(*args: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.chaos.live_world", *map(str, args))


def _curve(lines: list[dict[str, object]]) -> list[float]:
    right = [bool(line["right"]) for line in lines]
    return [sum(right[i : i + 50]) / 50 for i in range(0, len(right) - 49, 50)]


async def test_two_agents_get_better_together_by_one_learner(valkey: Server, namespace: str, tmp_path: Path) -> None:
    worker = await _start("learn", valkey.url, namespace)
    files = [tmp_path / f"{i}.jsonl" for i in range(2)]
    agents = [await _start(valkey.url, namespace, REQUESTS, i, file) for i, file in enumerate(files)]
    try:
        assert [await agent.wait() for agent in agents] == [0, 0]
        worker.terminate()
        assert await worker.wait() == 0
    finally:
        for process in (worker, *agents):
            if process.returncode is None:
                process.kill()
                await process.wait()
    runs = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]
    curves = [_curve(run) for run in runs]
    for i, curve in enumerate(curves):
        print(f"agent {i}, accuracy per 50 requests:", *(f"{share:.2f}" for share in curve))
        report(f"agent {i} of two, accuracy per 50 requests: {' '.join(f'{share:.2f}' for share in curve)}")
        assert curve[-1] >= curve[0] + 0.25, "its users' complaints taught it"
    async with open_memory(valkey.url, namespace=namespace, **TRUST) as memory:
        activated = await _activated(memory)
    assert activated, "something became active on the evidence of the traffic"
    delays = [_first(run, lesson) - at for lesson, at in activated for run in runs if _first(run, lesson) > 0]
    assert len(delays) >= len(activated), "the agents came to render it"
    report(f"an activated lesson stood in both agents' prompts within {max(delays):.2f} s")
    if FULL:
        assert max(delays) <= WITHIN


async def _activated(memory: TedMemory) -> list[tuple[Experience, float]]:
    found = []
    for entry in await memory.log(10_000):
        for change in entry.changes:
            found += [(e, entry.at.timestamp()) for e in change.after if e.state == "active"]
    return found


def _first(run: list[dict[str, object]], lesson: Experience) -> float:
    """When an agent first rendered a lesson for everyone; 0 when its traffic had ended before."""
    return next((float(str(line["at"])) for line in run if lesson.text in str(line["block"])), 0.0)


async def test_an_active_lesson_that_comes_to_hurt_leaves_every_agent(valkey: Server, namespace: str) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as memory,
        open_memory(valkey.url, namespace=namespace) as agent,
    ):
        commit = await memory.commit([Add(text="answer dock 1.", when="tea"), Add(text="Stay.")], author="operator")
        bad = commit.applied[0].id
        await agent.load()
        assert "dock 1" in await agent.render()
        worker = learner(memory)
        learning = asyncio.create_task(worker.run())
        for i in range(1000):
            seen = i % 3 != 0
            ids = {"seen": (bad,)} if seen else {"withheld": (bad,)}
            one = Episode(run_id=f"run-{i}", principal=f"p{i}", input=(Message(role="user", content="tea"),), **ids)
            await memory.record(one)
            await memory.give_feedback(one.run_id, score=float(not seen), principal=f"p{i}")
            lift = observed((await memory.usage()).get(bad, Usage()))
            if lift and lift.high < 0 and i > 40:
                break
        crossed = time.monotonic()
        await wait_until(lambda: _is_gone(agent, "dock 1"), what="the demotion in the agent's prompt")
        took = time.monotonic() - crossed
        worker.stop()
        await learning
        assert "Stay." in await agent.render(), "what does not hurt is still there"
        assert (await memory.load()).by_id[bad].state == "proposed"
        report(f"an active lesson that hurts left the agent's prompt {took:.2f} s after the bound was crossed")
        if FULL:
            assert took <= WITHIN


async def _is_gone(agent: TedMemory, text: str) -> bool:
    return text not in await agent.render()


async def test_a_lesson_without_outcomes_stays(valkey: Server, namespace: str) -> None:
    """The control: nothing but its outcomes takes a lesson out."""
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await memory.commit([Add(text="answer dock 1.", when="tea")], author="operator")
        worker = learner(memory)
        learning = asyncio.create_task(worker.run())
        await asyncio.sleep(1.5)
        worker.stop()
        await learning
        assert worker.report.steps == []
        assert "dock 1" in await memory.render()


async def test_a_purge_after_five_compactions_reaches_every_agent(valkey: Server, namespace: str) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as memory,
        open_memory(valkey.url, namespace=namespace) as one,
        open_memory(valkey.url, namespace=namespace) as other,
    ):
        names = [f"user-{i}" for i in range(6)]
        edits = [Add(text=f"Say {name}.", when="tea", sources=(f"principal:{name}",)) for name in names]
        ids = [a.id for a in (await memory.commit(edits, author="learner")).applied]
        merged = ids[0]
        for id in ids[1:]:  # five compactions, each on top of the one before
            texts = {e.id: e.text for e in await memory.load()}
            merge = Merge(ids=(merged, id), text=f"{texts[merged]} {texts[id]}", when="tea")
            merged = (await memory.commit([merge], author="compactor")).applied[0].id
        assert [e.id for e in await memory.load()] == [merged]
        await asyncio.gather(one.load(), other.load())

        began = time.monotonic()
        await memory.purge("principal:user-2")
        for agent in (one, other):
            await wait_until(lambda agent=agent: _is_gone(agent, "user-2"), what="the purge in an agent's prompt")
        took = time.monotonic() - began
        for agent in (one, other):
            block = await agent.render()
            assert all(f"Say {name}." in block for name in names if name != "user-2"), "everything else is there"
        report(f"a purge after five compactions was in both agents' prompts after {took:.2f} s")
        if FULL:
            assert took <= WITHIN


async def test_one_principal_with_any_number_of_episodes_makes_nothing_active(valkey: Server, namespace: str) -> None:
    count = size(200, 10_000)
    settings = {"rate_limit": count, "max_trial": 50, **TRUST, "rollouts": 1, "verify_calls": 0}
    async with open_memory(valkey.url, namespace=namespace, **settings) as memory:
        for i in range(count):
            goods = list(DOCKS)[i % len(DOCKS)]
            asked, said = f"Which dock takes a load of {goods}?", "dock 1"
            one = Episode(
                run_id=f"run-{i}",
                principal="loud",
                input=(Message(role="user", content=asked),),
                output=(Message(role="assistant", content=said),),
            )
            await memory.record(one)
            if i % 500 == 499 or i == count - 1:
                await memory.flush()
        worker = Learner(
            memory,
            student=ScriptedChatModel(script=follows),
            teacher=ScriptedChatModel(script=teaches),
            rollouts="none",
        )
        await worker.run(until_empty=True)
        now, traffic = await memory.load(), await memory.store.episodes.traffic(namespace)
        assert worker.report.settled == count
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 0)
        assert len(now.proposed) > 0, "it was learned from"
        assert (now.active, now.trial) == ((), ())
        report(f"one principal with {count} episodes: {len(now.proposed)} proposed, 0 on trial, 0 active")
