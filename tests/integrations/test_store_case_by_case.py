"""What LangGraph's stores promise, done with its `InMemoryStore` and with ours.

Both do the same, or it is a row of docs/store.md. LangGraph has no suite for stores of others: its
package of conformance tests is about checkpointers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, Item, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from ted_memory.integrations.store import TedMemoryStore
from ted_memory.testing import in_memory

Case = Callable[[BaseStore], Awaitable[Any]]
NS = ("docs", "anna")
COLOURS = {
    "doc1": {"text": "red apple", "colour": "red", "score": 4.5},
    "doc2": {"text": "red car", "colour": "red", "score": 3.0},
    "doc3": {"text": "green apple", "colour": "green", "score": 4.0},
    "doc4": {"text": "blue car", "colour": "blue", "score": 3.5},
}
TREE = [
    ("a", "b", "c"),
    ("a", "b", "d", "e"),
    ("a", "b", "d", "i"),
    ("a", "c", "f"),
    ("b", "a", "f"),
    ("users", "123"),
    ("users", "456", "settings"),
    ("admin", "users", "789"),
]


def letters(texts: Sequence[str]) -> list[list[float]]:
    """Embed texts by how often they have each letter."""
    return [[float(text.count(chr(97 + i))) for i in range(26)] for text in texts]


def theirs() -> BaseStore:
    return InMemoryStore(index={"dims": 26, "embed": letters, "fields": ["text"]})


def ours() -> BaseStore:
    return TedMemoryStore(in_memory(trust="always", max_experiences=200, token_budget=100_000))


async def outcome(case: Case, store: BaseStore) -> Any:
    """What a case tells, or what kind of refusal it met."""
    try:
        return await case(store)
    except (ValueError, NotImplementedError) as error:
        return next(
            kind
            for kind in (InvalidNamespaceError, NotImplementedError, ValueError)
            if isinstance(error, kind)
        )


async def put(
    store: BaseStore, values: dict[str, dict[str, Any]], namespace: tuple[str, ...] = NS
) -> None:
    for key, value in values.items():
        await store.aput(namespace, key, value)


async def keys(store: BaseStore, *prefix: str, **asked: Any) -> list[str]:
    return [item.key for item in await store.asearch(prefix, **asked)]


# --- what is the same


async def an_item_has_its_names_its_value_and_its_times(store: BaseStore) -> Any:
    before = datetime.now(UTC)
    await put(store, {"k": {"data": {"n": [1, None, "x"]}}})
    await put(store, {"k": {"data": 2}})
    item = await store.aget(NS, "k")
    assert item
    return item.namespace, item.key, item.value, before <= item.created_at <= item.updated_at


async def what_is_not_there_is_none(store: BaseStore) -> Any:
    await store.adelete(NS, "never")
    await put(store, {"k": {"data": 1}})
    await store.adelete(NS, "k")
    return (
        await store.aget(NS, "k"),
        await store.aget(("no", "where"), "k"),
        await store.asearch(NS),
    )


async def a_batch_reads_what_was_before_its_writes(store: BaseStore) -> Any:
    await put(store, {"k": {"data": 1}})
    ops = [PutOp(NS, "k", {"data": 2}), GetOp(NS, "k"), SearchOp(NS), PutOp(NS, "k", {"data": 3})]
    put_result, got, [found], last = await store.abatch(ops)  # type: ignore[misc]
    item = await store.aget(NS, "k")
    assert isinstance(got, Item) and item
    return put_result, got.value, found.value, last, item.value


async def pages_are_cut_after_the_filter(store: BaseStore) -> Any:
    await put(store, {f"k{i:02}": {"data": i, "odd": i % 2} for i in range(25)})
    pages = [await keys(store, *NS, limit=4, offset=n, filter={"odd": 1}) for n in (0, 4, 8, 12)]
    return len(await keys(store, *NS)), pages


async def filters_compare_and_join(store: BaseStore) -> Any:
    await put(store, COLOURS)
    asked: list[dict[str, Any]] = [
        {"colour": "red"},
        {"colour": {"$ne": "red"}},
        {"score": {"$gt": 3.0, "$lte": 4.0}},
        {"score": {"$gte": 4.0}, "colour": "green"},
        {"missing": 1},
        {"missing": None},
    ]
    return [sorted(await keys(store, "docs", filter=one)) for one in asked]


async def namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(store: BaseStore) -> Any:
    for i, namespace in enumerate(TREE):
        await store.aput(namespace, f"k{i}", {"data": i})
    asked: list[dict[str, Any]] = [
        {},
        {"prefix": ("a", "b")},
        {"suffix": ("f",)},
        {"prefix": ("a",), "suffix": ("f",)},
        {"prefix": ("a", "*", "f")},
        {"suffix": ("*", "f")},
        {"prefix": ("users", "*")},
        {"prefix": ("*", "users"), "suffix": ("*", "settings")},
        {"max_depth": 2},
        {"prefix": ("a", "b"), "max_depth": 3},
        {"prefix": ("nowhere",)},
        {"limit": 3, "offset": 2},
    ]
    return [await store.alist_namespaces(**one) for one in asked]


def _refused(namespace: Any, key: str = "k") -> Case:
    async def case(store: BaseStore) -> Any:
        await store.aput(namespace, key, {"data": 1})

    return case


async def the_reserved_name_is_refused_in_front_alone(store: BaseStore) -> Any:
    await store.aput(("x", "langgraph"), "k", {"data": 1})
    item = await store.aget(("x", "langgraph"), "k")
    assert item
    await store.abatch([PutOp(("langgraph", "x"), "k", {"data": 2})])
    return item.value, await keys(store, "langgraph")


async def a_time_to_live_is_refused(store: BaseStore) -> Any:
    await store.aput(NS, "k", {"data": 1}, ttl=5)


async def odd_names_in_a_filter_find_nothing(store: BaseStore) -> Any:
    await put(store, COLOURS)
    return [
        await keys(store, *NS, filter={name: "red"})
        for name in ("colour'; --", "co lour", "", "$colour")
    ]


async def an_operator_that_is_none_is_refused(store: BaseStore) -> Any:
    await put(store, COLOURS)
    return await keys(store, *NS, filter={"score": {"$near": 4}})


async def a_query_finds_first_what_has_its_words(store: BaseStore) -> Any:
    await put(
        store, {"zebra": {"text": "zany zebra Xerxes"}, "dogs": {"text": "something about dogs"}}
    )
    first = await store.asearch(NS, query="zany zebra Xerxes")
    await put(store, {"zebra": {"text": "new words of birds"}})
    again = await store.asearch(NS, query="zany zebra Xerxes")
    was, now = (
        {item.key: item.score or 0.0 for item in found}["zebra"] for found in (first, again)
    )
    return first[0].key, len(first), now < was


async def a_query_and_a_filter_hold_together_and_odd_queries_do_no_harm(store: BaseStore) -> Any:
    await put(store, COLOURS)
    both = [await keys(store, *NS, query="apple", filter={"colour": c}) for c in ("green", "blue")]
    pages = [len(await keys(store, *NS, query="apple", limit=3, offset=n)) for n in (0, 3)]
    odd = [
        len(await keys(store, *NS, query=query))
        for query in ("", None, "apple " * 100, "apple!@#$%^&*()")
    ]
    return both, pages, odd


async def blocking_calls_work_while_an_event_loop_runs(store: BaseStore) -> Any:
    store.put(NS, "k", {"data": 1})
    item = store.get(NS, "k")
    store.delete(NS, "k")
    return item and item.value, store.search(NS), store.get(NS, "k")


async def the_last_of_puts_at_once_is_kept(store: BaseStore) -> Any:
    await asyncio.gather(*(store.aput(NS, "k", {"data": i}) for i in range(10)))
    item = await store.aget(NS, "k")
    return item and item.value


SAME: list[Case] = [
    an_item_has_its_names_its_value_and_its_times,
    what_is_not_there_is_none,
    a_batch_reads_what_was_before_its_writes,
    pages_are_cut_after_the_filter,
    filters_compare_and_join,
    namespaces_are_listed_by_prefix_suffix_wildcard_and_depth,
    *map(_refused, [(), ("the", "thing.about"), ("some", "fun", ""), ("langgraph", "x"), (1,)]),
    the_reserved_name_is_refused_in_front_alone,
    a_time_to_live_is_refused,
    odd_names_in_a_filter_find_nothing,
    an_operator_that_is_none_is_refused,
    a_query_finds_first_what_has_its_words,
    a_query_and_a_filter_hold_together_and_odd_queries_do_no_harm,
    blocking_calls_work_while_an_event_loop_runs,
    the_last_of_puts_at_once_is_kept,
]


@pytest.mark.parametrize("case", SAME)
async def test_it_comes_out_as_with_langgraphs_own_store(case: Case) -> None:
    expected = await outcome(case, theirs())
    assert await outcome(case, ours()) == expected


# --- what differs: the row of the table, what is done, what comes of it there and here


def kept(value: dict[str, Any], *, key: str = "k", namespace: tuple[str, ...] = NS) -> Case:
    """A case that tells whether a value is there as it was put."""

    async def case(store: BaseStore) -> Any:
        await store.aput(namespace, key, value)
        item = await store.aget(namespace, key)
        return item is not None and item.value == value

    return case


async def _without_embeddings(store: BaseStore) -> Any:
    plain = InMemoryStore() if isinstance(store, InMemoryStore) else store
    await put(plain, COLOURS)
    return await keys(plain, *NS, query="blue car", limit=2)


async def _found_though_it_is_not_to_be_indexed(store: BaseStore) -> Any:
    await put(store, {f"k{i}": {"text": "something else"} for i in range(3)})
    await store.aput(NS, "hidden", {"text": "zany zebra"}, index=False)
    return "hidden" in await keys(store, *NS, query="zany zebra", limit=3)


async def _namespaces_of_a_search(store: BaseStore) -> Any:
    for name in ("b", "c", "a"):
        await store.aput((name,), "k", {"data": 1})
    return [item.namespace[0] for item in await store.asearch(())]


async def _a_path(store: BaseStore) -> Any:
    await put(store, {"k": {"data": 1, "user": {"n": 3}}})
    return await keys(store, *NS, filter={"user.n": 3})


async def _listed_when_empty(store: BaseStore) -> Any:
    await put(store, {"k": {"data": 1}})
    await store.adelete(NS, "k")
    return await store.alist_namespaces()


DIFFERENT: list[tuple[str, Case, Any, Any]] = [
    ("texts of lessons", kept({"text": "Be  brief.", "when": "When asked"}), True, False),
    ("size of a value", kept({"text": "x" * 801}), True, ValueError),
    ("size of a value", kept({"data": "x" * 4000}), True, ValueError),
    ("values", kept({"data": datetime(2025, 1, 1, tzinfo=UTC)}), True, ValueError),
    ("values", kept({"text": "x", "when": 1}), True, ValueError),
    ("keys", kept({"data": 1}, key="k" * 1001), True, ValueError),
    ("namespaces", kept({"data": 1}, namespace=("a" * 129,)), True, ValueError),
    ("namespaces", kept({"data": 1}, namespace=("é" * 22,)), True, ValueError),
    ("a query", _without_embeddings, ["doc1", "doc2"], ["doc4", "doc2"]),
    ("`index`", _found_though_it_is_not_to_be_indexed, False, True),
    (
        "order of namespaces in a search without a query",
        _namespaces_of_a_search,
        ["b", "c", "a"],
        ["a", "b", "c"],
    ),
    ("names with dots in a filter", _a_path, [], ["k"]),
    ("namespaces whose last item was deleted", _listed_when_empty, [NS], []),
]
OF_OTHER_STORES = {
    "time to live": a_time_to_live_is_refused,  # LangGraph's in memory has none either
    "odd names in a filter": odd_names_in_a_filter_find_nothing,  # SQLite's alone refuses them
    # who batches them is told in test_store_of_others
    "puts of a namespace at once": the_last_of_puts_at_once_is_kept,
}
"""Rows that tell of stores which are not compared here: the one in memory does the same as ours."""


@pytest.mark.parametrize(("row", "case", "there", "here"), DIFFERENT)
async def test_what_differs_differs_as_it_is_written(
    row: str, case: Case, there: Any, here: Any
) -> None:
    assert (await outcome(case, theirs()), await outcome(case, ours())) == (there, here), row


def test_the_table_has_what_differs_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
    table = page.partition("## What differs")[2].splitlines()
    rows = [
        line.split(" | ")[0].removeprefix("| ")
        for line in table
        if line.startswith("| ") and "---" not in line
    ]
    assert {row.strip() for row in rows[1:]} == {
        row for row, *_ in DIFFERENT
    } | OF_OTHER_STORES.keys()
    assert {*OF_OTHER_STORES.values()} <= {*SAME}


async def test_a_store_that_differs_elsewhere_is_found() -> None:
    """The control: one that forgets the order of a batch."""

    class SeesItsWrites(TedMemoryStore):
        async def abatch(self, ops: Any) -> Any:
            ops = tuple(ops)
            await super().abatch([op for op in ops if isinstance(op, PutOp)])
            return await super().abatch(ops)

    case, broken = (
        a_batch_reads_what_was_before_its_writes,
        SeesItsWrites(in_memory(trust="always")),
    )
    assert await outcome(case, broken) != await outcome(case, theirs())
