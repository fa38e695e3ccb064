"""The in-memory store states what the scripts do: any commits come out the same in both."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import (
    Add,
    Caps,
    Edit,
    Experience,
    ExperienceSet,
    LogEntry,
    Merge,
    Presentation,
    Remove,
    Restore,
    Rewrite,
    SetState,
    Usage,
)
from ted_memory.protocols import ExperienceStore
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import Server
from tests.contracts.writer import Writer, active_tokens

_PHASES = (Phase.generate, Phase.shrink)
_examples = itertools.count()

TIGHT = Caps(max_experiences=4, token_budget=FRAME_TOKENS + 40)
TIGHTER = Caps(max_experiences=2, token_budget=FRAME_TOKENS + 25)

_texts = st.text(max_size=60) | st.sampled_from(
    ["One.", "Two.", "A lesson of some length that takes its share."]
)
_ids = st.integers(1, 12).map(lambda n: f"id{n}")
_states = st.sampled_from(["proposed", "trial", "active"])
_revs = st.none() | st.integers(0, 8)
_places = st.integers(0, 11)


_edits = st.one_of(
    st.builds(Add, text=_texts, when=_texts, state=_states),
    st.builds(Remove, id=_ids, rev=_revs),
    st.builds(
        Restore,
        experience=st.builds(
            Experience, id=_ids, text=_texts, state=_states, tokens=st.integers(1, 9)
        ),
    ),
    st.tuples(st.just("rewrite"), _places, st.fixed_dictionaries({"text": _texts})),
    st.tuples(st.just("remove"), _places, st.just({})),
    st.tuples(
        st.just("state"), _places, st.fixed_dictionaries({"state": _states | st.just("retired")})
    ),
    st.tuples(st.just("merge"), _places, st.fixed_dictionaries({"text": _texts})),
)
_usages = st.sampled_from(
    [Usage(n_with=1.1, helped=1), Usage(weight=0.1, weighted_difference=-0.3)]
)
_commits = st.fixed_dictionaries(
    {
        "edits": st.lists(_edits, max_size=4),
        "late": st.booleans(),
        "token": st.sampled_from([*[None] * 8, "t1", "t2"]),
        "atomic": st.sampled_from([*[False] * 4, True]),
        "caps": st.sampled_from([TIGHT, TIGHT, TIGHTER]),
        "stated": st.sets(st.sampled_from(["max_experiences", "token_budget"])).map(
            lambda names: tuple(sorted(names))
        ),
        "expect_version": st.sampled_from([*[None] * 9, 0, 1, 2]),
        "usage": st.dictionaries(_ids, _usages, max_size=2),
        "presentation": st.sampled_from(
            [None, None, Presentation(), Presentation(placement="user")]
        ),
    }
)


def _edit(drawn: Any, base: ExperienceSet) -> Edit:
    if not isinstance(drawn, tuple):
        return drawn
    kind, place, fields = drawn
    ids = [e.id for e in base] or ["nobody"]
    id = ids[place % len(ids)]
    if kind == "merge":
        return Merge(ids=(id, ids[(place + 1) % len(ids)]), **fields)
    made: dict[str, Callable[..., Edit]] = {"rewrite": Rewrite, "remove": Remove, "state": SetState}
    return made[kind](id=id, **fields)


async def _play(store: ExperienceStore, namespace: str, script: list[dict[str, Any]]) -> list[Any]:
    """Return everything that can be seen of a store while it is told to do all this."""
    numbers = itertools.count(1)
    writer = Writer(store, namespace, make_id=lambda: f"id{next(numbers)}")
    seen: list[Any] = []
    held = await writer.now()
    for number, step in enumerate(script):
        options = {name: value for name, value in step.items() if name not in {"edits", "late"}}
        base = held if step["late"] else await writer.now()
        token = options.pop("token") or f"own{number}"
        before = held
        commit = await writer.commit(
            *(_edit(e, base) for e in step["edits"]), base=base, token=token, **options
        )
        held = await writer.now()
        _check_caps(held)
        caught_up = await store.read(namespace, before if before.version else None)
        assert caught_up is None or (caught_up, caught_up.usage) == (held, held.usage)
        seen.append(
            (commit.model_copy(update={"epoch": ""}), _plain(held), await store.usage(namespace))
        )
    log = await store.log(namespace, range(1, held.version + 1))
    assert [entry.version for entry in log] == list(range(1, held.version + 1)), "no gaps"
    assert _replayed(log) == dict(held.by_id)
    assert _undone(log, held) == {}
    seen.append(_timeless([entry.model_dump(exclude={"at"}) for entry in log]))
    return seen


def _check_caps(after: ExperienceSet) -> None:
    assert len(after.active) <= after.caps.max_experiences
    assert not after.active or active_tokens(after) <= after.caps.token_budget


def _timeless(value: Any) -> Any:
    """Two plays of one script differ in nothing but the time."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in {"created_at", "updated_at"}}
    return [_timeless(v) for v in value] if isinstance(value, list | tuple) else value


def _plain(held: ExperienceSet) -> tuple[Any, ...]:
    return (
        held.version,
        held.caps,
        [_timeless(e.model_dump()) for e in held],
        dict(held.usage),
        held.oldest,
        held.presentation,
    )


def _replayed(log: tuple[LogEntry, ...]) -> dict[str, Experience]:
    experiences: dict[str, Experience] = {}
    for change in (change for entry in log for change in entry.changes):
        for old in change.before:
            assert experiences.pop(old.id) == old
        experiences.update({new.id: new for new in change.after})
    return experiences


def _undone(log: tuple[LogEntry, ...], held: ExperienceSet) -> dict[str, Experience]:
    experiences = dict(held.by_id)
    for change in (change for entry in reversed(log) for change in reversed(entry.changes)):
        for new in change.after:
            assert experiences.pop(new.id) == new
        experiences.update({old.id: old for old in change.before})
    return experiences


@given(st.lists(_commits, min_size=2, max_size=8))
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=_PHASES,
)
def test_any_sequence_of_commits_comes_out_the_same_in_memory_and_on_a_server(
    valkey: Server, script: list[dict[str, Any]]
) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        on_server = RedisStore(Clients(valkey.url, None, read_timeout=1.0))
        try:
            # tokens outlive a namespace: each example has its own
            namespace = f"agree-{next(_examples)}"
            return await _play(InMemoryStore(), namespace, script), await _play(
                on_server, namespace, script
            )
        finally:
            await on_server.aclose()

    in_memory, on_server = asyncio.run(both())
    event(f"versions: {in_memory[-2][1][0]}")
    assert in_memory == on_server
