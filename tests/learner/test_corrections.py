"""Correcting just the runs that speak against a lesson must not bring it through.

Somebody who may correct others' runs tries it.
"""

import random

import pytest

from ted_memory.experience.evidence import add_outcome
from ted_memory.experience.trials import ENOUGH_OUTCOMES, REFUTED
from ted_memory.testing.oracle import evidence as in_memory_evidence
from ted_memory.testing.oracle.store import InMemoryStore
from tests.contracts.evidence import known, on_trial, version
from tests.contracts.queue import Queue, an_episode
from tests.contracts.writer import Writer

LESSONS, OUTCOMES, USERS = 12, 150, 10


async def passes(seed: int, *, corrected: bool) -> bool:
    """Tell whether a lesson that changes nothing passes its trial, looked at after each outcome."""
    store, chance = InMemoryStore(), random.Random(seed)
    queue = Queue(store, Writer(store, "corrected"))
    id = await on_trial(queue)
    given = {"version": await version(queue)}
    for i in range(OUTCOMES):
        shown, score, who = chance.random() < 0.5, float(chance.random() < 0.5), f"user-{i % USERS}"
        await queue.record(
            an_episode(f"r{i}", principal=who, **given, **{"seen" if shown else "withheld": (id,)})
        )
        await queue.say(f"r{i}", score, principal=who)
        if corrected and shown == (score == 0):
            await queue.say(f"r{i}", 1 - score, principal="mallory", reviewer=True)
        if (await known(queue, id)).evidence.live(2) >= ENOUGH_OUTCOMES:
            return True
    return False


async def test_one_who_corrects_what_speaks_against_a_lesson_does_not_bring_it_through() -> None:
    honest = [await passes(seed, corrected=False) for seed in range(LESSONS)]
    corrected = [await passes(seed, corrected=True) for seed in range(LESSONS)]
    assert sum(corrected) <= sum(honest) + 1


async def test_were_a_corrected_outcome_all_his_nearly_every_lesson_would_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: if corrected outcomes were the corrector's, the honest voice would be lost."""
    real = in_memory_evidence.InMemoryEvidence._on_trial

    def as_at_first(self, id, trial, outcome, guess):  # type: ignore[no-untyped-def]
        real(self, id, trial, outcome, guess)
        if outcome.before is None:
            return
        refuted = REFUTED[trial.rule]
        way = {
            "shown": outcome.shown,
            "chance": 0.5,
            "guess": guess,
            "bet": trial.bet,
            "refuted": refuted,
        }
        old = in_memory_evidence.live_steps(outcome.before, **way)
        taken = in_memory_evidence.LiveSteps(-old.live, tuple(-step for step in old.harms))
        voices = self.voices[id]
        for who, steps in ((self.first[outcome.unit], taken), (outcome.speaker, old)):
            voice = in_memory_evidence.voice_of(who)
            voices[voice] = add_outcome(voices[voice], 0.0, steps)

    def noting(self, id, trial, outcome, guess):  # type: ignore[no-untyped-def]
        self.first = getattr(self, "first", {})
        if outcome.before is None:
            self.first[outcome.unit] = outcome.speaker
        as_at_first(self, id, trial, outcome, guess)

    monkeypatch.setattr(in_memory_evidence.InMemoryEvidence, "_on_trial", noting)
    assert sum([await passes(seed, corrected=True) for seed in range(LESSONS)]) >= LESSONS - 2
