"""The evidence of one namespace in a process's own memory: it states what evidence.lua does."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ted_memory.experience.assignment import COIN
from ted_memory.experience.evidence import (
    Evidence,
    LiveSteps,
    Sums,
    add_outcome,
    add_pair,
    add_silent,
    correct_outcome,
    correct_watched,
    hear,
    live_steps,
    pair_against,
    try_again,
    voice_of,
    watch,
    watch_again,
)
from ted_memory.experience.trials import REFUTED
from ted_memory.models import Experience, Trial, Usage
from ted_memory.protocols import Pair, PairVerdict, Shown

LONGEST_LIST = 8000  # characters of the lists of episodes and of conversations that a lesson has


@dataclass(frozen=True)
class Counted:
    """What an outcome was counted as, so that a corrected score can take its place.

    ``is_evidence``: not where its conversation had been counted before.
    """

    rev: int
    guess: float
    begun: tuple[float, ...] = ()
    is_evidence: bool = True


@dataclass(frozen=True)
class Outcome:
    """One live outcome for one lesson.

    ``speaker`` is whose word it is, ``unit`` the conversation. ``before`` is the score that it
    corrects, None where it is the first. ``shown``: whether the request saw the lesson.
    ``withhold``: the chance with which an active lesson was withheld.
    """

    speaker: str
    unit: str
    score: float
    before: float | None
    shown: bool
    withhold: float

    @property
    def is_first(self) -> bool:
        """Whether nothing was counted for its request before."""
        return self.before is None

    @property
    def usage(self) -> Usage:
        """What it adds to the lesson's usage."""
        n, difference = float(self.is_first), self.score - (self.before or 0.0)
        if self.shown:
            return Usage(n_with=n, successes_with=difference)
        return Usage(n_without=n, successes_without=difference)


