"""Experience sets as a LangGraph ``BaseStore``: for agents and tools that keep memories through that interface."""

import asyncio
import copy
import json
import operator
import random
import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from pydantic import TypeAdapter, ValidationError

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.experience.edits import plan
from ted_memory.fields import Id
from ted_memory.integrations import sync_bridge
from ted_memory.memory import TedMemory
from ted_memory.models import Caps, Edit, Experience, ExperienceSet, Remove, Restore
from ted_memory.retrieval.bm25 import WordRetriever

AUTHOR = "store"
SOURCE = f"author:{AUTHOR}"
METADATA_LIMIT = 4000  # characters of JSON
NAMESPACE_LIMIT = 128  # characters, see `models.NAMESPACE`
RETRIES = 5
AT_ONCE = 16  # namespaces; each one under way takes a connection
MEMORIES = 256  # whose snapshots are kept, so that the next read fetches only what changed
LONGEST_PAUSE = 0.3  # seconds before a retry

T = TypeVar("T")

_RESERVED = {"text", "when"}  # in a value; the rest is metadata
_EPOCH = datetime.fromtimestamp(0, UTC)
_ID: TypeAdapter[str] = TypeAdapter(Id)
_PLAIN = re.compile(r"[A-Za-z0-9_-]")
_MARK = "0::"  # an escape is ":" and two digits, so nothing encodes to this
_FAULTS = {"too long", "empty", "over budget"}  # of what was handed in, not of the set
_NOTHING = ExperienceSet("nothing", "", 0, Caps(max_experiences=1, token_budget=10**9))


def to_namespace(labels: Sequence[str]) -> str:
    """Return the namespace of the experience set that a tuple of labels stands for.

    Labels are joined by ".". ASCII letters and digits, "_" and "-" stand for themselves; any other byte of a label's
    UTF-8 is ":" and two hex digits. "0::" comes first where the rest would not begin with a letter or digit.

    Raises:
        InvalidInput: there is no label, one is empty, not a string or not UTF-8, or the result is too long.
    """
    if not labels:
        raise InvalidInput("the namespace has no label; give at least one, such as ('lessons',); nothing was written")
    name = ".".join(_encoded(label) for label in labels)
    if not name[0].isalnum():
        name = _MARK + name
    if len(name) > NAMESPACE_LIMIT:
        raise InvalidInput(
            f"namespace {tuple(labels)!r:.80} takes {len(name)} characters, {NAMESPACE_LIMIT} are allowed; nothing was "
            "written. Use shorter labels: any byte but ASCII letters, digits, '_' and '-' takes three"
        )
    return name


def to_labels(namespace: str) -> tuple[str, ...] | None:
    """Return the labels that `to_namespace` makes this namespace of; None when there are none."""
    try:
        labels = tuple(_decoded(part) for part in namespace.removeprefix(_MARK).split("."))
        return labels if to_namespace(labels) == namespace else None
    except ValueError:
        return None


def _encoded(label: str) -> str:
    if not isinstance(label, str) or not label:
        raise InvalidInput(f"namespace label {label!r:.80} is not a non-empty string; nothing was written")
    try:
        return "".join(c if _PLAIN.fullmatch(c) else "".join(f":{byte:02X}" for byte in c.encode()) for c in label)
    except UnicodeEncodeError:
        raise InvalidInput(
            f"namespace label {label!r:.80} has a lone surrogate (half of a character); nothing was written. "
            "Repair it where it comes from"
        ) from None


def _decoded(part: str) -> str:
    head, *escaped = part.split(":")
    return (head.encode() + b"".join(bytes.fromhex(e[:2]) + e[2:].encode() for e in escaped)).decode()


