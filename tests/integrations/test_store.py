"""Experience sets as a LangGraph store: random sequences come out as with LangGraph's own."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from ted_memory.errors import InvalidInput
from ted_memory.fields import NAMESPACE
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.integrations.store_names import to_labels, to_namespace
from ted_memory.testing import in_memory

NS = ("lessons", "for us")
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]
EVERYTHING = 1000  # a limit that no example reaches

_words = st.sampled_from(["refund", "login", "Zürich", "x1", "why?", "<b>", "42"])
_texts = st.lists(_words, min_size=1, max_size=5).map(" ".join)
_whens = st.lists(st.sampled_from(["refund", "login", "Zürich"]), min_size=1, max_size=2).map(
    " ".join
)
_any_label = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
_labels = st.sampled_from(
    ["a", "b", "-", "_x", "a.b", "é:", "日本", "0::", "a b", "*"]
) | _any_label.map(lambda t: t[:3])
_namespaces = st.lists(_labels, min_size=1, max_size=3).map(tuple)
_keys = st.sampled_from(["k1", "k2", "schlüssel"])
_numbers = st.integers(-3, 3)
_values = st.fixed_dictionaries(
    {"text": _texts, "n": _numbers},
    optional={
        "when": _whens,
        "tag": st.sampled_from(["x", "y", ""]),
        "flag": st.booleans(),
        "deep": st.fixed_dictionaries({"n": _numbers}),
        "list": st.lists(_numbers, max_size=2),
    },
)
_filters = st.none() | st.one_of(
    st.dictionaries(st.sampled_from(OPERATORS), _numbers).map(lambda f: {"n": f}),
    st.sampled_from(
        [{"n": 1}, {"tag": "x"}, {"tag": {"$ne": "x"}}, {"when": "refund"}, {"absent": None}, {}]
    ),
    st.sampled_from([{"flag": True, "n": {"$gt": 0}}, {"list": [1, {"$gt": 0}]}]),
    st.sampled_from([{"deep": {"n": 1}}, {"deep": {"n": {"$lte": 0}}}]),
)


def _batches(pool: list[tuple[str, ...]]) -> st.SearchStrategy[list[list[Op]]]:
    known = st.sampled_from(pool)
    ends = st.tuples(known, st.integers(0, 3), st.booleans())
    prefixes = ends.map(lambda end: end[0][: end[1]])
    conditions = st.builds(
        lambda kind, path, wild: MatchCondition(kind, ("*", *path[1:]) if wild else path),
        st.sampled_from(["prefix", "suffix"]),
        ends.map(lambda end: end[0][: end[1]] if end[2] else end[0][-end[1] :]),
        st.booleans(),
    )
    pages = {
        "limit": st.sampled_from([EVERYTHING, 0, 1, 2, 10]),
        "offset": st.sampled_from([0, 0, 1, 3]),
    }
    ops = st.one_of(
        st.builds(PutOp, known, _keys, _values),
        st.builds(PutOp, known, _keys, st.none() | _values),
        st.builds(GetOp, known, _keys),
        st.builds(SearchOp, prefixes, _filters, **pages, query=st.none()),
        st.builds(
            ListNamespacesOp,
            match_conditions=st.none() | st.lists(conditions, max_size=2).map(tuple),
            max_depth=st.sampled_from([None, None, 1, 2]),
            **pages,
        ),
    )
    return st.lists(st.lists(ops, min_size=1, max_size=6), min_size=1, max_size=8)


_sequences = st.lists(_namespaces, min_size=1, max_size=4, unique=True).flatmap(_batches)


class Upstream(InMemoryStore):
    """LangGraph's own, but a namespace is listed only while it holds something."""

    def _handle_list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        for namespace in [ns for ns, items in self._data.items() if not items]:
            del self._data[namespace]
        return super()._handle_list_namespaces(op)


def _seen(item: Item) -> tuple[Any, ...]:
    return item.namespace, item.key, json.dumps(item.value, sort_keys=True)


def _told(op: Op, result: Any) -> Any:
    """What an answer says; of a page of a search its length: the order of namespaces is our own."""
    if isinstance(op, SearchOp):
        assert all(item.score is None for item in result)
        whole = (op.limit, op.offset) == (EVERYTHING, 0)
        return sorted(map(_seen, result), key=lambda seen: seen[0]) if whole else len(result)
    return _seen(result) if isinstance(result, Item) else result