@dataclass
class InMemoryEvidence:
    """What replays and live outcomes have shown of each lesson."""

    changes: int = 0
    change: dict[str, int] = field(default_factory=dict)
    totals: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    voices: dict[str, dict[int, Sums]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Sums))
    )
    done: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    done_to: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    units: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of(self, id: str) -> Shown | None:
        """What is known of a lesson; None where nothing is."""
        if id not in self.change:
            return None
        voices = tuple(self.voices[id].values())
        floor = self.floors.get(id)
        evidence = Evidence(self.totals[id], voices)
        return Shown(
            self.change[id], evidence, frozenset(self.done[id]), self.done_to.get(id, 0), floor
        )

    def forget(self, id: str) -> None:
        """Forget all on a lesson: its text is another one, or it is gone."""
        for place in (
            self.change,
            self.totals,
            self.voices,
            self.done,
            self.done_to,
            self.floors,
            self.units,
        ):
            place.pop(id, None)

    def activated(self, id: str) -> None:
        """Let nothing speak against a lesson that becomes active."""
        if id in self.change:
            self.totals[id] = watch_again(self.totals[id])
            self.floors.pop(id, None)
            self._changed(id)

    def put_on_trial(self, id: str) -> None:
        """Let a trial begin with no outcomes."""
        if id in self.change:
            self.totals[id] = try_again(self.totals[id])
            for voice, sums in self.voices[id].items():
                self.voices[id][voice] = try_again(sums)
            self._changed(id)

    def replayed(self, lesson: Experience | None, pair: Pair, *, is_there: bool) -> PairVerdict:
        """Count a pair of answers; ``is_there``: whether its episode is still in the archive."""
        if lesson is None or lesson.rev > pair.since or not is_there:
            return "changed"
        if pair.seq in self.done[lesson.id] or pair.seq <= self.done_to.get(lesson.id, 0):
            return "repeated"
        self._add_to_done(lesson.id, pair.seq)
        if lesson.state == "active":
            self.floors.setdefault(lesson.id, pair.floor)
            against = pair_against(pair.score_with, pair.score_without)
            self._watch(lesson.id, pair.speaker, against)
            return "counted"
        says_nothing = pair.on_tools and pair.score_with == pair.score_without
        add: Callable[[Sums], Sums] = add_silent
        if not says_nothing:
            add = partial(add_pair, with_it=pair.score_with, without_it=pair.score_without)
        voices, voice = self.voices[lesson.id], voice_of(pair.speaker)
        voices[voice], self.totals[lesson.id] = add(voices[voice]), add(self.totals[lesson.id])
        self._changed(lesson.id)
        return "counted"

    def _add_to_done(self, id: str, seq: int) -> None:
        self.done[id].append(seq)
        while _length(self.done[id]) > LONGEST_LIST:
            self.done_to[id] = min(self.done[id])
            self.done[id].remove(self.done_to[id])

    def outcome(self, lesson: Experience, outcome: Outcome, known: Counted | None) -> Counted:
        """Count a live outcome; a corrected one in the place of what it was ``known`` as."""
        before = known or Counted(lesson.rev, self.totals[lesson.id].guess)
        trial = _running_trial(lesson)
        is_watched = lesson.state == "active" and outcome.withhold > 0
        if trial is None and not is_watched:
            return Counted(lesson.rev, before.guess, before.begun)
        units = self.units[lesson.id]
        # the coin fell once for the whole conversation: its later outcomes are no bets of their own
        is_evidence = known.is_evidence if known else outcome.unit not in units
        if not is_evidence:
            return Counted(lesson.rev, before.guess, is_evidence=False)
        if outcome.unit not in units:
            self.units[lesson.id] = _latest([*units, outcome.unit])
        begun = before.begun
        if trial is not None:
            self._on_trial(lesson.id, trial, outcome, before.guess)
        else:
            begun = self._when_active(lesson.id, outcome, before.guess, begun)
        return Counted(lesson.rev, before.guess, begun)

    def _on_trial(self, id: str, trial: Trial, outcome: Outcome, guess: float) -> None:
        def steps(score: float) -> LiveSteps:
            refuted = REFUTED[trial.rule]
            return live_steps(
                score, shown=outcome.shown, chance=COIN, guess=guess, bet=trial.bet, refuted=refuted
            )

        def counted(sums: Sums) -> Sums:
            now = (outcome.score, steps(outcome.score))
            if outcome.before is None:
                return add_outcome(sums, *now)
            return correct_outcome(sums, (outcome.before, steps(outcome.before)), now)

        voices, voice = self.voices[id], voice_of(outcome.speaker)
        voices[voice], self.totals[id] = counted(voices[voice]), counted(self.totals[id])
        self._changed(id)

    def _when_active(
        self, id: str, outcome: Outcome, guess: float, then: tuple[float, ...]
    ) -> tuple[float, ...]:

        def steps(score: float) -> tuple[float, ...]:
            chance = 1 - outcome.withhold
            return live_steps(
                score, shown=outcome.shown, chance=chance, guess=guess, bet=0, refuted=0
            ).harms

        new = steps(outcome.score)
        if outcome.before is None:
            return self._watch(id, outcome.speaker, new)
        old, total = steps(outcome.before), self.totals[id]
        changed = []
        for new_step, old_step, now_begun, then_begun in zip(
            new, old, total.begun, then, strict=True
        ):
            was_begun_anew = now_begun != then_begun  # what was bet before that is closed
            changed.append(0.0 if was_begun_anew else new_step - old_step)
        self.totals[id] = correct_watched(total, changed)
        voices, voice = self.voices[id], voice_of(outcome.speaker)
        voices[voice] = hear(voices[voice], changed, total.begun, count=0)
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


def _running_trial(lesson: Experience) -> Trial | None:
    """The lesson's trial, if its live test has begun."""
    if lesson.state != "trial" or lesson.trial is None or not lesson.trial.bet:
        return None
    return lesson.trial


def _latest(units: list[str]) -> list[str]:
    """The latest of these conversations: as many as the script keeps."""
    while _length(units) > LONGEST_LIST:
        units = units[1:]
    return units


def _length(listed: Sequence[object]) -> int:
    """The characters of a list as the script keeps it."""
    return len(",") + sum(len(f"{one},") for one in listed)
