"""The evidence of one namespace in a process's own memory: the executable statement of what evidence.lua does."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ted_memory.experience.assignment import COIN
from ted_memory.experience.evidence import (
    Evidence,
    LiveSteps,
    Sums,
    add_outcome,
    add_pair,
    correct_watched,
    hear,
    live_steps,
    pair_against,
    take_outcome_back,
    voice_of,
    watch,
    watch_again,
)
from ted_memory.experience.trials import RULES
from ted_memory.models import Experience, Trial
from ted_memory.protocols import Pair, PairVerdict, Shown

MOST_DONE = 8000  # characters of the list of episodes that a lesson was replayed on


@dataclass(frozen=True)
class Counted:
    """What an outcome was counted as, so that a corrected score can take its place."""

    rev: int
    guess: float
    begun: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One live outcome: whose word it is, its score, the same before a correction, how the request was assigned."""

    speaker: str
    score: float
    speaker_before: str
    before: float | None
    shown: bool
    withhold: float


@dataclass
class InMemoryEvidence:
    """What replays and live outcomes have shown of each lesson."""

    changes: int = 0
    change: dict[str, int] = field(default_factory=dict)
    totals: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    voices: dict[str, dict[int, Sums]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Sums)))
    done: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def of(self, id: str) -> Shown | None:
        """Return what is known of a lesson; None where nothing is."""
        if id not in self.change:
            return None
        voices = tuple(self.voices[id].values())
        return Shown(self.change[id], Evidence(self.totals[id], voices), frozenset(self.done[id]))

    def forget(self, id: str) -> None:
        """Forget all on a lesson: its text is another one, or it is gone."""
        for place in (self.change, self.totals, self.voices, self.done):
            place.pop(id, None)

    def activated(self, id: str) -> None:
        """Let nothing speak against a lesson that becomes active."""
        if id in self.change:
            self.totals[id] = watch_again(self.totals[id])
            self._changed(id)

    def replayed(self, lesson: Experience | None, pair: Pair, *, is_there: bool) -> PairVerdict:
        """Count a pair of answers; ``is_there``: whether its episode is still in the archive."""
        if lesson is None or lesson.rev > pair.since or not is_there:
            return "changed"
        if pair.seq in self.done[lesson.id]:
            return "repeated"
        self.done[lesson.id] = _latest([*self.done[lesson.id], pair.seq])
        scores = (pair.score_with, pair.score_without)
        if lesson.state == "active":
            self._watch(lesson.id, pair.speaker, pair_against(*scores))
        else:
            voices, voice = self.voices[lesson.id], voice_of(pair.speaker)
            voices[voice] = add_pair(voices[voice], *scores)
            self.totals[lesson.id] = add_pair(self.totals[lesson.id], *scores)
            self._changed(lesson.id)
        return "counted"

    def outcome(self, lesson: Experience, outcome: Outcome, known: Counted | None) -> Counted:
        """Count a live outcome, or a corrected one in the place of what it was ``known`` as."""
        guess = known.guess if known else self.totals[lesson.id].guess
        begun: tuple[float, ...] = ()
        if lesson.state == "active":
            begun = self._when_active(lesson.id, outcome, guess, known.begun if known else ())
        elif lesson.trial is not None and lesson.trial.bet:
            self._on_trial(lesson.id, lesson.trial, outcome, guess)
        return Counted(lesson.rev, guess, begun)

    def _on_trial(self, id: str, trial: Trial, outcome: Outcome, guess: float) -> None:
        def steps(score: float) -> LiveSteps:
            refuted = RULES[trial.rule][0]
            return live_steps(score, shown=outcome.shown, chance=COIN, guess=guess, bet=trial.bet, refuted=refuted)

        voices = self.voices[id]
        if outcome.before is not None:
            old, voice = (outcome.before, steps(outcome.before)), voice_of(outcome.speaker_before)
            voices[voice] = take_outcome_back(voices[voice], *old)
            self.totals[id] = take_outcome_back(self.totals[id], *old)
        new, voice = (outcome.score, steps(outcome.score)), voice_of(outcome.speaker)
        voices[voice] = add_outcome(voices[voice], *new)
        self.totals[id] = add_outcome(self.totals[id], *new)
        self._changed(id)

    def _when_active(self, id: str, outcome: Outcome, guess: float, then: tuple[float, ...]) -> tuple[float, ...]:
        if outcome.withhold <= 0:
            return ()

        def steps(score: float) -> tuple[float, ...]:
            chance = 1 - outcome.withhold
            return live_steps(score, shown=outcome.shown, chance=chance, guess=guess, bet=0, refuted=0).harms

        new = steps(outcome.score)
        if outcome.before is None:
            return self._watch(id, outcome.speaker, new)
        old, total, voices = steps(outcome.before), self.totals[id], self.voices[id]
        is_open = [now == begun for now, begun in zip(total.begun, then, strict=True)]
        self.totals[id] = correct_watched(total, [n - o for n, o in zip(new, old, strict=True)], is_open)
        voice = voice_of(outcome.speaker_before)
        voices[voice] = correct_watched(voices[voice], [-step for step in old], is_open, count=-1)
        heard = [n if still else 0.0 for n, still in zip(new, is_open, strict=True)]
        voice = voice_of(outcome.speaker)
        voices[voice] = hear(voices[voice], heard, total.begun)
        self._changed(id)
        return then

    def _watch(self, id: str, speaker: str, steps: Sequence[float]) -> tuple[float, ...]:
        self.totals[id], begun = watch(self.totals[id], steps)
        voices, voice = self.voices[id], voice_of(speaker)
        voices[voice] = hear(voices[voice], steps, begun)
        self._changed(id)
        return begun

    def _changed(self, id: str) -> None:
        self.changes += 1
        self.change[id] = self.changes


def _latest(done: list[int]) -> list[int]:
    """Return the latest of these episodes: as many as the script keeps."""
    size, kept = 0, list[int]()
    for seq in reversed(done):
        size += len(f"{seq},")
        if size > MOST_DONE:
            break
        kept.append(seq)
    return kept[::-1]
