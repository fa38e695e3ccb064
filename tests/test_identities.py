"""Principals and conversations as a hook makes them: spelt in one way, or as keyed hashes."""

from typing import Any

import pytest

from ted_memory import Add, TedMemory, open_memory
from ted_memory.capture.recorder import Hooks
from ted_memory.episodes import ANONYMOUS, Episode
from ted_memory.errors import InvalidInput
from ted_memory.redaction import keyed_hash
from ted_memory.settings import make_settings
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server
from tests.integrations.agents import agent, asks
from tests.spy_log import recorded
from tests.test_curation import everything_stored

KEY = "a key of sixteen or more bytes"
ANNA = "Anna.Example@x.com"


def a_memory(**hooks: Any) -> TedMemory:
    settings = make_settings(namespace="test", withhold_share=0.0)
    return TedMemory(InMemoryStore(), settings, "test", hooks=Hooks(**hooks))


async def test_one_spelling_is_one_principal() -> None:
    memory = a_memory(identify=str.casefold)
    for i, spelled in enumerate((ANNA, ANNA.upper(), ANNA.lower())):
        await memory.record(Episode(run_id=f"r{i}", principal=spelled))
    await memory.flush()
    assert await memory.give_feedback("r0", score=1.0, principal=ANNA.upper()) == "credited", (
        "her own run"
    )
    assert {episode.principal for episode in await recorded(memory)} == {ANNA.lower()}
    await memory.aclose()


async def test_without_the_hook_they_would_be_three() -> None:
    """The control."""
    memory = a_memory()
    for i, spelled in enumerate((ANNA, ANNA.upper(), ANNA.lower())):
        await memory.record(Episode(run_id=f"r{i}", principal=spelled))
    assert len({episode.principal for episode in await recorded(memory)}) == 3
    assert await memory.give_feedback("r0", score=1.0, principal=ANNA.upper()) == "foreign"
    await memory.aclose()


async def test_hashed_names_are_nowhere_in_the_server_and_all_works_as_before(
    valkey: Server, namespace: str
) -> None:
    async with open_memory(
        valkey.url, namespace=namespace, identify=keyed_hash(KEY), withhold_share=0.0
    ) as memory:
        source = f"principal:{keyed_hash(KEY)(ANNA)}"
        await memory.commit(
            [Add(text="Be brief.", sources=(source,)), Add(text="Be kind.")], author="me"
        )
        runs, _ = agent(memory, principal=ANNA)
        await runs.ainvoke(asks(), {"configurable": {"thread_id": f"{ANNA}-thread"}})
        await memory.flush()
        [claim] = (
            await memory.store.episodes.claim(
                namespace, "x", lease=9, count=9, max_deliveries=9, alone=False
            )
        ).claims
        assert claim.episode.principal == keyed_hash(KEY)(ANNA)
        assert (
            await memory.give_feedback(claim.episode.run_id, score=1.0, principal=ANNA)
            == "credited"
        )
        assert (
            await memory.give_feedback(claim.episode.run_id, score=0.0, principal="mallory")
            == "foreign"
        )
        stored = await everything_stored(memory)
        assert "Example" not in stored
        assert keyed_hash(KEY)(ANNA) in stored, "the control"
        report = await memory.forget("principal", ANNA)
        assert (report.episodes, report.runs, len(report.lessons.removed)) == (1, 1, 1)
        assert keyed_hash(KEY)(ANNA) not in await everything_stored(memory)


async def test_a_conversation_is_forgotten_by_its_own_name(valkey: Server, namespace: str) -> None:
    async with open_memory(valkey.url, namespace=namespace, identify=keyed_hash(KEY)) as memory:
        await memory.record(Episode(run_id="r", thread_id="t1"))
        await memory.flush()
        assert (await memory.forget("run", "r")).episodes == 1
        await memory.record(Episode(run_id="s", thread_id="t1"))
        await memory.flush()
        assert (await memory.forget("thread", "t1")).episodes == 1


async def test_nobody_stays_nobody_and_a_hook_that_fails_loses_the_run_alone() -> None:
    def fails(who: str) -> str:
        raise RuntimeError(f"no {who}")

    memory = a_memory(identify=fails)
    await memory.record(Episode(run_id="of-nobody"))
    await memory.record(Episode(run_id="of-anna", principal=ANNA))
    assert [e.principal for e in await recorded(memory)] == [ANONYMOUS]
    assert memory.health().dropped == 1
    with pytest.raises(InvalidInput, match="a hook failed"):
        await memory.give_feedback("of-nobody", score=1.0, principal=ANNA)
    await memory.aclose()


def test_a_keyed_hash_needs_its_key_and_tells_nothing_without() -> None:
    assert keyed_hash(KEY)(ANNA) == keyed_hash(KEY.encode())(ANNA)
    assert keyed_hash(KEY)(ANNA) != keyed_hash(f"{KEY}!")(ANNA)
    assert len({keyed_hash(KEY)(f"user-{i}") for i in range(1000)}) == 1000
    with pytest.raises(ValueError, match="at least 16"):
        keyed_hash("short")


async def test_all_without_an_identity_share_one_days_allowance_and_take_nobody_elses() -> None:
    settings = make_settings(namespace="test", rate_limit=2, withhold_share=0.0)
    asked: list[str] = []

    def identify(who: str) -> str:
        asked.append(who)
        return who

    memory = TedMemory(InMemoryStore(), settings, "test", hooks=Hooks(identify=identify))
    for i in range(4):
        await memory.record(Episode(run_id=f"a{i}", thread_id=f"thread-{i}"))
    for i, name in enumerate(("anna", "bert", "carl")):
        await memory.record(Episode(run_id=f"n{i}", principal=name))
    await memory.flush()
    traffic = await memory.store.episodes.traffic("test")
    assert (traffic.counts["recorded"], traffic.counts["limited"]) == (5, 2)
    taken = [episode.principal for episode in await recorded(memory)]
    assert sorted(taken) == ["anna", ANONYMOUS, ANONYMOUS, "bert", "carl"]
    assert ANONYMOUS not in asked, "the hook is asked for names alone"
    await memory.aclose()