class TedMemoryStore(BaseStore):
    """A LangGraph store whose namespaces are experience sets and whose items are experiences.

    ``graph.compile(store=TedMemoryStore(memory))``. A value needs ``text``, the lesson; it may have ``when``, the
    condition under which it applies; anything else is free JSON, up to 4,000 characters. Both texts are kept tidy, as
    all lessons are: one space between words, no "When" before a condition. Under trust ``operator`` what is put is
    active, and agents see it; else it is proposed, also where an active experience stood. Searches with a query rank
    by BM25 over ``text`` and ``when``. There is no time to live, and ``index`` has no effect.

    A batch reads what was there before its writes, and checks all its values before it writes any. Each namespace
    takes one commit: what it refuses is told in the error, all the rest of the batch stands. See `abatch` for errors.

    Args:
        memory: of any namespace; its connections and settings serve all of them.
    """

    supports_ttl = False

    def __init__(self, memory: TedMemory) -> None:
        self.memory = memory
        self._of: Callable[[str], TedMemory] = lru_cache(maxsize=MEMORIES)(self._open)

    def _open(self, name: str) -> TedMemory:
        # the memory itself where it can be: an agent that reads through it then sees at once what was put
        return self.memory if name == self.memory.namespace else self.memory.for_namespace(name)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the same as `abatch`, for synchronous programs."""
        return sync_bridge.run(self.abatch(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in one go and return their results in order; that of a put is None.

        Raises:
            InvalidInput: a namespace, key, value or filter cannot be used; nothing was written unless it says so.
            CommitRefused: a cap of the set, or another rule of it, forbids some items; the other writes stand.
            StoreError: the store cannot be reached or read.
        """
        ops = tuple(ops)
        wanted = self._wanted(ops)
        names = await self._names(ops)
        sets = await _each(names, lambda name: self._of(name).load())
        results = [_answer(op, sets) for op in ops]
        outcomes = await _each(wanted, lambda name: self._write(name, wanted[name], sets[name]))
        if refused := {(name, key): reason for name, its in outcomes.items() for key, reason in its.items()}:
            raise _refusal(refused)
        return results

    def _wanted(self, ops: Sequence[Op]) -> dict[str, dict[str, Experience | None]]:
        """Return what the puts ask for, by namespace and key; the last of several wins."""
        wanted: dict[str, dict[str, Experience | None]] = {}
        for op in ops:
            if isinstance(op, PutOp):
                key = _checked_key(op.key)
                put = None if op.value is None else self._lesson(key, op.value)
                wanted.setdefault(to_namespace(op.namespace), {})[key] = put
        return wanted

    async def _names(self, ops: Sequence[Op]) -> list[str]:
        """Return the namespaces that the operations look at."""
        names: dict[str, None] = {}
        scans: list[SearchOp | ListNamespacesOp] = []
        for op in ops:
            if isinstance(op, GetOp | PutOp):
                _checked_key(op.key)
                names[to_namespace(op.namespace)] = None
            elif isinstance(op, SearchOp | ListNamespacesOp):
                scans.append(op)
            else:
                raise InvalidInput(f"{type(op).__name__} is not an operation of a store; nothing was written")
        for name in await self.memory.namespaces() if scans else ():
            labels = to_labels(name)
            if labels is not None and any(_covers(scan, labels) for scan in scans):
                names[name] = None
        return list(names)

    def _lesson(self, key: str, value: Mapping[str, Any]) -> Experience:
        """Return the experience of a value that is put, as a new one."""
        now, limit = datetime.now(UTC), self.memory.settings.max_text
        text, when = _texts(key, value)
        fields = {"id": key, "text": text, "when": when, "metadata": _metadata(key, value), "sources": (SOURCE,)}
        state = "active" if self.memory.settings.trust == "operator" else "proposed"
        try:
            made = Experience.model_validate({**fields, "state": state, "created_at": now, "updated_at": now})
        except ValueError as error:
            raise InvalidInput(f"the value of {key!r} cannot be kept ({_short(error)}); nothing was written") from None
        (change,) = plan([Restore(experience=made)], _NOTHING, author=AUTHOR, max_text=limit)
        if change.rejected:
            raise InvalidInput(
                f"the value of {key!r} is {change.rejected}: text and when have {len(text) + len(when)} characters, "
                f"max_text is {limit}; nothing was written. Shorten them, or raise that setting"
            )
        return made

    async def _write(self, name: str, wanted: dict[str, Experience | None], base: ExperienceSet) -> dict[str, str]:
        """Commit, and again what others changed meanwhile; return why which keys were refused."""
        memory, refused = self._of(name), dict[str, str]()
        for attempt in range(RETRIES + 1):
            commit = await memory.commit(_edits(wanted, base), author=AUTHOR, base=base)
            reasons = {_id(rejected.edit): rejected.reason for rejected in commit.rejected}
            wanted = {key: put for key, put in wanted.items() if reasons.get(key) == "conflict"}
            refused.update({k: r for k, r in reasons.items() if r not in {"conflict", "unchanged"}})
            if not wanted or attempt == RETRIES:
                break
            # writers in step would meet again and again
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE / 2 ** (RETRIES - 1 - attempt)))
            base = await memory.load()
        return refused | dict.fromkeys(wanted, "conflict")


