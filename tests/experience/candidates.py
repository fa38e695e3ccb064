"""Thirty lessons wait for evidence in one namespace: how long until the good ones are active.

As in `made_up`, the project's own functions count and decide; only questions and answers are drawn.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ted_memory.experience.assignment import COIN, draw
from ted_memory.experience.trials import REFUTED, turn, wants_pairs
from ted_memory.learner.allowance import ATTEMPTS
from ted_memory.settings import Settings, make_settings
from tests.experience.lessons import proposed
from tests.experience.made_up import Chance, Subject, World, shares

GOOD, NEUTRAL, BAD = 0.3, 0.0, -0.2
LIFTS = (GOOD,) * 10 + (NEUTRAL,) * 14 + (BAD,) * 6
RAREST, COMMONEST = 0.05, 0.1  # share of the requests that a lesson applies to
CALLS_OF_A_PAIR = 2 * ATTEMPTS
MOST_ALLOWED = 500.0  # pairs that a budget which was not used may make up for: a day's


@dataclass(frozen=True)
class Traffic:
    """What goes past the candidates.

    Attributes:
        graded: share of the requests that have an outcome.
        base: rate of right answers without any lesson.
        principals: who send requests, equally many. Each lesson comes from one of them, who does
            not count.
        archived: graded episodes that are there before the candidates.
        pairs_a_request: that the budget of replays allows.
        together: a request has one outcome, which all lessons in its prompt have changed. Else each
            lesson is measured by itself, and active ones do not raise the base rate of the others.
    """

    graded: float = 0.2
    base: float = 0.4
    principals: int = 10
    archived: int = 0
    pairs_a_request: float = math.inf
    together: bool = False


@dataclass(frozen=True)
class Question:
    """A graded request.

    Whose it is, its chance of a right answer, and what each lesson that applies adds to that.
    """

    number: int
    whose: int
    chance: float
    effects: dict[int, float | None]  # None: it is as it was


@dataclass
class Course:
    """How it went: the requests after which lessons became active, by place; and what it took."""

    active_at: dict[int, int] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    requests: int = 0

    def good_at(self, nth: int) -> float:
        """Return after how many requests the nth good lesson was active, infinity if it was not."""
        found = sorted(at for i, at in self.active_at.items() if LIFTS[i] == GOOD)
        return found[nth - 1] if len(found) >= nth else math.inf

    @property
    def wrong(self) -> int:
        """How many other lessons ever became active."""
        return sum(LIFTS[i] != GOOD for i in self.active_at)


class Race:
    """One namespace with thirty candidates."""

    def __init__(self, traffic: Traffic, settings: Settings, chance: Chance) -> None:
        self.course = Course()
        self._traffic = traffic
        self._settings = settings
        self._chance = chance
        self._lifts = chance.permutation(len(LIFTS)).tolist()  # place -> which of them
        self._sources = chance.integers(0, traffic.principals, len(LIFTS)).tolist()
        self._applies = chance.uniform(RAREST, COMMONEST, len(LIFTS))
        self._shares = [shares(np.array(traffic.base), LIFTS[i]) for i in self._lifts]
        world = World(principals=traffic.principals)
        self.subjects = [Subject(proposed(f"l{i}"), world, settings) for i in range(len(LIFTS))]
        self._due: dict[int, list[tuple[int, Question]]] = {i: [] for i in range(len(LIFTS))}
        self._archived = 0
        self._epoch = f"race-{chance.integers(1 << 30)}"
        self._allowed = 0.0

    def run(self, most_requests: int) -> Course:
        """Send requests until no good lesson is under way any more, or so many have passed."""
        for question in self._questions(self._traffic.archived):
            self._archive(question)
        if self._traffic.archived:
            self._replay(self._traffic.archived * self._traffic.pairs_a_request)
        number = 0
        while number < most_requests and self._is_under_way():
            before, number = number, number + int(self._chance.geometric(self._traffic.graded))
            self.course.requests = number
            [question] = self._questions(1, number)
            self._serve(question)
            self._archive(question)
            self._replay((number - before) * self._traffic.pairs_a_request)
        self.course.ends.update(subject.life.state for subject in self.subjects)
        return self.course

    def _is_under_way(self) -> bool:
        good = [self.subjects[i] for i, which in enumerate(self._lifts) if LIFTS[which] == GOOD]
        return any(s.lesson.state in {"trial", "proposed"} and not s.is_ended for s in good)

    def _questions(self, count: int, number: int = 0) -> Iterator[Question]:
        base = self._traffic.base
        for _ in range(count):
            effects: dict[int, float | None] = {}
            for i in np.flatnonzero(self._chance.random(len(LIFTS)) < self._applies).tolist():
                solves, breaks = self._shares[i]
                luck = self._chance.random()
                effects[i] = 1.0 if luck < solves else 0.0 if luck > 1 - breaks else None
            whose = int(self._chance.integers(self._traffic.principals))
            yield Question(number, whose, float(self._chance.beta(base, 1 - base)), effects)

    def _right(self, question: Question, shown: Iterable[int]) -> float:
        """Return the chance of a right answer to a prompt with these lessons."""
        chance = question.chance
        for i in sorted(shown):
            effect = question.effects[i]
            chance = chance if effect is None else effect
        return chance

    def _score(self, right: float, attempts: int) -> float:
        return int(self._chance.binomial(attempts, right)) / attempts

    def _in_state(self, question: Question, state: str) -> list[int]:
        return [i for i in question.effects if self.subjects[i].lesson.state == state]

    def _active(self, question: Question) -> list[int]:
        return self._in_state(question, "active") if self._traffic.together else []

    def _serve(self, question: Question) -> None:
        """Answer a live request, and count its outcome for the lessons on trial."""
        tried = [i for i in self._in_state(question, "trial") if self._sources[i] != question.whose]
        unit = f"unit-{question.number}"
        seen = {i for i in tried if draw(self._epoch, unit, self.subjects[i].lesson.id) < COIN}
        prompt = [*self._active(question), *seen]
        common = self._score(self._right(question, prompt), 1)
        for i in tried:
            subject, trial = self.subjects[i], self.subjects[i].lesson.trial
            assert trial is not None
            alone = [i] if i in seen else []
            score = (
                common if self._traffic.together else self._score(self._right(question, alone), 1)
            )
            refuted = REFUTED[trial.rule]
            subject.tally.outcome(
                question.whose, score, shown=i in seen, bet=trial.bet, refuted=refuted
            )
            self._look(i)

    def _archive(self, question: Question) -> None:
        self._archived += 1
        for i in question.effects:
            # its outcome is counted, and no pair besides
            is_tried = self.subjects[i].lesson.state == "trial"
            if self._sources[i] != question.whose and not is_tried:
                self._due[i].append((self._archived, question))

    def _replay(self, allowed: float) -> None:
        """Replay what is due within the budget: the best lesson first, its newest episode first."""
        self._allowed += allowed
        if self._traffic.pairs_a_request < math.inf:
            self._allowed = min(self._allowed, MOST_ALLOWED)
        oldest = self._archived - self._settings.max_archived
        while self._allowed >= 1:
            there = [i for i, due in self._due.items() if due and due[-1][0] > oldest]
            waiting = [i for i in there if self._is_replayed(i)]
            if not waiting:
                break
            best = min(waiting, key=self._turn)
            self._pair(best, self._due[best].pop()[1])
            self._allowed -= 1

    def _is_replayed(self, i: int) -> bool:
        return wants_pairs(self.subjects[i].lesson, self.subjects[i].tally.evidence, self._settings)

    def _turn(self, i: int) -> tuple[bool, tuple[float, float, float]]:
        subject = self.subjects[i]
        return subject.lesson.state == "active", turn(subject.tally.evidence, self._settings)

    def _pair(self, i: int, question: Question) -> None:
        others, subject = [j for j in self._active(question) if j != i], self.subjects[i]
        with_it = self._score(self._right(question, [*others, i]), ATTEMPTS)
        without_it = self._score(self._right(question, others), ATTEMPTS)
        count = subject.tally.watch if subject.lesson.state == "active" else subject.tally.pair
        count(question.whose, with_it, without_it)
        self.course.pairs += 1
        self._look(i)

    def _look(self, i: int) -> None:
        subject = self.subjects[i]
        if not subject.look():
            return
        if subject.lesson.state == "active":
            self.course.active_at[self._lifts[i]] = self.course.requests
            self._due[i].clear()  # it is watched on new episodes only


def races(
    traffic: Traffic,
    rounds: int,
    most_requests: int,
    *,
    seed: int = 1,
    **tunables: object,
) -> list[Course]:
    """Return how so many namespaces fared."""
    settings = make_settings(**tunables)
    chances = [np.random.default_rng([seed, n]) for n in range(rounds)]
    return [Race(traffic, settings, chance).run(most_requests) for chance in chances]


def nth_good(courses: Sequence[Course], nth: int) -> tuple[float, float]:
    """Return median and 90th percentile of the requests until the nth good lesson is active."""
    at = [course.good_at(nth) for course in courses]
    return float(np.median(at)), float(np.quantile(at, 0.9, method="higher"))
