"""What evidence and usage must be, computed from all that was said with arithmetic of its own.

A `Ledger` keeps every pair and every outcome with whoever said it. Sums are made of that each time
anew, so that what a principal contributed can be taken away again whatever came later.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from ted_memory.models import Experience, Usage

BETS = (0.3, 0.6, 0.9)
WORTH, LOWEST, HIGHEST, COIN = 0.1, 0.2, 0.8, 0.5
REFUTED = {"strict": 0.0, "quick": -0.1}
HELPS, USELESS, LIVE, HARMS, TURNED = (
    slice(3, 6),
    slice(6, 9),
    slice(11, 12),
    slice(12, 15),
    slice(16, 19),
)
PAIRS, OUTCOMES, SCORE = 0, 9, 10
LENGTH = 19
"""Numbers in a row of sums, in the order of `experience.evidence.Sums`.

Only how often the watch was begun anew is left out.
"""

Row = list[float]
Steps = Callable[[float], Row]


@dataclass
class Vote:
    """One run's outcome as it was counted for one lesson.

    It holds who said what, in turn, and how a score becomes steps of the lesson's bets.
    """

    rev: int
    shown: bool
    said: list[tuple[str, float]]
    steps: Steps | None = None  # none: its conversation was counted before, or it was no bet
    on_trial: bool = False
    # the watch's stretch that it stands in, for each bet
    began: list[int] = field(default_factory=list)

    @property
    def score(self) -> float:
        return self.said[-1][1]

    def rows(self) -> dict[str, Row]:
        """What the outcome adds to a trial, by speaker.

        The first one adds the outcome, each later one the difference to what was said before.
        """
        rows: dict[str, Row] = defaultdict(lambda: [0.0] * LENGTH)
        before: tuple[float, Row] | None = None
        for speaker, score in self.said if self.steps else ():
            now, row = self.steps(score), rows[speaker]
            row[OUTCOMES] += before is None
            row[SCORE] += score - (before[0] if before else 0.0)
            for i, step in enumerate(now):
                row[LIVE.start + i] += step - (before[1][i] if before else 0.0)
            before = score, now
        return rows


class Watch:
    """The watch over an active lesson.

    For each bet it holds stretches of what was said. A new stretch begins when nothing speaks
    against the lesson any more.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.stretches: list[list[list[tuple[str, float]]]] = [[[]], [[]], [[]]]
        self.level = [0.0, 0.0, 0.0]

    def begin(self) -> None:
        """Let nothing speak against the lesson."""
        for i in range(3):
            self.stretches[i].append([])
            self.level[i] = 0.0

    def hear(self, speaker: str, steps: Row) -> list[int]:
        """Add steps against it; return in which stretches they stand."""
        self.heard.append(speaker)
        for i, step in enumerate(steps):
            if self.level[i] <= 0:
                self.stretches[i].append([])
                self.level[i] = 0.0
            self._add(i, speaker, step)
        return [len(one) for one in self.stretches]

    def correct(self, speaker: str, old: Row, new: Row, began: list[int]) -> None:
        """Add what a correction changes, where the stretch goes on."""
        for i, (was, is_now) in enumerate(zip(old, new, strict=True)):
            self._add(i, speaker, is_now - was if began[i] == len(self.stretches[i]) else 0.0)

    def _add(self, i: int, speaker: str, step: float) -> None:
        self.stretches[i][-1].append((speaker, step))
        self.level[i] += step


