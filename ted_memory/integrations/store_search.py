"""What a LangGraph store finds: items by their words and by filters, and namespaces."""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langgraph.store.base import ListNamespacesOp, MatchCondition, SearchOp

from ted_memory.errors import InvalidInput
from ted_memory.integrations.store_names import to_labels
from ted_memory.models import Experience, ExperienceSet
from ted_memory.retrieval.bm25 import WordRetriever

Found = tuple[tuple[str, ...], Experience]
"""The labels of a namespace, and what stands there."""

_WORDS = WordRetriever(says=lambda e: f"{e.when} {e.text}")
"""What it works out of a set lives as long as the set's snapshot."""


def search(
    op: SearchOp, sets: Mapping[str, ExperienceSet], value: Callable[[Experience], dict[str, Any]]
) -> list[tuple[Found, float | None]]:
    """What a search finds, each with its score; without a query there is none.

    With a query all that passes the filter is ranked: what has no word of it comes last, with a
    score of 0.
    """
    found = [
        (labels, experience)
        for labels, held in _covered(op, sets)
        for experience in held
        if not op.filter or _passes(value(experience), op.filter)
    ]
    page = slice(op.offset, op.offset + op.limit)
    if not op.query:
        return [(item, None) for item in found[page]]
    scores = _WORDS.scores_now([experience for _, experience in found], op.query)
    ranked = sorted(range(len(found)), key=lambda i: -scores[i])
    return [(found[i], scores[i]) for i in ranked[page]]


def _covered(
    op: SearchOp, sets: Mapping[str, ExperienceSet]
) -> Iterator[tuple[tuple[str, ...], ExperienceSet]]:
    """Yield the sets that a search is about, by their labels, in the order of their names."""
    for name in sorted(sets):
        labels = to_labels(name)
        if labels is not None and covers(op, labels):
            yield labels, sets[name]


def list_namespaces(
    op: ListNamespacesOp, sets: Mapping[str, ExperienceSet]
) -> list[tuple[str, ...]]:
    """The namespaces that hold something and match, sorted."""
    listed = set()
    for name, held in sets.items():
        labels = to_labels(name)
        if len(held) and labels is not None and covers(op, labels):
            listed.add(labels[: op.max_depth])
    return sorted(listed)[op.offset : op.offset + op.limit]


def covers(op: SearchOp | ListNamespacesOp, labels: tuple[str, ...]) -> bool:
    """Tell whether an operation is about a namespace."""
    if isinstance(op, SearchOp):
        return labels[: len(op.namespace_prefix)] == tuple(op.namespace_prefix)
    return all(_fits(condition, labels) for condition in op.match_conditions or ())


def _fits(condition: MatchCondition, labels: tuple[str, ...]) -> bool:
    if condition.match_type not in {"prefix", "suffix"}:
        raise InvalidInput(
            f"match type {condition.match_type!r} is unknown; use 'prefix' or 'suffix'"
        )
    path, step = tuple(condition.path), 1 if condition.match_type == "prefix" else -1
    pairs = zip(labels[::step], path[::step], strict=False)
    return len(path) <= len(labels) and all(asked in ("*", label) for label, asked in pairs)


def _passes(value: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Tell whether a value passes a filter, whose names may be paths with dots: "author.name"."""
    return all(_compares(_at(value, name), wish) for name, wish in asked.items())


def _at(value: Mapping[str, Any], name: str) -> Any:
    if name in value:  # a name with a dot in it goes before a path
        return value[name]
    at: Any = value
    for part in str(name).split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    return at


def _compares(value: Any, asked: Any) -> bool:
    """Tell whether a value is what a filter asks for, as LangGraph's own stores do."""
    if isinstance(asked, Mapping):
        return _compares_mapping(value, asked)
    if isinstance(asked, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(asked):
            return False
        return all(map(_compares, value, asked))
    return bool(value == asked)


def _compares_mapping(value: Any, asked: Mapping[str, Any]) -> bool:
    """Tell whether the operators hold that are asked for, or else the fields."""
    if any(name.startswith("$") for name in asked):
        return all(_operates(value, name, operand) for name, operand in asked.items())
    if not isinstance(value, Mapping):
        return False
    return all(_compares(value.get(name), item) for name, item in asked.items())


_ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def _operates(value: Any, name: str, operand: Any) -> bool:
    if name in {"$eq", "$ne"}:
        return bool(value == operand) == (name == "$eq")
    if name not in _ORDERS:
        raise InvalidInput(
            f"filter operator {name!r} is unknown; use $eq, $ne, $gt, $gte, $lt or $lte"
        )
    try:
        limit = float(operand)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(
            f"filter operator {name!r} needs a number, not {operand!r:.80}"
        ) from None
    try:
        return bool(_ORDERS[name](float(value), limit))
    except (TypeError, ValueError, OverflowError):
        return False  # a value that is no number, or absent, is on no side of one
