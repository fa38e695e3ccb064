"""A `TedMemoryStore` by itself: what it refuses, how items stand, several writers at once."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.store.base import (
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from ted_memory import Add, TedMemory, open_memory
from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.memory import sync_bridge
from ted_memory.models import Commit, Experience, Restore, Usage
from ted_memory.testing import in_memory
from tests.conftest import Server
from tests.integrations.test_store import EVERYTHING, NS


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("k" * 1001, {"text": "x"}, "1000 are allowed"),
        ("k\ud800", {"text": "x"}, "lone surrogate"),
        (1, {"text": "x"}, "no string but int"),
        ("k", {"text": "x", "langgraph_value": {}}, "a name that is ours"),
        ("k", {"text": "x", "when": None}, "'when' of 'k' is no string"),
        ("k", {"text": "x" * 801}, "too long.*801 characters.*max_text is 800"),
        ("k", {"text": "x\ud800"}, "lone surrogate"),
        ("k", {"text": "x", "at": datetime.now(UTC)}, "not JSON"),
        ("k", {"text": "x", "n": float("nan")}, "not JSON"),
        ("k", {"text": "x", "n": "\ud800"}, "cannot be kept"),
        *(("k", {"text": "x", "n": _nested(depth)}, "cannot be kept") for depth in (250, 700)),
        ("k", {"text": "x", 1: 2}, "no string: 1"),
        ("k", {"text": "x", "n": "x" * 4000}, "4009 characters of JSON"),
        ("k", ["text"], "no dict but list"),
    ],
)
async def test_what_cannot_be_put_is_refused_before_anything_is_written(
    key: Any, value: Any, said: str
) -> None:
    store = TedMemoryStore(in_memory(trust="always"))
    good = PutOp(("other",), "good", {"text": "fine"})
    with pytest.raises(ValueError, match=said) as caught:
        await store.abatch([good, PutOp(NS, key, value), PutOp(NS, key, None)])
    assert isinstance(caught.value, InvalidInput)
    assert "nothing was written" in str(caught.value) and "\n" not in str(caught.value)
    assert await store.alist_namespaces() == []


@pytest.mark.parametrize(
    "asked", [{"n": {"$in": [1]}}, {"n": {"$gt": "many"}}, {"n": {"$gt": None}}]
)
async def test_a_filter_that_means_nothing_is_refused_and_nothing_written(
    asked: dict[str, Any],
) -> None:
    store = TedMemoryStore(in_memory())
    await store.aput(NS, "k", {"text": "x", "n": 1})
    with pytest.raises(InvalidInput, match="filter operator"):
        await store.abatch([SearchOp(NS, filter=asked), PutOp(NS, "k", None)])
    assert await store.aget(NS, "k")


async def test_what_has_no_number_is_on_no_side_of_one() -> None:
    store = TedMemoryStore(in_memory())
    for key, n in {"none": None, "text": "many", "two": 2}.items():
        await store.aput(NS, key, {"text": "x", "n": n})
    assert [item.key for item in await store.asearch((), filter={"n": {"$gt": 1}})] == ["two"]
    with pytest.raises(InvalidInput, match="not an operation"):
        await store.abatch(["get"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="match type"):
        await store.abatch([ListNamespacesOp((MatchCondition("infix", NS),))])  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="TTL"):
        await store.aput(NS, "k", {"text": "x"}, ttl=5)


@pytest.mark.parametrize(
    ("trust", "state"), [("always", "active"), ("evidence", "proposed"), ("review", "proposed")]
)
async def test_only_an_operators_memory_shows_at_once_what_was_put(trust: Any, state: str) -> None:
    memory = in_memory(trust=trust)
    await TedMemoryStore(memory).aput(
        ("test",), "k", {"text": "Be  brief.", "when": "When asked", "n": 1}
    )
    (held,) = await memory.load()
    assert (held.state, held.text, held.when, held.metadata) == (
        state,
        "Be brief.",
        "asked",
        {"n": 1},
    )
    assert held.sources == ("author:store",)
    assert ("Be brief." in await memory.render()) == (state == "active")


async def test_a_text_that_changes_must_earn_its_place_again() -> None:
    memory = in_memory()
    await memory.commit(
        [Add(text="Say red."), Add(text="Say blue.", metadata={"text": "of others"})], author="me"
    )
    first, second = await memory.load()
    await memory.credit({first.id: Usage(helped=3), second.id: Usage(helped=1)}, token="t")
    store = TedMemoryStore(memory)
    await store.aput(("test",), first.id, {"text": "Say green."})
    changed, other = await memory.load()
    assert (changed.id, changed.state, changed.order, changed.text) == (
        first.id,
        "proposed",
        first.order,
        "Say green.",
    )
    assert (changed.sources, changed.created_at) == (
        ("author:me", "author:store"),
        first.created_at,
    )
    assert other == second
    assert (await store.asearch(()))[1].value == {"text": "Say blue."}
    await store.aput(("test",), second.id, {"text": "Say blue."})
    assert [e.state for e in await memory.load()] == ["proposed"] * 2
    assert set(await memory.usage()) == {second.id}, "the evidence for an unchanged text is kept"


async def test_times_are_told_and_what_is_read_is_ones_own() -> None:
    memory = in_memory(trust="always")
    store, before = TedMemoryStore(memory), datetime.now(UTC)
    await store.aput(("test",), "k", {"text": "x", "deep": {"n": 1}})
    first = await store.aget(("test",), "k")
    await store.aput(("test",), "k", {"text": "x", "deep": {"n": 1}})
    again = await store.aget(("test",), "k")
    assert (
        first
        and again
        and before <= first.created_at == first.updated_at == again.created_at < again.updated_at
    )
    again.value["deep"]["n"] = 2
    assert (await store.asearch(()))[0].value == first.value
    await memory.commit([Restore(experience=Experience(id="old", text="y"))], author="me")
    old = await store.aget(("test",), "old")
    assert old and old.created_at == datetime.fromtimestamp(0, UTC)


async def test_a_search_ranks_by_the_words_of_text_and_condition() -> None:
    store = TedMemoryStore(in_memory())
    await store.aput(
        ("a",),
        "both",
        {"text": "Refunds need a receipt.", "when": "a customer wants a refund", "n": 1},
    )
    await store.aput(
        ("b",),
        "one",
        {"text": "Ask for the receipt first, then for the order and the date.", "n": 2},
    )
    await store.aput(
        ("c",), "condition", {"text": "Be kind.", "when": "someone asks for a refund late at night"}
    )
    await store.aput(("d",), "none", {"text": "Say hello."})
    found = await store.asearch((), query="refund receipt")
    assert found[0].key == "both"
    assert {item.key for item in found[:3]} == {"both", "one", "condition"}
    scores = [item.score for item in found]
    assert scores == sorted(scores, key=lambda score: -(score or 0.0))
    assert [(item.key, item.score) for item in found[3:]] == [("none", 0.0)], (
        "what has no word of it fills the page"
    )
    assert [
        item.key for item in await store.asearch((), query="refund receipt", limit=1, offset=1)
    ] == [found[1].key]
    assert [item.key for item in await store.asearch((), query="receipt", filter={"n": 2})] == [
        "one"
    ]
    assert [item.score for item in await store.asearch((), query="weather", limit=3)] == [0.0] * 3
    assert [item.key for item in await store.asearch(())] == ["both", "one", "condition", "none"]


async def test_sets_whose_names_are_no_labels_stay_out_of_sight() -> None:
    memory = in_memory(namespace="team:billing", trust="always")
    await memory.commit([Add(text="x")], author="me")
    await memory.for_namespace("plain").commit([Add(text="y")], author="me")
    store = TedMemoryStore(memory)
    assert await store.alist_namespaces() == [("plain",)]
    assert [item.namespace for item in await store.asearch(())] == [("plain",)]


async def test_a_cap_refuses_one_item_and_the_rest_of_the_batch_stands() -> None:
    store = TedMemoryStore(in_memory(trust="always", max_experiences=2))
    puts = [PutOp(NS, f"k{i}", {"text": f"text {i}"}) for i in range(3)]
    with pytest.raises(
        CommitRefused,
        match=r"^not stored: 'k2' in .*\(cap\); all other .* stand\. Remove something",
    ):
        await store.abatch([*puts, PutOp(("other",), "k", {"text": "x"})])
    assert [item.key for item in await store.asearch(NS)] == ["k0", "k1"]
    assert await store.aget(("other",), "k")
    await store.abatch([puts[2], PutOp(NS, "k0", None)])
    assert [item.key for item in await store.asearch(NS)] == ["k1", "k2"], (
        "what goes makes room for what comes"
    )


async def test_a_text_over_the_sets_own_budget_is_invalid_input() -> None:
    store = TedMemoryStore(in_memory(trust="always", token_budget=60))
    with pytest.raises(InvalidInput, match=r"\(over budget\).*raise max_text or token_budget"):
        await store.abatch(
            [PutOp(NS, "long", {"text": "x" * 200}), PutOp(NS, "short", {"text": "x"})]
        )
    assert [item.key for item in await store.asearch(())] == ["short"]


class Contended(TedMemory):
    """Another writer changes the same key just before each of our first commits."""

    meddling = 0

    async def commit(self, edits: Any, **options: Any) -> Commit:
        if self.meddling:
            self.meddling -= 1
            other = Restore(experience=Experience(id="k", text=f"theirs {self.meddling}"))
            await super().commit([other], author="other")
        return await super().commit(edits, **options)


@pytest.fixture
def contended(monkeypatch: pytest.MonkeyPatch) -> Contended:
    monkeypatch.setattr("ted_memory.integrations.store.LONGEST_PAUSE", 0.0)
    return Contended((plain := in_memory(trust="always")).store, plain.settings, "test")


@pytest.mark.parametrize("value", [{"text": "ours"}, None])
async def test_what_others_changed_meanwhile_is_written_again(
    contended: Contended, value: Any
) -> None:
    store, contended.meddling = TedMemoryStore(contended), 5
    await store.aput(("test",), "k", {"text": "first"})
    contended.meddling = 5
    await store.abatch([PutOp(("test",), "k", value), PutOp(("test",), "other", {"text": "x"})])
    item = await store.aget(("test",), "k")
    assert (item and item.value) == value
    assert await store.aget(("test",), "other")


async def test_without_end_of_changes_it_gives_up_and_says_so(contended: Contended) -> None:
    store, contended.meddling = TedMemoryStore(contended), 100
    with pytest.raises(
        CommitRefused, match=r"'k' in \('test',\) \(conflict\).*6 tries; put it again"
    ):
        await store.abatch(
            [PutOp(("test",), "k", {"text": "ours"}), PutOp(("test",), "other", {"text": "x"})]
        )
    assert contended.meddling == 94
    assert await store.aget(("test",), "other"), "the rest of the batch stands"


def test_plain_code_can_put_get_search_and_delete(valkey: Server, namespace: str) -> None:
    memory = open_memory(valkey.url, namespace=namespace)
    store, ns = TedMemoryStore(memory), (namespace, "ä")
    value = {"text": "Ask for the receipt.", "when": "refund", "tags": ["x", {"y": None}], "n": 1.5}
    store.put(ns, "k", value)
    item = store.get(ns, "k")
    assert item and item.value == value and item.namespace == ns
    assert [found.key for found in store.search((namespace,), query="receipts")] == ["k"]
    assert store.list_namespaces(prefix=(namespace,)) == [ns]
    store.delete(ns, "k")
    store.delete(ns, "never-there")
    assert store.get(ns, "k") is None
    assert store.list_namespaces(prefix=(namespace,)) == []
    sync_bridge.run(memory.aclose())


async def test_two_stores_that_write_at_once_lose_nothing(valkey: Server, namespace: str) -> None:
    settings: dict[str, Any] = {"namespace": namespace, "trust": "always", "max_experiences": 100}
    async with (
        open_memory(valkey.url, **settings) as one,
        open_memory(valkey.url, **settings) as two,
    ):
        stores = [TedMemoryStore(one), TedMemoryStore(two)]
        keys = [(s, f"{i}-{n}") for i, s in enumerate(stores) for n in range(20)]
        await asyncio.gather(
            *(s.aput((namespace,), key, {"text": f"lesson {key}"}) for s, key in keys)
        )
        for store in stores:
            found = await store.asearch((namespace,), limit=EVERYTHING)
            assert sorted(item.key for item in found) == sorted(key for _, key in keys)
        same = [
            s.aput((namespace,), "same", {"text": f"by {i} {n}"})
            for i, s in enumerate(stores)
            for n in range(5)
        ]
        await asyncio.gather(*same)
        assert await stores[0].aget((namespace,), "same") == await stores[1].aget(
            (namespace,), "same"
        )


async def test_more_namespaces_than_are_kept_open_are_read_and_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ted_memory.integrations.store.MEMORIES", 2)
    store = TedMemoryStore(in_memory(trust="always"))
    for turn in range(2):
        for i in range(6):
            await store.aput((f"n{i}",), "key", {"text": f"Lesson {turn} of {i}."})
    found = [await store.aget((f"n{i}",), "key") for i in range(6)]
    assert [one and one.value["text"] for one in found] == [f"Lesson 1 of {i}." for i in range(6)]
    assert store._of.cache_info().currsize == 2, "the control: most were opened anew"
