"""Experience sets as a LangGraph ``BaseStore``, for agents and tools that keep memories in one."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from ted_memory.errors import CommitRefused, InvalidInput
from ted_memory.experience.edits import plan
from ted_memory.integrations import store_search
from ted_memory.integrations.store_names import KEY, to_id, to_key, to_labels, to_namespace
from ted_memory.integrations.store_values import TextOf, Values, short
from ted_memory.integrations.store_writes import Writes
from ted_memory.memory import sync_bridge
from ted_memory.memory.client import TedMemory
from ted_memory.models import Caps, Edit, Experience, ExperienceSet, Remove, Restore

__all__ = [
    "TedMemoryStore",
]

AUTHOR = "store"
SOURCE = f"author:{AUTHOR}"
RETRIES = 5
AT_ONCE = 16  # namespaces; each one under way takes a connection
MEMORIES = 256  # whose snapshots are kept, so that the next read fetches only what changed
LONGEST_PAUSE = 0.3  # seconds before a retry

T = TypeVar("T")

_LOG = logging.getLogger("ted_memory")
_EPOCH = datetime.fromtimestamp(0, UTC)
_FAULTS = {"too long", "empty", "over budget"}  # of what was handed in, not of the set
_NOTHING = ExperienceSet("nothing", "", 0, Caps(max_experiences=1, token_budget=10**9))


class TedMemoryStore(BaseStore):
    """A LangGraph store whose namespaces are experience sets and whose items are experiences.

    **What is put is a proposal, which no agent is
    shown**, also where an active experience stood, unless the memory's ``trust`` is ``always``:
    then it is active at once.

    A value's ``text`` is the lesson; it may have ``when``, the condition under which it applies;
    anything else is free JSON, up to 4,000 characters. Both texts are kept tidy, as all lessons
    are: one space between words, no "When" before a condition. A value without it, such as
    ``{"content": ...}`` of LangMem or deepagents, is kept whole as it is, and its lesson is its
    JSON; ``text="content"`` takes that field, a callable makes a text of your own. A key may be any
    text; one with blanks or of more than 64 characters has a hash of it as the experience's id.

    Searches with a query rank by BM25 over ``text`` and ``when``, and go on with what has no word
    of it (score 0). A filter's name may be a path: ``{"author.name": "Anna"}``. There is no time to
    live, and ``index`` has no effect. ``docs/store.md`` has all that differs from LangGraph's own
    stores.

    A batch reads what was there before its writes, and checks all its values before it writes any.
    Each namespace takes one commit: what it refuses is told in the error, all the rest of the batch
    stands. Batches that come while a commit is under way share the next one. See `abatch` for
    errors.

    Args:
        memory: a memory of any namespace; its connections and settings serve all of them.
        text: the field of a value in which the lesson stands, or a function that makes the lesson
            of the value.

    Examples:
        >>> store = TedMemoryStore(memory)
        >>> lesson = {"text": "Ask for the order number first.", "when": "a refund is wanted"}
        >>> store.put(("support", "lessons"), "refunds", lesson)
        >>> store.search(("support",), query="refund")[0].value["text"]
        'Ask for the order number first.'

    ``graph.compile(store=store)`` and ``create_agent(..., store=store)`` give it to a graph's nodes
    and an agent's tools.
    """

    supports_ttl = False

    def __init__(self, memory: TedMemory, *, text: TextOf = "text") -> None:
        self.memory = memory
        self._values = Values(text, memory.settings.max_text)
        self._writes = Writes(self._commit)
        self._of: Callable[[str], TedMemory] = lru_cache(maxsize=MEMORIES)(self._open)

    def _open(self, name: str) -> TedMemory:
        # the memory itself where it can be: an agent that reads through it then sees at once what
        # was put
        return self.memory if name == self.memory.namespace else self.memory.for_namespace(name)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations as `abatch` does, for synchronous programs."""
        return sync_bridge.run(self.abatch(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in one go; the results are in their order, that of a put is None.

        Raises:
            InvalidInput: a namespace, key, value or filter cannot be used; nothing was written
                unless it says so.
            CommitRefused: a cap of the set, or another rule of it, forbids some items; the other
                writes stand.
            StoreError: the store cannot be reached or read.
        """
        ops = tuple(ops)
        wanted = self._wanted(ops)
        names = await self._names(ops)
        sets = await _each(names, lambda name: self._of(name).load())
        results = [self._answer(op, sets) for op in ops]
        outcomes = await _each(
            wanted, lambda name: self._writes.write(name, wanted[name], sets[name])
        )
        keys = {to_id(op.key): op.key for op in ops if isinstance(op, PutOp)}
        refused = {
            (name, keys.get(id, id)): reason
            for name, reasons in outcomes.items()
            for id, reason in reasons.items()
        }
        if refused:
            raise _refusal(refused)
        return results

    def _wanted(self, ops: Sequence[Op]) -> dict[str, dict[str, Experience | None]]:
        """What the puts ask for, by namespace and id; the last of several wins."""
        wanted: dict[str, dict[str, Experience | None]] = {}
        for op in ops:
            if isinstance(op, PutOp):
                id = to_id(op.key)
                put = None if op.value is None else self._lesson(op.key, id, op.value)
                wanted.setdefault(to_namespace(op.namespace), {})[id] = put
        return wanted

    async def _names(self, ops: Sequence[Op]) -> list[str]:
        """The namespaces that the operations look at."""
        names: dict[str, None] = {}
        scans: list[SearchOp | ListNamespacesOp] = []
        for op in ops:
            if isinstance(op, GetOp | PutOp):
                to_id(op.key)
                names[to_namespace(op.namespace)] = None
            elif isinstance(op, SearchOp | ListNamespacesOp):
                scans.append(op)
            else:
                raise InvalidInput(
                    f"{type(op).__name__} is not an operation of a store; nothing was written"
                )
        for name in await self.memory.namespaces() if scans else ():
            labels = to_labels(name)
            if labels is not None and any(store_search.covers(scan, labels) for scan in scans):
                names[name] = None
        return list(names)

    def _lesson(self, key: str, id: str, value: Mapping[str, Any]) -> Experience:
        """The experience of a value that is put, as a new one."""
        now, settings = datetime.now(UTC), self.memory.settings
        trust, limit = settings.trust, settings.max_text
        text, when, metadata = self._values.parts(key, value)
        if id != key:
            metadata[KEY] = key
        if trust != "always":
            _warn_once(trust)
        state = "active" if trust == "always" else "proposed"
        fields = {"id": id, "text": text, "when": when, "metadata": metadata, "sources": (SOURCE,)}
        try:
            made = Experience.model_validate(
                {**fields, "state": state, "created_at": now, "updated_at": now}
            )
        except ValueError as error:
            raise InvalidInput(
                f"the value of {key!r} cannot be kept ({short(error)}); nothing was written"
            ) from None
        (change,) = plan([Restore(experience=made)], _NOTHING, author=AUTHOR, max_text=limit)
        if change.rejected:
            raise InvalidInput(
                f"the value of {key!r} is {change.rejected}: "
                f"text and when have {len(text) + len(when)} characters, max_text is {limit}; "
                "nothing was written. Shorten them, or raise that setting"
            )
        return made

    async def _commit(
        self, name: str, wanted: dict[str, Experience | None], base: ExperienceSet | None
    ) -> dict[str, str]:
        """Commit, and again what others changed meanwhile; the reasons of refusals, by id."""
        memory, refused = self._of(name), dict[str, str]()
        base = base or await memory.load()
        for attempt in range(RETRIES + 1):
            commit = await memory.commit(_edits(wanted, base), author=AUTHOR, base=base)
            reasons = {_id(rejected.edit): rejected.reason for rejected in commit.rejected}
            wanted = {id: put for id, put in wanted.items() if reasons.get(id) == "conflict"}
            for id, reason in reasons.items():
                if reason not in {"conflict", "unchanged"}:
                    refused[id] = reason
            if not wanted or attempt == RETRIES:
                break
            # writers in step would meet again and again
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE / 2 ** (RETRIES - 1 - attempt)))
            base = await memory.load()
        return refused | dict.fromkeys(wanted, "conflict")

    def _answer(self, op: Op, sets: Mapping[str, ExperienceSet]) -> Result:
        if isinstance(op, GetOp):
            found = sets[to_namespace(op.namespace)].by_id.get(to_id(op.key))
            return None if found is None else Item(**self._item(tuple(op.namespace), found))
        if isinstance(op, SearchOp):
            ranked = store_search.search(op, sets, self._values.value)
            return [
                SearchItem(**self._item(labels, e), score=score) for (labels, e), score in ranked
            ]
        return store_search.list_namespaces(op, sets) if isinstance(op, ListNamespacesOp) else None

    def _item(self, labels: tuple[str, ...], experience: Experience) -> dict[str, Any]:
        return {
            "namespace": labels,
            "key": to_key(experience),
            "value": self._values.value(experience),
            "created_at": experience.created_at or _EPOCH,
            "updated_at": experience.updated_at or _EPOCH,
        }


@cache  # once for each process
def _warn_once(trust: str) -> None:
    _LOG.warning(
        "what is put into a TedMemoryStore under trust=%r is a proposal: "
        "it is found by get and search, and no agent's prompt shows it until it is approved. "
        "Open the memory with trust='always' to have it active at once",
        trust,
    )


async def _each(
    names: Collection[str], work: Callable[[str], Coroutine[Any, Any, T]]
) -> dict[str, T]:
    """Work on each namespace, `AT_ONCE` at a time; an error is raised when all have ended."""
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
    """The edits that make a set hold what is wanted; removals first, since they make room."""
    gone = [id for id, put in wanted.items() if put is None and id in base.by_id]
    new = [_placed(put, base) for put in wanted.values() if put is not None]
    return [*(Remove(id=id) for id in gone), *(Restore(experience=put) for put in new)]


def _placed(put: Experience, base: ExperienceSet) -> Experience:
    """What is put, with all that stays of the experience whose place it takes."""
    old = base.by_id.get(put.id)
    if old is None:
        return put
    kept = {"order": old.order, "parents": old.parents, "created_at": old.created_at}
    return put.model_copy(update={**kept, "sources": tuple(dict.fromkeys((*old.sources, SOURCE)))})


def _id(edit: Edit) -> str:
    """The id that one of our edits is about."""
    if isinstance(edit, Restore):
        return edit.experience.id
    return edit.id if isinstance(edit, Remove) else ""


def _refusal(refused: Mapping[tuple[str, str], str]) -> Exception:
    told = ", ".join(
        f"{key!r} in {to_labels(name)!r} ({reason})" for (name, key), reason in refused.items()
    )
    happened = f"not stored: {told}; all other writes of this batch stand."
    if set(refused.values()) <= _FAULTS:
        return InvalidInput(f"{happened} Shorten the text, or raise max_text or token_budget")
    advice = {
        "cap": "Remove something first, or raise max_experiences or token_budget",
        "conflict": f"Others kept changing it through {RETRIES + 1} tries; put it again",
        "purged": "A source of it was purged, and nothing from there comes back; "
        f"{SOURCE!r} is the store's own",
    }
    given = [advice[reason] for reason in advice if reason in refused.values()]
    return CommitRefused(" ".join([happened, *given]))
