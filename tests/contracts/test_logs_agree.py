"""The in-memory queue states what the scripts do: any calls come out the same in both."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from ted_memory.episodes import Claim, Episode, Traffic
from ted_memory.errors import ClaimLost
from ted_memory.models import Add, Edit, ExperienceSet, Remove, Rewrite, SetState, Usage
from ted_memory.protocols import ExperienceStore
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle.store import InMemoryStore
from tests.contracts.queue import LONG, Queue, an_episode, emptied
from tests.contracts.writer import Writer

_PHASES = (Phase.generate, Phase.shrink)
_examples = itertools.count()
TICK = 0.002
"""Seconds between two calls: servers count in milliseconds."""
MOMENT, SIZE = 0.001, len(an_episode("r1").model_dump_json(exclude_defaults=True).encode())

_new = st.integers(3, 8).map(lambda n: f"r{n}")  # three are there from the beginning
_runs = st.sampled_from(["r1", "r2", "r1", "r2", "r3", "r4", "r5"])
_ids = st.integers(1, 4).map(lambda n: f"id{n}")
_principals = st.sampled_from(["anna", "bob"])
_places = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4])  # how many claims ago
_scores = st.sampled_from([None, 0.0, 0.25, 0.5, 1.0, 1.0])
_leases = st.sampled_from([LONG, MOMENT])
_usages = st.dictionaries(_ids, st.just(Usage(n_with=1, helped=0.5)), max_size=2)
_seqs = st.lists(st.integers(1, 6), max_size=3)
_episodes = st.fixed_dictionaries(
    {
        "run_id": _new,
        "principal": _principals,
        "seen": st.lists(_ids, max_size=3).map(tuple),
        "withheld": st.lists(_ids, max_size=1).map(tuple),
        "counted": st.none() | st.lists(_ids, max_size=1).map(tuple),
        "images": st.sampled_from([(), (), ("0" * 64,)]),
    }
)
_limits = st.fixed_dictionaries(
    {
        "wait": st.sampled_from([0.0, LONG]),
        "max_episodes": st.sampled_from([9, 9, 4]),
        "max_bytes": st.sampled_from([10**6, 10**6, 3 * SIZE, 4 * SIZE + 200]),
        "rate_limit": st.sampled_from([9, 9, 4]),
    }
)
_rules = st.fixed_dictionaries(
    {
        "rate_limit": st.sampled_from([9, 9, 2]),
        "kept": st.sampled_from([1.0, 0.5]),
        "first": st.sampled_from([False, False, True]),
    }
)
_settled = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from(["learned", "nothing", "set_aside"]),
        "counters": st.dictionaries(st.sampled_from(["n", "m"]), st.integers(0, 3)),
        "usage": _usages,
        "atomic": st.booleans(),
        "token": st.sampled_from([None, None, None, "t1", "t2"]),
    }
)
_edits = st.lists(
    st.one_of(
        st.builds(
            Add,
            text=st.sampled_from(["One.", "Two."]),
            state=st.sampled_from(["trial", "active", "active"]),
        ),
        st.builds(Remove, id=_ids),
        st.builds(Rewrite, id=_ids, text=st.sampled_from(["Three.", "Four."])),
        st.builds(SetState, id=_ids, state=st.sampled_from(["trial", "active"])),
    ),
    max_size=2,
)
_hand_back = st.tuples(
    st.just("return_claim"),
    _places,
    st.sampled_from([True, True, False]),
    st.sampled_from(["", "broken"]),
    st.integers(1, 2),
)
_record = st.tuples(st.just("record"), st.lists(_episodes, min_size=1, max_size=3), _limits)
_claim = st.tuples(
    st.just("claim"), st.integers(1, 3), _principals, _leases, st.booleans(), st.integers(1, 3)
)
_steps = st.one_of(
    _record,
    _record,
    st.tuples(st.just("say"), _runs, _scores, _principals, _rules),
    st.tuples(st.just("say"), _runs, _scores, _principals, _rules),
    st.tuples(st.just("count"), _runs, _scores, _rules),
    _claim,
    _claim,
    st.tuples(st.just("extend_lease"), st.lists(_places, max_size=3), _principals, _leases),
    _hand_back,
    _hand_back,
    st.tuples(st.just("settle"), _places, _edits, _settled),
    st.tuples(st.just("commit"), _edits, _usages),
    st.tuples(st.sampled_from(["retry", "drop"]), _seqs),
    st.tuples(
        st.just("spend"),
        st.dictionaries(st.sampled_from(["n", "hour:x"]), st.integers(1, 3), min_size=1),
    ),
)


class Player:
    """Does what it is told to one log, and notes everything that can be seen of it."""

    def __init__(self, store: ExperienceStore, namespace: str) -> None:
        numbers = itertools.count(1)
        self.queue = Queue(store, Writer(store, namespace, make_id=lambda: f"id{next(numbers)}"))
        self.claims: list[Claim] = []
        self.tokens = itertools.count()

    async def play(self, script: list[tuple[Any, ...]]) -> list[Any]:
        await self.queue.writer.commit(
            Add(text="First."), Add(text="On trial.", state="trial"), Add(text="Third.")
        )
        await self.record(
            [{"run_id": f"r{i}", "seen": ("id1", "id2"), "withheld": ("id3",)} for i in (1, 2, 3)],
            {},
        )
        await self.claim(2, "anna", LONG, alone=False, most=3)
        seen = []
        for name, *told in script:
            do: Callable[..., Awaitable[Any]] = getattr(self, name)
            answer = await do(*told)
            await asyncio.sleep(TICK)
            seen.append((name, answer, *await self.look()))
        return seen

    async def look(self) -> tuple[Any, ...]:
        queue = self.queue
        held, traffic = await queue.writer.now(), await queue.traffic()
        dead = [letter.model_dump(exclude={"at"}) for letter in await queue.dead_letters()]
        check(traffic, len(dead))
        usage = dict(await queue.store.usage(queue.namespace))
        return counts(traffic), dead, usage, plain(held)

    async def record(self, episodes: list[Mapping[str, Any]], limits: Mapping[str, Any]) -> Any:
        made: list[Episode] = [an_episode(**fields) for fields in episodes]
        return await self.queue.record(
            *made, images={"0" * 64: b"image"}, **limits
        ), self.queue.early

    async def say(
        self, run_id: str, score: float | None, principal: str, rules: Mapping[str, Any]
    ) -> Any:
        verdict = await self.queue.say(run_id, score, principal=principal, **rules)
        return verdict, await self.queue.latest_score(run_id)

    async def count(self, run_id: str, score: float | None, rules: Mapping[str, Any]) -> Any:
        return await self.queue.count(run_id, score, **rules)

    async def claim(self, count: int, learner: str, lease: float, alone: bool, most: int) -> Any:
        claims = await self.queue.claim(
            count, learner=learner, lease=lease, alone=alone, max_deliveries=most
        )
        fences = [claim.fence for claim in (*self.claims, *claims.claims)]
        assert fences == sorted(set(fences)), "a fence is higher than all before it"
        self.claims += claims.claims
        return claims.suspects, [claim.model_dump(exclude={"fence"}) for claim in claims.claims]

    def known(self, place: int) -> Claim:
        return self.claims[-1 - place % len(self.claims)]

    async def extend_lease(self, places: list[int], learner: str, lease: float) -> Any:
        return await self.queue.extend_lease(*map(self.known, places), learner=learner, lease=lease)

    async def return_claim(self, place: int, counts: bool, reason: str, most: int) -> Any:
        return await self.queue.return_claim(
            self.known(place), counts=counts, reason=reason, max_deliveries=most
        )

    async def settle(self, place: int, edits: list[Edit], options: Mapping[str, Any]) -> Any:
        token = options["token"] or f"own{next(self.tokens)}"
        try:
            commit = await self.queue.settle(
                self.known(place), *edits, **{**options, "token": token}
            )
        except ClaimLost:
            return "fenced"
        return commit.model_copy(update={"epoch": ""})

    async def commit(self, edits: list[Edit], usage: Mapping[str, Usage]) -> Any:
        return (await self.queue.writer.commit(*edits, usage=usage)).model_copy(
            update={"epoch": ""}
        )

    async def retry(self, seqs: list[int]) -> int:
        return await self.queue.log.retry_dead(self.queue.namespace, seqs)

    async def drop(self, seqs: list[int]) -> int:
        return await self.queue.log.drop_dead(self.queue.namespace, seqs)

    async def spend(self, counters: Mapping[str, int]) -> None:
        await self.queue.log.count(self.queue.namespace, counters)


def counts(traffic: Traffic) -> Traffic:
    """Traffic but for times; who is alive is a matter of times too."""
    return traffic.model_copy(update={"oldest": None, "last_settled": None, "learners": 0})


def check(traffic: Traffic, dead: int) -> None:
    """Every episode taken in is in one place, or was settled, or dropped as a dead letter."""
    there = traffic.waiting + traffic.claimed + traffic.dead
    assert traffic.dead == dead
    assert (
        there + sum(traffic.counts[name] for name in ("learned", "nothing", "set_aside"))
        <= traffic.counts["recorded"]
    )
    assert (traffic.bytes > 0) == (there > 0)
    assert (traffic.oldest is None) == (traffic.waiting + traffic.claimed == 0)


def plain(held: ExperienceSet) -> tuple[Any, ...]:
    """A set but for times and what is random."""
    return (
        held.version,
        [e.model_dump(exclude={"created_at", "updated_at"}) for e in held],
        dict(held.usage),
    )


async def in_both(url: str, script: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
    """Play a script in memory and on a server; return what each of them showed."""
    on_server, namespace = (
        RedisStore(Clients(url, None, read_timeout=1.0)),
        f"logs-agree-{next(_examples)}",
    )
    try:
        players = Player(InMemoryStore(), namespace), Player(on_server, namespace)
        one, other = await asyncio.gather(*(player.play(script) for player in players))
        return one, other
    finally:
        await on_server.aclose()
        await emptied(url)


@pytest.mark.parametrize("backend_url", ["valkey"], indirect=True)
@given(script=st.lists(_steps, min_size=12, max_size=20))
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=_PHASES,
)
def test_any_sequence_of_calls_comes_out_the_same_in_memory_and_on_a_server(
    backend_url: str, script: list[tuple[Any, ...]]
) -> None:
    in_memory, on_server = asyncio.run(in_both(backend_url, script))
    for name, answer, *_ in in_memory:
        event(f"{name}: {answer if isinstance(answer, str) else type(answer).__name__}")
    assert in_memory == on_server