class Lesson:
    """All that is known of one lesson's present text."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, float, float]] = []
        self.done: set[int] = set()
        self.votes: list[Vote] = []
        self.trial: list[Vote] = []
        self.units: set[str] = set()
        self.watch = Watch()
        self.before = Usage()  # what an import has brought
        self.is_shown = False
        """Replays have shown that this text helps."""

    def rows(self) -> dict[str, Row]:
        """Return the sums of each speaker."""
        rows: dict[str, Row] = defaultdict(lambda: [0.0] * LENGTH)
        for speaker, with_it, without in self.pairs:
            row, difference = rows[speaker], with_it - without
            row[0], row[1], row[2] = row[0] + 1, row[1] + with_it, row[2] + without
            for i, bet in enumerate(BETS):
                row[HELPS.start + i] += math.log(1 + bet * difference)
                row[USELESS.start + i] += math.log(1 - bet * (difference - WORTH) / (1 - WORTH))
        for vote in self.trial:
            for speaker, added in vote.rows().items():
                rows[speaker] = [a + b for a, b in zip(rows[speaker], added, strict=True)]
        for speaker in self.watch.heard:
            rows[speaker][15] += 1
        for i, stretches in enumerate(self.watch.stretches):
            for speaker, step in stretches[-1]:
                rows[speaker][TURNED.start + i] += step
        return rows

    def usage(self) -> tuple[float, ...]:
        """Outcomes with the lesson and the sum of their scores, then the same without it."""
        with_it = [vote.score for vote in self.votes if vote.shown]
        without = [vote.score for vote in self.votes if not vote.shown]
        b = self.before
        return (
            b.n_with + len(with_it),
            b.successes_with + sum(with_it),
            b.n_without + len(without),
            b.successes_without + sum(without),
        )


@dataclass
class Assigned:
    """What a run was assigned, and under which version; and what it was counted as."""

    principal: str
    unit: str
    seen: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    version: int = 0
    withhold: float = 0.0
    score: float | None = None
    counted: dict[str, Vote] = field(default_factory=dict)


class Ledger:
    """The lessons of one set."""

    def __init__(self) -> None:
        self.lessons: dict[str, Lesson] = defaultdict(Lesson)

    def pair(self, e: Experience, speaker: str, seq: int, with_it: float, without: float) -> None:
        """Count a pair of answers."""
        lesson = self.lessons[e.id]
        lesson.done.add(seq)
        if e.state == "active":
            lesson.watch.hear(speaker, [math.log(1 - bet * (with_it - without)) for bet in BETS])
        else:
            lesson.pairs.append((speaker, with_it, without))

    def outcome(
        self, run: Assigned, speaker: str, score: float, held: Mapping[str, Experience]
    ) -> None:
        """Count a score for each lesson that the run saw or missed, in the run's own stratum."""
        for ids, shown in ((run.seen, True), (run.withheld, False)):
            for id in ids:
                e = held.get(id)
                if e is None or e.state not in {"trial", "active"}:
                    continue
                vote = run.counted.get(id)
                if run.score is None and e.rev <= run.version:
                    run.counted[id] = self._counted(e, run, speaker, score, shown)
                elif run.score is not None and vote is not None and vote.rev == e.rev:
                    self._corrected(self.lessons[id], vote, speaker, score)
        run.score = score

    def _counted(
        self, e: Experience, run: Assigned, speaker: str, score: float, shown: bool
    ) -> Vote:
        lesson, vote = self.lessons[e.id], Vote(e.rev, shown, [(speaker, score)])
        lesson.votes.append(vote)
        bet = e.trial.bet if e.state == "trial" and e.trial else 0.0
        if not bet and not (e.state == "active" and run.withhold):
            return vote
        if run.unit in lesson.units:
            return vote
        lesson.units.add(run.unit)
        vote.on_trial = e.state == "trial"
        if vote.on_trial:
            known = [one.score for one in lesson.trial if one.steps]
            vote.steps = _steps(
                _guess(known), shown, COIN, bet, REFUTED[e.trial.rule if e.trial else "strict"]
            )
            lesson.trial.append(vote)
        else:
            known = [one.score for one in lesson.trial if one.steps]
            vote.steps = _steps(_guess(known), shown, 1 - run.withhold, 0.0, 0.0)
            vote.began = lesson.watch.hear(speaker, vote.steps(score)[1:])
        return vote

    @staticmethod
    def _corrected(lesson: Lesson, vote: Vote, speaker: str, score: float) -> None:
        old = vote.score
        vote.said.append((speaker, score))
        if vote.steps and not vote.on_trial:
            lesson.watch.correct(speaker, vote.steps(old)[1:], vote.steps(score)[1:], vote.began)

    def forget(self, id: str) -> None:
        """Know nothing of a lesson: it is gone, or says something else."""
        self.lessons.pop(id, None)

    def changed(self, id: str, state: str) -> None:
        """Note that a lesson has come into another state."""
        if state == "active":
            self.lessons[id].watch.begin()
        if state == "trial":
            self.lessons[id].trial = []


def _guess(scores: Collection[float]) -> float:
    return min(max((0.5 + sum(scores)) / (1 + len(scores)), LOWEST), HIGHEST)


def _steps(guess: float, shown: bool, chance: float, bet: float, refuted: float) -> Steps:
    """A function from a score to its steps: that the lesson helps, then per bet that it harms."""
    widest = HIGHEST / min(chance, 1 - chance)

    def steps(score: float) -> Row:
        z = (score - guess) / chance if shown else (guess - score) / (1 - chance)
        live = math.log(1 + bet * (z - refuted) / (widest + abs(refuted)))
        return [live, *(math.log(1 - share * z / widest) for share in BETS)]

    return steps


def total(rows: Collection[Row]) -> Row:
    return [math.fsum(row[i] for row in rows) for i in range(LENGTH)]


def least_wealth(rows: Mapping[str, Row], part: slice, left_out: int) -> float:
    """The smallest wealth that is left when any `left_out` of the speakers had said nothing."""
    return min(
        math.fsum(math.exp(n) for n in total(left)[part]) / len(range(*part.indices(LENGTH)))
        for left in _without(rows, left_out)
    )


def least_count(rows: Mapping[str, Row], place: int, left_out: int) -> float:
    """Return the smallest count that is left without so many speakers."""
    return min(total(left)[place] for left in _without(rows, left_out))


def _without(rows: Mapping[str, Row], left_out: int) -> list[list[Row]]:
    gone = combinations(rows, min(left_out, len(rows)))
    return [[row for speaker, row in rows.items() if speaker not in some] for some in gone]