async def _each(names: Collection[str], work: Callable[[str], Coroutine[Any, Any, T]]) -> dict[str, T]:
    """Return what the work on each namespace brings; an error is raised when all of them have ended."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> T:
        async with slots:
            return await work(name)

    outcomes = await asyncio.gather(*map(one, names), return_exceptions=True)
    done: dict[str, T] = {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        done[name] = outcome
    return done


def _edits(wanted: Mapping[str, Experience | None], base: ExperienceSet) -> list[Edit]:
    """Return the edits that make a set hold what is wanted; removals first, for they make room under the caps."""
    removals: list[Edit] = [Remove(id=key) for key, put in wanted.items() if put is None and key in base.by_id]
    return removals + [Restore(experience=_placed(put, base)) for put in wanted.values() if put is not None]


def _placed(put: Experience, base: ExperienceSet) -> Experience:
    """Return what is put with all that stays of the experience whose place it takes."""
    old = base.by_id.get(put.id)
    if old is None:
        return put
    kept = {"order": old.order, "parents": old.parents, "created_at": old.created_at}
    return put.model_copy(update={**kept, "sources": tuple(dict.fromkeys((*old.sources, SOURCE)))})


def _id(edit: Edit) -> str:
    return edit.experience.id if isinstance(edit, Restore) else getattr(edit, "id", "")


def _refusal(refused: Mapping[tuple[str, str], str]) -> Exception:
    told = ", ".join(f"{key!r} in {to_labels(name)!r} ({reason})" for (name, key), reason in refused.items())
    happened = f"not stored: {told}; all other writes of this batch stand."
    if set(refused.values()) <= _FAULTS:
        return InvalidInput(f"{happened} Shorten the text, or raise max_text or token_budget")
    advice = {
        "cap": "Remove something first, or raise max_experiences or token_budget",
        "conflict": f"Others kept changing it through {RETRIES + 1} tries; put it again",
        "purged": f"A source of it was purged, and nothing from there comes back; {SOURCE!r} is the store's own",
    }
    return CommitRefused(" ".join([happened, *(advice[reason] for reason in advice if reason in refused.values())]))


def _checked_key(key: str) -> str:
    try:
        return _ID.validate_python(key)
    except ValidationError:
        raise InvalidInput(
            f"key {key!r:.80} cannot be an experience's id: use 1 to 64 characters without blanks; nothing was written"
        ) from None


def _texts(key: str, value: Mapping[str, Any]) -> tuple[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"the value of {key!r} is no dict but {type(value).__name__}; nothing was written")
    text, when = value.get("text"), value.get("when", "")
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(
            f"the value of {key!r} lacks 'text', a non-empty string with the lesson (it has {list(value)!r:.80}); "
            "nothing was written"
        )
    if not isinstance(when, str):
        raise InvalidInput(f"'when' of {key!r} is no string but {type(when).__name__}; nothing was written")
    return text, when


def _metadata(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return all but the texts, as JSON gives it back."""
    metadata = {name: item for name, item in value.items() if name not in _RESERVED}
    if odd := [name for name in metadata if not isinstance(name, str)]:
        raise InvalidInput(f"the value of {key!r} has a name that is no string: {odd[0]!r:.80}; nothing was written")
    try:
        written = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the value of {key!r} is not JSON ({_short(error)}); nothing was written") from None
    if len(written) > METADATA_LIMIT:
        raise InvalidInput(
            f"the value of {key!r} has {len(written)} characters of JSON beside its texts, {METADATA_LIMIT} are "
            "allowed; nothing was written. Keep the bulk elsewhere and a reference here"
        )
    return dict(json.loads(written))


def _short(error: Exception) -> str:
    said = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
    return " ".join(said.split())[:200]


