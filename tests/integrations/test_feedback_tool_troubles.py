"""Feedback that an agent passes on to a store that is slow, away, full or refuses it."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.capture.recorder import Recorder
from ted_memory.errors import StoreRefused, StoreUnavailable
from ted_memory.integrations import tools
from ted_memory.integrations.tools import LATER, LEAST
from ted_memory.testing import wait_until
from tests.conftest import Server
from tests.integrations.agents import asks
from tests.integrations.test_feedback_tool import THREAD, rating, scores, told
from tests.spy_log import SpyLog, spied, taken_in


async def arrived(memory: TedMemory) -> list[float | None]:
    """The scores that are at the store; nothing is sent for it."""
    found = await memory.store.episodes.told("test", [e.run_id for e in taken_in(memory)])
    return [said.score for of_run in found for said in of_run]


def hanging(log: SpyLog, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have feedback wait until the event that is returned."""
    real, there = log.feedback, asyncio.Event()

    async def slow(*args: Any) -> Any:
        await there.wait()
        return await real(*args)

    monkeypatch.setattr(log, "feedback", slow)
    return there


async def test_what_is_said_while_the_store_is_away_waits_as_runs_do() -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
    with pytest.raises(StoreUnavailable):
        await memory.flush()
    log.away = 0
    await memory.flush()
    assert (await scores(memory))["What is x?"] == 0.0
    await memory.aclose()


async def test_what_is_said_while_the_store_is_away_is_sent_without_being_asked_for() -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
    log.away = 0

    async def there() -> bool:
        return await arrived(memory) == [0.0]

    await wait_until(there, what="the feedback")
    await memory.aclose()


async def test_an_agent_waits_for_a_slow_store_no_longer_than_is_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    there = hanging(log, monkeypatch)
    try:
        out = await asyncio.wait_for(runs.ainvoke(asks("wrong"), THREAD), 10 * LEAST)
        assert told(out) == LATER
    finally:
        there.set()
        await memory.flush()
        assert await arrived(memory) == [0.0]
        await memory.aclose()


async def test_were_it_more_patient_an_agent_would_wait_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control."""
    monkeypatch.setattr(tools, "LEAST", 60.0)
    with pytest.raises(TimeoutError):
        await test_an_agent_waits_for_a_slow_store_no_longer_than_is_promised(monkeypatch)


@pytest.mark.parametrize("end", ["flush", "aclose"])
def test_what_is_still_being_sent_is_not_lost_with_its_loop(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, log = spied()

    async def program() -> None:
        runs, real = rating(memory), log.feedback

        async def slow(*args: Any) -> Any:
            await asyncio.sleep(1)
            return await real(*args)

        await runs.ainvoke(asks("What is x?"), THREAD)
        monkeypatch.setattr(log, "feedback", slow)
        assert told(await runs.ainvoke(asks("wrong"), THREAD)) == LATER
        await getattr(memory, end)()

    asyncio.run(program())
    assert asyncio.run(arrived(memory)) == [0.0]


@pytest.mark.parametrize("end", ["flush", "aclose"])
def test_were_it_not_in_the_buffer_it_would_be_lost(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing but the tool's own task sends it."""

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr(Recorder, "_send_all", nothing)
    with pytest.raises(AssertionError):
        test_what_is_still_being_sent_is_not_lost_with_its_loop(end, monkeypatch)


PROGRAM = """
import asyncio, sys
from ted_memory import open_memory
from ted_memory.integrations import tools
from ted_memory.memory import sync_bridge
from tests.integrations.test_feedback_tool import THREAD, asks, rating, told

_, url, namespace, how = sys.argv
if how == "control":
    sync_bridge._Bridge.flush_recorded = lambda self: None
memory = open_memory(url, namespace=namespace)
log, calls = memory.store.episodes, []
real = log.feedback

async def slow(*args):
    calls.append(args)
    if len(calls) == 1:
        await asyncio.sleep(60)
    return await real(*args)

async def program():
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    await memory.flush()
    log.feedback = slow
    print(told(await runs.ainvoke(asks("wrong"), THREAD)))

asyncio.run(program())
"""


@pytest.mark.parametrize(("how", "count"), [("as it is", 1), ("control", 0)])
def test_what_is_still_being_sent_when_a_program_ends_is_sent_then(
    valkey: Server, namespace: str, how: str, count: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, valkey.url, namespace, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, LATER), done.stderr

    async def arrived() -> int:
        async with open_memory(valkey.url, namespace=namespace) as memory:
            asked = {"lease": 60, "count": 9, "max_deliveries": 3, "alone": False}
            found = (await memory.store.episodes.claim(namespace, "me", **asked)).claims
            return sum(len(claim.feedback) for claim in found)

    assert asyncio.run(arrived()) == count


async def test_what_the_store_refuses_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, log = spied()
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)

    async def refuses(*_: Any) -> Any:
        raise StoreRefused("no right to do so")

    with monkeypatch.context() as patch:
        patch.setattr(log, "feedback", refuses)
        assert (
            told(await runs.ainvoke(asks("wrong"), THREAD))
            == "It could not be noted: no right to do so"
        )
    await memory.flush()
    assert (await scores(memory))["What is x?"] is None
    await memory.aclose()


async def test_what_finds_the_buffer_full_is_told_so() -> None:
    memory, log = spied(buffer_episodes=3)
    runs = rating(memory)
    await runs.ainvoke(asks("What is x?"), THREAD)
    log.away = 10**6
    said = [told(await runs.ainvoke(asks("wrong"), THREAD)) for _ in range(4)]
    assert said[0] == LATER
    assert said[-1].startswith("It could not be noted: the buffer is full")
    log.away = 0
    await memory.aclose()
