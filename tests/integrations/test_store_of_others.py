"""What well-known users of LangGraph's stores put there: values without a lesson, odd keys."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from ted_memory import TedMemory
from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.integrations import store as store_module
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.integrations.store_names import to_id, to_key
from ted_memory.integrations.store_writes import Writes
from ted_memory.models import Commit, Experience, Restore
from ted_memory.testing import in_memory

NS = ("memories", "anna")
LANGMEM = {"content": "Anna prefers short answers."}
DEEPAGENTS = {
    "content": ["# Notes", "", "  - one"],
    "created_at": "2026-01-01T00:00:00",
    "encoding": "utf-8",
}
OTHERS = [
    LANGMEM,
    DEEPAGENTS,
    {},
    {"text": 1, "n": 1},
    {"text": " \n"},
    {"when": None},
    {"kind": "Memory", "x": [{}]},
]


@pytest.fixture
def memory() -> TedMemory:
    return in_memory(trust="always", max_experiences=500, token_budget=50_000)


# --- values


@pytest.mark.parametrize("value", OTHERS)
async def test_a_value_without_a_lesson_is_kept_as_it_is(
    memory: TedMemory, value: dict[str, Any]
) -> None:
    store = TedMemoryStore(memory)
    await store.aput(NS, "k", value)
    item = await store.aget(NS, "k")
    assert item is not None
    assert item.value == value
    assert [
        found.value for found in await store.asearch(NS, filter=dict(list(value.items())[:1]))
    ] == [value]


async def test_its_lesson_is_its_json_or_what_the_developer_says(memory: TedMemory) -> None:
    def says(value: Mapping[str, Any]) -> str:
        return f"Mind: {value['content']}"

    for name, text in {"json": "text", "field": "content", "made": says}.items():
        store = TedMemoryStore(memory, text=text)  # type: ignore[arg-type]
        await store.aput((name,), "k", {**LANGMEM, "n": 1})
        item = await store.aget((name,), "k")
        assert item is not None
        assert item.value == {**LANGMEM, "n": 1}
    told = [
        (await memory.for_namespace(name).load()).by_id["k"].text
        for name in ("json", "field", "made")
    ]
    assert told == [
        '{"content": "Anna prefers short answers.", "n": 1}',
        "Anna prefers short answers.",
        "Mind: Anna prefers short answers.",
    ]
    with pytest.raises(InvalidInput, match="not a text that says something; nothing was written"):
        await TedMemoryStore(memory, text=lambda value: "").aput(NS, "k", LANGMEM)


async def test_a_long_json_is_cut_for_the_lesson_and_kept_whole(memory: TedMemory) -> None:
    store, value = TedMemoryStore(memory), {"content": "x" * 3000}
    await store.aput(("test",), "k", value)
    item = await store.aget(("test",), "k")
    assert item is not None
    assert item.value == value
    text = (await memory.load()).by_id["k"].text
    assert (len(text), text[-5:]) == (800, "x ...")
    with pytest.raises(InvalidInput, match="4000 are allowed"):
        await store.aput(("test",), "k", {"content": "x" * 4000})


async def test_names_with_dots_in_filters_are_paths(memory: TedMemory) -> None:
    store = TedMemoryStore(memory)
    await store.aput(NS, "deep", {"content": "x", "user": {"access-level": "nested", "n": 3}})
    await store.aput(NS, "flat", {"content": "y", "user.n": 7})
    for asked, keys in [
        ({"user.access-level": "nested"}, ["deep"]),
        ({"user.n": {"$gt": 2}}, ["deep", "flat"]),
        ({"user.n": 7}, ["flat"]),
        ({"user.n.deeper": 3}, []),
        ({"content.x": "x"}, []),
        ({"user": {"n": 3}}, ["deep"]),
        ({"user.n": {"$lt": 10**400}}, InvalidInput),
    ]:
        if isinstance(keys, list):
            assert [item.key for item in await store.asearch(NS, filter=asked)] == keys
        else:
            with pytest.raises(keys, match="needs a number"):
                await store.asearch(NS, filter=asked)


async def test_put_says_loudly_that_nobody_is_shown_a_proposal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for trust, warnings in (("evidence", 1), ("always", 0)):
        store_module._warn_once.cache_clear()
        caplog.clear()
        memory = in_memory(trust=trust)
        with caplog.at_level(logging.WARNING, "ted_memory"):
            for key in ("a", "b"):
                await TedMemoryStore(memory).aput(("test",), key, {"text": "Be brief."})
        assert [r.message.count("no agent's prompt shows it") for r in caplog.records] == [
            1
        ] * warnings
        assert bool(await memory.render()) is not bool(warnings)


# --- keys

KEYS = [
    "a key",
    "",
    "k" * 65,
    "k" * 1000,
    "/notes/to do.md",
    "\n",
    "日本 語",
    f"key:{'0' * 40}",
    "plain",
]


async def test_any_text_is_a_key(memory: TedMemory) -> None:
    store, upstream = TedMemoryStore(memory), InMemoryStore()
    for each in (store, upstream):
        for i, key in enumerate(KEYS):
            await each.aput(NS, key, {"text": f"lesson {i}", "n": i})
        await each.adelete(NS, KEYS[1])
    for key in KEYS:
        ours, theirs = await store.aget(NS, key), await upstream.aget(NS, key)
        assert (ours and (ours.key, ours.value)) == (theirs and (theirs.key, theirs.value))
    found = [{item.key for item in await each.asearch(NS, limit=100)} for each in (store, upstream)]
    assert found[0] == found[1] == {*KEYS} - {""}
    assert len({*map(to_id, KEYS)}) == len(KEYS)
    assert to_id("plain") == "plain"


def test_an_experience_of_others_has_its_id_for_a_key() -> None:
    """Also one that has a name of ours in its metadata, or an id that looks like a hash."""
    assert to_key(Experience(id="e1", text="x", metadata={"langgraph_key": "y"})) == "e1"
    assert to_key(Experience(id=f"key:{'0' * 40}", text="x")) == f"key:{'0' * 40}"


async def test_a_refusal_names_the_key_that_was_put() -> None:
    store = TedMemoryStore(in_memory(trust="always", max_experiences=1))
    await store.aput(NS, "first", {"text": "x"})
    with pytest.raises(CommitRefused, match="'a key' in "):
        await store.aput(NS, "a key", {"text": "y"})


# --- many writes at once


class Counting(TedMemory):
    """Counts its commits, which take a moment."""

    commits = 0

    async def commit(self, edits: Any, **options: Any) -> Commit:
        self.commits += 1
        await asyncio.sleep(0.01)
        return await super().commit(edits, **options)


def counting(**settings: Any) -> Counting:
    plain = in_memory(trust="always", max_experiences=500, token_budget=50_000, **settings)
    return Counting(plain.store, plain.settings, "test")


class EachByItself(Writes):
    """The control: every batch commits for itself."""

    async def write(self, name: str, wanted: Any, base: Any) -> dict[str, str]:
        return await self._commit(name, dict(wanted), base)


@pytest.mark.parametrize("together", [True, False])
async def test_puts_at_once_share_commits(together: bool) -> None:
    memory = counting()
    store = TedMemoryStore(memory)
    if not together:
        store._writes = EachByItself(store._commit)
    await asyncio.gather(
        *(store.aput(("test",), f"k{i}", {"text": f"lesson {i}"}) for i in range(100))
    )
    assert len(await store.asearch(("test",), limit=200)) == 100
    assert (memory.commits <= 3) is together


async def test_the_last_of_several_puts_of_a_key_wins() -> None:
    store = TedMemoryStore(counting())
    first = asyncio.create_task(store.aput(("test",), "other", {"text": "under way"}))
    await asyncio.sleep(0.002)
    await asyncio.gather(
        *(store.aput(("test",), "k", {"text": f"lesson {i}"}) for i in range(20)), first
    )
    item = await store.aget(("test",), "k")
    assert item is not None
    assert item.value == {"text": "lesson 19"}


async def test_who_shares_a_commit_shares_no_fault() -> None:
    memory = counting(max_text=50)
    store = TedMemoryStore(memory)
    puts = [store.aput(("test",), f"k{i}", {"text": "x" * (i + 41)}) for i in range(20)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [isinstance(outcome, InvalidInput) for outcome in outcomes] == [False] * 10 + [True] * 10
    full = TedMemoryStore(in_memory(trust="always", max_experiences=5))
    puts = [full.aput(("test",), f"k{i}", {"text": f"lesson {i}"}) for i in range(8)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    refused = [str(outcome) for outcome in outcomes if outcome is not None]
    assert len(refused) == 3
    assert all(text.count("'k") == 1 for text in refused), "each is told of its own"
    assert len(await full.asearch(("test",))) == 5


async def test_a_caller_who_is_cancelled_takes_nobodys_write_along() -> None:
    store = TedMemoryStore(counting())
    tasks = [
        asyncio.create_task(store.aput(("test",), f"k{i}", {"text": f"lesson {i}"}))
        for i in range(10)
    ]
    await asyncio.sleep(0.005)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[0].cancelled()
    assert {item.key for item in await store.asearch(("test",))} >= {f"k{i}" for i in range(1, 10)}


async def test_a_store_that_fails_tells_all_who_wait_and_goes_on() -> None:
    memory = counting()
    store = TedMemoryStore(memory)

    async def broken(*args: Any) -> dict[str, str]:
        await asyncio.sleep(0.01)
        raise RuntimeError("broken")

    works, store._writes._commit = store._writes._commit, broken
    puts = [store.abatch([PutOp(("test",), f"k{i}", {"text": "x"})]) for i in range(5)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 5
    store._writes._commit = works
    await store.aput(("test",), "k", {"text": "x"})
    assert await store.aget(("test",), "k")


async def test_a_put_after_anothers_write_goes_on_what_stands_there() -> None:
    """A group that waited reads the set anew."""
    memory = counting()
    store = TedMemoryStore(memory)
    first = asyncio.create_task(store.aput(("test",), "k", {"text": "first"}))
    await asyncio.sleep(0.002)
    second = asyncio.create_task(store.aput(("test",), "k", {"text": "second"}))
    await asyncio.gather(first, second)
    assert memory.commits == 2, "no conflict"
    await memory.commit([Restore(experience=Experience(id="other", text="x"))], author="me")
    item = await store.aget(("test",), "k")
    assert item is not None
    assert item.value == {"text": "second"}
