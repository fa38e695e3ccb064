"""Agents under traffic beside a learner: what one agent learns all know, and what hurts goes."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ted_memory import Add, Merge, TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.experience.evidence import Evidence
from ted_memory.experience.trials import ENOUGH_OF_A_LARGE_LIFT, TURNED, live_needed, loudest
from ted_memory.models import Experience, Message
from ted_memory.testing import wait_until
from tests.chaos.live_world import DOCKS, learner
from tests.chaos.sizes import FULL, report, size
from tests.conftest import Server

REQUESTS = size(250, 600)
WITHIN = 2.0  # seconds
GAINED = size(0.15, 0.25)  # on a busy machine the learner is behind a short traffic


async def _start(*args: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.live_world", *map(str, args)
    )


def _curve(lines: list[dict[str, object]]) -> list[float]:
    right = [bool(line["right"]) for line in lines]
    return [sum(right[i : i + 50]) / 50 for i in range(0, len(right) - 49, 50)]


async def _two_agents_and_a_learner(
    url: str, namespace: str, folder: Path
) -> list[list[dict[str, object]]]:
    """What each agent wrote down of each of its requests."""
    worker = await _start("learn", url, namespace)
    files = [folder / f"{i}.jsonl" for i in range(2)]
    agents = [await _start(url, namespace, REQUESTS, i, file) for i, file in enumerate(files)]
    try:
        assert [await agent.wait() for agent in agents] == [0, 0]
        worker.terminate()
        assert await worker.wait() == 0
    finally:
        for process in (worker, *agents):
            if process.returncode is None:
                process.kill()
                await process.wait()
    return [
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in files
    ]


async def test_two_agents_get_better_together_by_one_learner(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    runs = await _two_agents_and_a_learner(valkey.url, namespace, tmp_path)
    for i, run in enumerate(runs):
        curve = _curve(run)
        told = " ".join(f"{share:.2f}" for share in curve)
        print(f"agent {i}, accuracy per 50 requests: {told}")
        report(f"agent {i} of two, accuracy per 50 requests: {told}")
        assert curve[-1] >= curve[0] + GAINED, "its users' complaints taught it"
    async with open_memory(valkey.url, namespace=namespace) as memory:
        activated = await _activated(memory)
        for lesson, _ in activated:
            await _check_evidence(memory, lesson.id)
    assert activated, "something became active on the evidence of the traffic"
    seen = [(_first(run, lesson), at) for lesson, at in activated for run in runs]
    delays = [first - at for first, at in seen if first > 0]
    assert len(delays) >= len(activated), "the agents came to render it"
    report(f"an activated lesson stood in both agents' prompts within {max(delays):.2f} s")
    if FULL:
        assert max(delays) <= WITHIN


async def _check_evidence(memory: TedMemory, id: str) -> None:
    """Replays had shown that it helps before outcomes did."""
    evidence, k = await _evidence(memory, id), loudest(memory.settings)
    assert evidence.helps(k) >= ENOUGH_OF_A_LARGE_LIFT, "replayed first"
    assert evidence.live(k) >= live_needed(evidence.helps(k))


async def _evidence(memory: TedMemory, id: str) -> Evidence:
    known = await memory.store.episodes.evidence(memory.namespace, [id])
    return known[id].evidence if id in known else Evidence()


async def _activated(memory: TedMemory) -> list[tuple[Experience, float]]:
    found = []
    for entry in await memory.log(10_000):
        for change in entry.changes:
            found += [(e, entry.at.timestamp()) for e in change.after if e.state == "active"]
    return found


def _first(run: list[dict[str, object]], lesson: Experience) -> float:
    """When an agent first rendered a lesson for everyone; 0 when its traffic had ended before."""
    return next((float(str(line["at"])) for line in run if lesson.text in str(line["block"])), 0.0)


async def test_an_active_lesson_that_comes_to_hurt_leaves_every_agent(
    valkey: Server, namespace: str
) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as memory,
        open_memory(valkey.url, namespace=namespace) as agent,
    ):
        commit = await memory.commit(
            [Add(text="answer dock 1.", when="tea"), Add(text="Stay.")], author="operator"
        )
        bad = commit.applied[0].id
        await agent.load()
        assert "dock 1" in await agent.render()
        worker = learner(memory)
        learning = asyncio.create_task(worker.run())
        given = {"version": (await memory.load()).version, "withhold_share": 1 / 3}
        for i in range(1000):
            seen = i % 3 != 0
            ids: dict[str, Any] = {"seen": (bad,)} if seen else {"withheld": (bad,)}
            asked = (Message(role="user", content="tea"),)
            one = Episode(run_id=f"run-{i}", principal=f"p{i}", input=asked, **ids, **given)
            await memory.record(one)
            await memory.give_feedback(one.run_id, score=float(not seen), principal=f"p{i}")
            if (await _evidence(memory, bad)).turned(loudest(memory.settings)) >= TURNED:
                break
        crossed = time.monotonic()
        await wait_until(
            lambda: _is_gone(agent, "dock 1"), what="the demotion in the agent's prompt"
        )
        took = time.monotonic() - crossed
        worker.stop()
        await learning
        assert "Stay." in await agent.render(), "what does not hurt is still there"
        demoted = (await memory.load()).by_id[bad]
        assert (
            demoted.state,
            demoted.trial is not None and "it has come to hurt" in demoted.trial.ended,
        ) == (
            "proposed",
            True,
        )
        report(
            f"an active lesson that hurts left the agent's prompt "
            f"{took:.2f} s after the bound was crossed"
        )
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


async def test_a_purge_after_five_compactions_reaches_every_agent(
    valkey: Server, namespace: str
) -> None:
    async with (
        open_memory(valkey.url, namespace=namespace) as memory,
        open_memory(valkey.url, namespace=namespace) as one,
        open_memory(valkey.url, namespace=namespace) as other,
    ):
        names = [f"user-{i}" for i in range(6)]
        edits = [
            Add(text=f"Say {name}.", when="tea", sources=(f"principal:{name}",)) for name in names
        ]
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
            await wait_until(
                lambda agent=agent: _is_gone(agent, "user-2"), what="the purge in an agent's prompt"
            )
        took = time.monotonic() - began
        for agent in (one, other):
            block = await agent.render()
            assert all(f"Say {name}." in block for name in names if name != "user-2"), (
                "everything else is there"
            )
        report(f"a purge after five compactions was in both agents' prompts after {took:.2f} s")
        if FULL:
            assert took <= WITHIN


@pytest.mark.parametrize("accounts", [1, 2])
async def test_two_accounts_with_any_number_of_episodes_bring_nothing_before_users(
    valkey: Server, namespace: str, accounts: int
) -> None:
    count = size(150, 10_000)
    settings: dict[str, Any] = {"rate_limit": count, "rollouts": 1, "verify_calls": 0}
    async with open_memory(valkey.url, namespace=namespace, **settings) as memory:
        await record(memory, [f"loud-{i // len(DOCKS) % accounts}" for i in range(count)])
        worker = learner(memory)
        await worker.run(until_empty=True)
        now, traffic = await memory.load(), await memory.store.episodes.traffic(namespace)
        assert worker.report.settled == count
        assert (traffic.waiting, traffic.claimed, traffic.dead) == (0, 0, 0)
        assert len(now.proposed) > 0, "it was learned from"
        assert (now.active, now.trial) == ((), ())
        assert (worker.report.replayed > 0) == (accounts == 2), "on the other one's episodes"
        report(
            f"{accounts} accounts with {count} episodes: {len(now.proposed)} proposed, "
            f"{worker.report.replayed} pairs, 0 on trial, 0 active"
        )


async def test_as_many_episodes_of_many_accounts_do_bring_them_there(
    valkey: Server, namespace: str
) -> None:
    """The control."""
    async with open_memory(valkey.url, namespace=namespace, rollouts=1, verify_calls=0) as memory:
        await record(memory, [f"user-{i % 15}" for i in range(150)])
        await learner(memory).run(until_empty=True)
        assert {DOCKS[e.when] in e.text for e in (await memory.load()).trial} == {True}


async def record(memory: TedMemory, principals: Sequence[str]) -> None:
    """Record runs of these principals, each of which says what would have been right."""
    for i, principal in enumerate(principals):
        goods = list(DOCKS)[i % len(DOCKS)]
        asked, said = f"Which dock takes a load of {goods}?", "dock 1"
        one = Episode(
            run_id=f"run-{i}",
            principal=principal,
            input=(Message(role="user", content=asked),),
            output=(Message(role="assistant", content=said),),
        )
        await memory.record(one)
        await memory.give_feedback(
            one.run_id, score=0.0, correction=DOCKS[goods], principal=principal
        )