def _answer(op: Op, sets: Mapping[str, ExperienceSet]) -> Result:
    if isinstance(op, GetOp):
        found = sets[to_namespace(op.namespace)].by_id.get(op.key)
        return None if found is None else Item(**_item(tuple(op.namespace), found))
    if isinstance(op, SearchOp):
        return _search(op, sets)
    return _list(op, sets) if isinstance(op, ListNamespacesOp) else None


def _value(experience: Experience) -> dict[str, Any]:
    # others may have written metadata of any name
    metadata = {name: item for name, item in experience.metadata.items() if name not in _RESERVED}
    return {"text": experience.text, **({"when": experience.when} if experience.when else {}), **metadata}


def _item(labels: tuple[str, ...], experience: Experience) -> dict[str, Any]:
    return {
        "namespace": labels,
        "key": experience.id,
        "value": copy.deepcopy(_value(experience)),  # who changes it must not change the snapshot
        "created_at": experience.created_at or _EPOCH,
        "updated_at": experience.updated_at or _EPOCH,
    }


_WORDS = WordRetriever(says=lambda e: f"{e.when} {e.text}")
"""What it works out of a set lives as long as the set's snapshot."""


def _search(op: SearchOp, sets: Mapping[str, ExperienceSet]) -> list[SearchItem]:
    found: list[tuple[tuple[str, ...], Experience]] = []
    for name in sorted(sets):
        labels = to_labels(name)
        if labels is not None and _covers(op, labels):
            found += [(labels, e) for e in sets[name] if not op.filter or _compares(_value(e), op.filter)]
    page = slice(op.offset, op.offset + op.limit)
    if not op.query:
        return [SearchItem(**_item(labels, e)) for labels, e in found[page]]
    scores = _WORDS.scores_now([e for _, e in found], op.query)
    ranked = sorted((i for i, score in enumerate(scores) if score > 0), key=lambda i: -scores[i])
    return [SearchItem(**_item(*found[i]), score=scores[i]) for i in ranked[page]]


def _list(op: ListNamespacesOp, sets: Mapping[str, ExperienceSet]) -> list[tuple[str, ...]]:
    decoded = (to_labels(name) for name, held in sets.items() if len(held))
    listed = {labels[: op.max_depth] for labels in decoded if labels is not None and _covers(op, labels)}
    return sorted(listed)[op.offset : op.offset + op.limit]


def _covers(op: SearchOp | ListNamespacesOp, labels: tuple[str, ...]) -> bool:
    if isinstance(op, SearchOp):
        return labels[: len(op.namespace_prefix)] == tuple(op.namespace_prefix)
    return all(_fits(condition, labels) for condition in op.match_conditions or ())


def _fits(condition: MatchCondition, labels: tuple[str, ...]) -> bool:
    if condition.match_type not in {"prefix", "suffix"}:
        raise InvalidInput(f"match type {condition.match_type!r} is unknown; use 'prefix' or 'suffix'")
    path, step = tuple(condition.path), 1 if condition.match_type == "prefix" else -1
    pairs = zip(labels[::step], path[::step], strict=False)
    return len(path) <= len(labels) and all(asked in ("*", label) for label, asked in pairs)


def _compares(value: Any, asked: Any) -> bool:
    """Tell whether a value is what a filter asks for, as LangGraph's own stores do."""
    if isinstance(asked, Mapping):
        if any(name.startswith("$") for name in asked):
            return all(_operates(value, name, operand) for name, operand in asked.items())
        return isinstance(value, Mapping) and all(_compares(value.get(name), item) for name, item in asked.items())
    if isinstance(asked, list | tuple):
        alike = isinstance(value, list | tuple) and len(value) == len(asked)
        return alike and all(_compares(item, wish) for item, wish in zip(value, asked, strict=True))
    return bool(value == asked)


_ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def _operates(value: Any, name: str, operand: Any) -> bool:
    if name in {"$eq", "$ne"}:
        return bool(value == operand) == (name == "$eq")
    if name not in _ORDERS:
        raise InvalidInput(f"filter operator {name!r} is unknown; use $eq, $ne, $gt, $gte, $lt or $lte")
    try:
        limit = float(operand)
    except (TypeError, ValueError):
        raise InvalidInput(f"filter operator {name!r} needs a number, not {operand!r:.80}") from None
    try:
        return bool(_ORDERS[name](float(value), limit))
    except (TypeError, ValueError):
        return False  # a value that is no number, or absent, is on no side of one
