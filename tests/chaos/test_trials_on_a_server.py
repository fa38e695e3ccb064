"""The simulation of trials, through a server: the same lessons live the same lives, step by step.

What lessons meet is drawn as in `tests.experience.made_up`. Here every pair and every outcome is
counted by the scripts of a real server, and every step is committed to a real set.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from ted_memory import Add, TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.experience.evidence import voice_of
from ted_memory.experience.trials import wants_pairs
from ted_memory.learner.trials import look
from ted_memory.models import Message
from ted_memory.protocols import KnownEvidence, Pair, Shown
from ted_memory.settings import make_settings
from ted_memory.storage.redis import scripts as lua
from tests.chaos.sizes import report, size
from tests.conftest import Server
from tests.experience.made_up import (
    FASTER,
    PAIRS,
    Life,
    Script,
    World,
    arrivals,
    live,
    scripts,
    share,
)
from tests.learner.worlds import PEOPLE, fill_archive

LESSONS = size(2, 100)  # of each lift
LIFTS = (0.0, 0.4)
SETTINGS = {
    "trust": "evidence",
    "rate_limit": 10**6,
    "max_archived": 10_000,
    "max_experiences": 10_000,
}
EPISODES = size(160, PAIRS)  # in the archive; the few lessons of the small test need no more
VOICES = 10  # principals of the made-up world
HELPS = "sums[HELPS + at] = sums[HELPS + at] + math.log(1 + bet * difference)"


def users() -> list[str]:
    """Principals that have a voice each. The simulation leaves out that some share one."""
    by_voice: dict[str, str] = {}
    for i in range(1000):
        by_voice.setdefault(voice_of(f"user-{i}"), f"user-{i}")
    return list(by_voice.values())[:VOICES]


class Desk:
    """A memory in which lessons are proposed, replayed and tried, one after the other."""

    def __init__(self, memory: TedMemory, episodes: Sequence[int]) -> None:
        self.memory = memory
        self.episodes = episodes
        self.users = users()
        self.known: KnownEvidence = {}
        self.lesson = ""
        self.life = Life()

    async def live(self, world: World, script: Script, name: str) -> Life:
        """Take one lesson along its way, as `made_up.live` does.

        Trials are looked at after every pair and every outcome.
        """
        add = Add(
            text=f"Do {name}.", state="proposed", sources=("principal:anna", "principal:bert")
        )
        self.lesson = (await self.memory.commit([add], author="learner")).applied[0].id
        self.life = Life()
        pairs = zip(script.pairs, self.episodes, strict=False)
        while self.life.state == "proposed" and await self._replay(pairs):
            pass
        if self.life.state == "trial":
            for whose, score, shown in arrivals(world, script, name):
                await self._outcome(self.users[whose], score, shown=shown)
                if await self._look() or not await self._replay_some(pairs):
                    break
        return self.life

    async def _replay_some(self, pairs: Iterator[tuple[tuple[int, float, float], int]]) -> bool:
        """Replay the archive further, as much as there is time for between two outcomes."""
        for _ in range(FASTER):
            if not await self._replay(pairs):
                return False
        return True

    async def _replay(self, pairs: Iterator[tuple[tuple[int, float, float], int]]) -> bool:
        """Count a pair, if one is left and wanted; gives whether the lesson is where it was."""
        lesson = (await self.memory.load()).by_id.get(self.lesson)
        shown = await self.memory.store.episodes.evidence(self.memory.namespace, [self.lesson])
        evidence = shown.get(self.lesson, Shown()).evidence
        if lesson is None or not wants_pairs(lesson, evidence, self.memory.settings):
            return lesson is not None and lesson.state == "trial"
        (whose, with_it, without), seq = next(pairs)
        await self._pair(seq, self.users[whose], with_it, without)
        return not await self._look()

    async def _pair(self, seq: int, speaker: str, with_it: float, without: float) -> None:
        version = (await self.memory.load()).version
        pair = Pair(
            id=self.lesson,
            since=version,
            seq=seq,
            speaker=speaker,
            score_with=with_it,
            score_without=without,
        )
        assert await self.memory.store.episodes.replayed(self.memory.namespace, pair) == "counted"
        self.life.pairs += 1

    async def _outcome(self, user: str, score: float, *, shown: bool) -> None:
        run = secrets.token_hex(8)
        exposed = {"seen": (self.lesson,)} if shown else {"withheld": (self.lesson,)}
        words = {
            "input": (Message(role="user", content="?"),),
            "output": (Message(role="assistant", content="!"),),
        }
        await self.memory.record(Episode(run_id=run, principal=user, **exposed, **words))
        await self.memory.flush()
        await self.memory.give_feedback(run, score=score, principal=user)
        self.life.outcomes += 1
        self.life.saw += shown

    async def _look(self) -> bool:
        steps, self.known = await look(self.memory, "one", self.known)
        for step in steps:
            id, state, why = step.split(": ", 2)
            assert id == self.lesson
            self.life.state = state
            self.life.whys.append(why)
        return bool(steps)


async def both(
    server: Server, namespace: str, lift: float, lessons: int
) -> tuple[list[Life], list[Life]]:
    """Return the lives of the same lessons in plain Python and on a server."""
    world, settings = World(lift=lift), make_settings()
    drawn = scripts(np.random.default_rng(5), world, lessons)
    names = [f"{lift:g}-{i}" for i in range(lessons)]
    plain = [live(world, script, settings, name) for name, script in zip(names, drawn, strict=True)]
    async with open_memory(server.url, namespace=namespace, **SETTINGS) as memory:
        desk = Desk(
            memory, await fill_archive(memory, [PEOPLE[i % len(PEOPLE)] for i in range(EPISODES)])
        )
        real = [
            await desk.live(world, script, name) for name, script in zip(names, drawn, strict=True)
        ]
    return plain, real


@pytest.mark.parametrize("lift", LIFTS)
async def test_lessons_live_the_same_lives_on_a_server(
    server: Server, namespace: str, lift: float
) -> None:
    plain, real = await both(server, namespace, lift, LESSONS)
    assert real == plain
    passed = share(real)
    pairs, outcomes = sum(life.pairs for life in real), sum(life.outcomes for life in real)
    report(
        f"trials on a server, lift {lift:+.1f}: "
        f"{passed:.2f} of {len(real)} lessons became active, as in the "
        f"simulation, in {pairs} pairs and {outcomes} outcomes"
    )
    assert passed > 0.5 if lift else passed <= 0.1


async def test_control_a_script_that_bets_otherwise_is_found_out(
    server: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lua._REPLAYED.count(HELPS) == 1
    broken = lua._REPLAYED.replace(HELPS, HELPS.replace("bet * difference", "bet * difference / 2"))
    monkeypatch.setattr(lua, "_REPLAYED", broken)
    monkeypatch.setitem(
        lua._DIGESTS, broken, hashlib.sha1(broken.encode(), usedforsecurity=False).hexdigest()
    )
    plain, real = await both(server, namespace, 0.4, 2)
    assert real != plain
