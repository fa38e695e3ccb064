"""Any pairs, outcomes and changes give the same evidence in memory and on every server."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from ted_memory.experience.evidence import Evidence, Sums
from ted_memory.models import Add, Edit, Remove, Rewrite, SetState, Trial
from ted_memory.protocols import ExperienceStore, Shown
from ted_memory.storage.redis.clients import Clients
from ted_memory.storage.redis.store import RedisStore
from ted_memory.testing.oracle.store import InMemoryStore
from tests.conftest import SERVERS
from tests.contracts.evidence import archive, archived_runs, replay
from tests.contracts.queue import Queue, an_episode, emptied
from tests.contracts.writer import Writer

_PHASES = (Phase.generate, Phase.shrink)
_examples = itertools.count()
IDS = [f"id{i}" for i in range(1, 6)]

_ids = st.sampled_from(["id1", "id1", "id2", "id2", "id3", "id4"])
_who = st.sampled_from(["anna", "bob", "anonymous"])
_scores = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0])
_places = st.integers(0, 3)
_trials = st.builds(
    Trial, bet=st.sampled_from([0.0, 0.3, 0.7]), rule=st.sampled_from(["strict", "quick"])
)
_edits = st.one_of(
    st.builds(SetState, id=_ids, state=st.just("trial"), trial=_trials),
    st.builds(
        SetState, id=_ids, state=st.sampled_from(["proposed", "active", "active", "retired"])
    ),
    st.builds(Rewrite, id=_ids, text=st.sampled_from(["Another.", "A third."])),
    st.builds(Remove, id=_ids),
    st.builds(Add, text=st.just("One more."), state=st.sampled_from(["proposed", "active"])),
)
_pair = st.tuples(
    st.just("pair"), _ids, _places, _scores, _scores, _who, st.sampled_from([0, 0, 0, 1])
)
_outcome = st.tuples(
    st.just("run"),
    st.fixed_dictionaries(
        {
            "principal": _who,
            "seen": st.lists(_ids, max_size=2, unique=True).map(tuple),
            "withheld": st.lists(_ids, max_size=1).map(tuple),
            "withhold_share": st.sampled_from([0.0, 0.1, 0.3]),
        }
    ),
    st.sampled_from([0, 0, 1]),
    _scores,
    _who,
)
_correction = st.tuples(st.just("correct"), _places, _scores, _who)
_steps = st.one_of(
    *[_pair] * 3,
    *[_outcome] * 3,
    *[_correction] * 2,
    st.tuples(st.just("change"), _edits),
    st.tuples(st.just("keep"), _who, st.integers(2, 4)),
    st.tuples(st.just("forget"), _places),
)


class Player:
    """Does what it is told to one store, and notes what is known of each lesson."""

    def __init__(self, store: ExperienceStore, namespace: str) -> None:
        numbers = itertools.count(1)
        self.queue = Queue(store, Writer(store, namespace, make_id=lambda: f"id{next(numbers)}"))
        self.runs = 0
        self.archived: list[int] = []
        self.held: Mapping[str, Shown] = {}

    async def play(self, script: list[tuple[Any, ...]]) -> list[Any]:
        states = ("proposed", "proposed", "active")
        await self.queue.writer.commit(
            *(Add(text=f"Lesson {i}.", state=state) for i, state in enumerate(states))
        )
        await self.queue.writer.commit(SetState(id="id2", state="trial", trial=Trial(bet=0.5)))
        self.archived = await archive(self.queue, "a", "b", "c")
        await self.run({"seen": ("id2", "id3"), "withhold_share": 0.1}, 0, 1.0, "bob")
        seen = []
        for name, *told in script:
            answer = await getattr(self, name)(*told)
            seen.append((name, answer, await archived_runs(self.queue), *await self.look()))
        return seen

    async def look(self) -> tuple[Any, ...]:
        log, namespace = self.queue.log, self.queue.namespace
        self.held = await log.evidence(namespace, IDS, self.held)
        assert self.held == await log.evidence(namespace, IDS), (
            "who reads only changes knows the same"
        )
        numbers = {
            id: [row(sums) for sums in ordered(shown.evidence)] for id, shown in self.held.items()
        }
        return numbers, {id: shown.done for id, shown in self.held.items()}

    def seq(self, place: int) -> int:
        return self.archived[-1 - place % len(self.archived)]

    async def pair(
        self, id: str, place: int, with_it: float, without: float, who: str, late: int
    ) -> str:
        since = (await self.queue.writer.now()).version - late
        return await replay(
            self.queue, id, self.seq(place), with_it, without, speaker=who, since=since
        )

    async def run(self, fields: Mapping[str, Any], late: int, score: float, who: str) -> str:
        self.runs += 1
        version = (await self.queue.writer.now()).version - late
        await self.queue.record(an_episode(f"r{self.runs}", version=version, **fields))
        return await self.queue.say(f"r{self.runs}", score, principal=who)

    async def correct(self, place: int, score: float, who: str) -> str:
        return await self.queue.say(f"r{max(self.runs - place, 1)}", score, principal=who)

    async def change(self, edit: Edit) -> list[str]:
        return [rejected.reason for rejected in (await self.queue.writer.commit(edit)).rejected]

    async def keep(self, who: str, most: int) -> None:
        waiting = (await self.queue.traffic()).waiting
        for claim in (await self.queue.claim(waiting)).claims:
            await self.queue.settle(claim, outcome="nothing")
        self.archived += await archive(
            self.queue, f"kept{len(self.archived)}", principal=who, max_archived=most
        )

    async def forget(self, place: int) -> int:
        return await self.queue.log.forget_archived(self.queue.namespace, [self.seq(place)])


def ordered(evidence: Evidence) -> list[Sums]:
    """Give the sums in all, then each voice's, in an order that rounding does not change."""
    return [evidence.total, *sorted(evidence.voices, key=row)]


def row(sums: Sums) -> list[float]:
    return [round(number, 6) + 0.0 for number in sums.numbers]


async def in_both(url: str, script: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any]]:
    """Play a script in memory and on a server; return what each of them showed."""
    on_server, namespace = (
        RedisStore(Clients(url, None, read_timeout=1.0)),
        f"evidence-agrees-{next(_examples)}",
    )
    try:
        players = Player(InMemoryStore(), namespace), Player(on_server, namespace)
        one, other = await asyncio.gather(*(player.play(script) for player in players))
        return one, other
    finally:
        await on_server.aclose()
        await emptied(url)


@pytest.mark.parametrize(
    "backend_url", [name for name, binary in SERVERS.items() if binary], indirect=True
)
@given(script=st.lists(_steps, min_size=12, max_size=20))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=_PHASES,
)
def test_any_sequence_gives_the_same_evidence_in_memory_and_on_a_server(
    backend_url: str, script: list[tuple[Any, ...]]
) -> None:
    in_memory, on_server = asyncio.run(in_both(backend_url, script))
    for name, answer, *_ in in_memory:
        event(f"{name}: {answer if isinstance(answer, str) else type(answer).__name__}")
    assert in_memory == on_server
