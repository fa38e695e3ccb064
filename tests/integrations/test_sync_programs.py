"""Programs without an event loop: all that the memory offers, and nothing lost at their end."""

import asyncio
import inspect
import subprocess
import sys

import pytest

from ted_memory import TedMemory, open_memory, open_memory_sync
from ted_memory.memory.sync import SyncTedMemory
from ted_memory.models import Add
from tests.conftest import Server

PROGRAM = """
import asyncio, sys, threading
from langchain.agents import create_agent
from ted_memory import Episode, open_memory_sync
from ted_memory.memory import sync_bridge
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.testing import ScriptedChatModel

_, url, namespace, how = sys.argv
if how.endswith("control"):
    sync_bridge._Bridge.flush_recorded = lambda self: None
if how.endswith("no new threads"):  # as Python 3.12 does
    flush = sync_bridge._Bridge.flush_recorded
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    def flush_without_threads(self):
        threading.Thread.start = refuse
        flush(self)
    sync_bridge._Bridge.flush_recorded = flush_without_threads
memory = open_memory_sync(url, namespace=namespace)
if how == "by hand":
    memory.record(Episode(run_id="r"))
else:
    middleware = TedMemoryMiddleware(memory.memory, record=True)
    agent = create_agent(ScriptedChatModel(script=lambda _: "done"), [], middleware=[middleware])
    asked = {"messages": [("user", "Hello")]}
    if how.startswith("a loop"):
        asyncio.run(agent.ainvoke(asked))
    else:
        agent.invoke(asked)
"""


@pytest.mark.parametrize(
    ("how", "recorded"),
    [
        ("an agent", 1),
        ("by hand", 1),
        ("no new threads", 1),
        ("control", 0),
        ("a loop that is closed", 1),
        ("a loop that is closed, no new threads", 1),
        ("a loop that is closed, control", 0),
    ],
)
def test_a_program_that_closes_nothing_loses_nothing(
    valkey: Server, namespace: str, how: str, recorded: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, valkey.url, namespace, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")

    async def waiting() -> int:
        async with open_memory(valkey.url, namespace=namespace) as memory:
            return (await memory.store.episodes.traffic(namespace)).waiting

    assert asyncio.run(waiting()) == recorded


def test_a_store_that_is_away_keeps_no_program_from_ending(namespace: str) -> None:
    command = [sys.executable, "-c", PROGRAM, "redis://127.0.0.1:9/0", namespace, "an agent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_method_is_there() -> None:
    inner = {"store", "rank", "staging", "selector", "recorder", "aclose", "credit"}
    offered = {
        n for n, m in inspect.getmembers(TedMemory) if not n.startswith("_") and callable(m)
    } - inner
    assert offered - {n for n, _ in inspect.getmembers(SyncTedMemory)} == set()


def test_what_is_shown_and_what_was_before(valkey: Server, namespace: str) -> None:
    with open_memory_sync(
        valkey.url, namespace=namespace, selection="all", withhold_share=0.0
    ) as memory:
        memory.commit([Add(text="One.")], author="me")
        memory.commit([Add(text="Two.")], author="me")
        snapshot = memory.snapshot()
        assert [e.text for e in memory.show(snapshot, "Hi")] == ["One.", "Two."]
        assert [e.text for e in memory.at(1)] == ["One."]
        assert "Two." in memory.expose("Hi", unit="u").block
        assert memory.presentation(snapshot).selection == "all"