async def _agree(kind: type[TedMemoryStore], batches: list[list[Op]]) -> None:
    ours = kind(in_memory(trust="always", max_experiences=200, token_budget=100_000))
    upstream = Upstream()
    everything: list[Op] = [SearchOp((), limit=EVERYTHING), ListNamespacesOp(limit=EVERYTHING)]
    for batch in [*batches, everything]:
        expected, got = await upstream.abatch(batch), await ours.abatch(batch)
        assert list(map(_told, batch, got)) == list(map(_told, batch, expected))


def _compare(kind: type[TedMemoryStore], examples: int, *phases: Phase) -> None:
    options: dict[str, Any] = {"deadline": None, "database": None, "report_multiple_bugs": False}

    @settings(
        max_examples=examples,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow],
        **options,
    )
    @given(_sequences)
    def compare(batches: list[list[Op]]) -> None:
        asyncio.run(_agree(kind, batches))

    compare()


def test_any_sequence_of_batches_comes_out_as_with_langgraphs_own_store() -> None:
    _compare(TedMemoryStore, 200, Phase.generate, Phase.shrink)


async def test_every_operator_and_every_kind_of_path_comes_out_as_with_langgraphs_own_store() -> (
    None
):
    puts = [
        PutOp(ns, f"k{n}", {"text": "x", "n": n})
        for n in (1, 2, 3)
        for ns in (("a",), ("a", "b"), ("b", "a"))
    ]
    searches = [SearchOp((), {"n": {operator: 2}}, EVERYTHING) for operator in OPERATORS]
    paths = [
        ("a",),
        ("b",),
        ("*",),
        ("a", "b"),
        ("*", "b"),
        ("a", "*"),
        ("*", "*"),
        ("a", "b", "*"),
    ]
    lists = [
        ListNamespacesOp((MatchCondition(kind, path),))
        for path in paths
        for kind in ("prefix", "suffix")
    ]
    await _agree(TedMemoryStore, [[*puts], [*searches, *lists]])


class SeesItsWrites(TedMemoryStore):
    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        await super().abatch([op for op in ops if isinstance(op, PutOp)])
        return await super().abatch(ops)


class FirstPutWins(TedMemoryStore):
    def _wanted(self, ops: Any) -> Any:
        return super()._wanted(ops[::-1])


@pytest.mark.parametrize("broken", [SeesItsWrites, FirstPutWins])
def test_a_store_that_differs_is_found_by_the_same_comparison(broken: type[TedMemoryStore]) -> None:
    with pytest.raises(AssertionError):
        _compare(broken, 500, Phase.generate)


@settings(max_examples=300, deadline=None)
@given(st.lists(_any_label, min_size=1, max_size=4))
def test_every_namespace_stands_for_its_labels_alone(labels: list[str]) -> None:
    try:
        name = to_namespace(labels)
    except InvalidInput as error:
        assert "128 are allowed" in str(error)
    else:
        assert NAMESPACE.fullmatch(name)
        assert to_labels(name) == tuple(labels)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aA0_-.:é~"), max_size=12) | st.text(max_size=12))
def test_a_name_that_is_not_of_our_making_has_no_labels(name: str) -> None:
    labels = to_labels(name)
    assert labels is None or to_namespace(labels) == name


def test_names_are_readable_where_they_can_be() -> None:
    assert to_namespace(("users", "anna-1", "facts")) == "users.anna-1.facts"
    assert to_namespace(("a.b", "é")) == "a:2Eb.:C3:A9"
    assert to_namespace(("_x",)) == "0::_x"
    assert [
        to_labels(name) for name in ("team:billing", "a:2e", "0::a", "a..b", "", "a~run", "a:FF")
    ] == [None] * 7


@pytest.mark.parametrize(
    "labels", [(), ("",), ("a", ""), ("\ud800",), ("a" * 129,), ("é" * 22,), (1,)]
)
async def test_a_namespace_that_cannot_be_is_refused_in_one_line(labels: Any) -> None:
    store = TedMemoryStore(in_memory())
    for op in (GetOp(labels, "k"), PutOp(labels, "k", {"text": "x"}), PutOp(labels, "k", None)):
        with pytest.raises(InvalidInput, match=r"^[^\n]*nothing was written[^\n]*$"):
            await store.abatch([op])
