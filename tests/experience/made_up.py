"""Traffic that is made up, past lessons whose lift is known.

Only questions, answers, principals and delays are drawn here. Coins are the project's own draws.
Evidence is counted by its own functions. Each decision is one of `next_steps`, asked after every
pair and every outcome.

A question is answered right with a chance of its own, drawn around the base rate. A lesson solves a
share of the questions, breaks another, and leaves the rest as they were. At lift 0 it helps as
often as it hurts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import median

import numpy as np

from ted_memory.experience.assignment import COIN, draw
from ted_memory.experience.evidence import add_pair, live_steps
from ted_memory.experience.trials import MOST_OUTCOMES, MOST_PAIRS, REFUTED, next_steps, wants_pairs
from ted_memory.learner.allowance import ATTEMPTS
from ted_memory.models import Experience, ExperienceSet
from ted_memory.settings import Settings, make_settings
from tests.experience.lessons import NOW, a_set, proposed
from tests.experience.tally import AddPair, TakeSteps, Tally

# those of the busiest do not count towards an end
PAIRS, OUTCOMES = 3 * MOST_PAIRS // 2, 3 * MOST_OUTCOMES // 2
Array = np.ndarray
Chance = np.random.Generator
FASTER = 4  # pairs for each outcome: one request in so many is graded, and replays wait for nobody
BATCH = 250  # lessons whose questions are drawn at once
EPOCH = "made-up"
Pair = tuple[int, float, float]  # whose question it is, score with the lesson, score without it


@dataclass(frozen=True)
class World:
    """What lessons are tried in.

    Attributes:
        base: rate of right answers without the lesson, and at the last question if that is another
            one.
        lift: of the lesson, in replays.
        live_lift: of the lesson in live traffic, where replays are fooled.
        sameness: how much two questions are alike. Below 1 a question mostly gets the same answer
            each time. At 99 each answer is a coin of the base rate.
        principals: who send requests, equally many; liars come on top.
        liars: how many. They call right what they get with the lesson, and wrong what they get
            without it.
        lies: share of the requests that are the liars'.
        lies_against: liars do the opposite: they call wrong what they get with the lesson.
        lies_late: liars tell the truth in replays, and lie of live outcomes alone.
        has_source: the lesson comes from the first honest principal, so his own requests say
            nothing of it.
        parts: of which the mean is the score of an answer.
        late: outcomes come late, and good ones sooner.
        paired: False is a negative control: answers without the lesson are those to earlier
            questions, and the clock decides who sees it, not a coin.
        count_pair, steps_of: how evidence is counted.
    """

    base: float | tuple[float, float] = 0.5
    lift: float = 0.0
    live_lift: float | None = None
    sameness: float = 1.0
    principals: int = 10
    liars: int = 0
    lies: float = 0.0
    lies_against: bool = False
    lies_late: bool = False
    has_source: bool = False
    parts: int = 1
    late: bool = False
    paired: bool = True
    count_pair: AddPair = add_pair
    steps_of: TakeSteps = live_steps


@dataclass
class Life:
    """What became of one lesson: the state it ended in, what it took, and why each step was taken.

    Attributes:
        saw: outcomes of requests that saw it on trial, liars' too.
        requests: graded requests that it applied to until it was decided on, also those that say
            nothing of it.
        honest: graded requests of honest principals that it applied to. Before its trial these are
            the replayed ones, on trial its outcomes. Once it is active they are all that its script
            still has.
        honest_saw: those of them that saw it; once it is active each does.
    """

    state: str = "proposed"
    pairs: int = 0
    outcomes: int = 0
    saw: int = 0
    requests: int = field(default=0, compare=False)  # of its traffic, not of what was decided
    honest: int = field(default=0, compare=False)
    honest_saw: int = field(default=0, compare=False)
    whys: list[str] = field(default_factory=list)

    @property
    def passed_replays(self) -> bool:
        return bool(self.whys) and self.whys[0].startswith("replays show it")


# --- questions and answers


def shares(base: Array, lift: float) -> tuple[Array, Array]:
    """Return the shares of the questions that a lesson of this lift solves and breaks."""
    breaks = np.full_like(base, 0.1 if lift == 0 else 0.05)
    solves = (lift + breaks * base) / (1 - base)
    breaks = np.where(solves + breaks > 1, 0.0, breaks)
    solves = (lift + breaks * base) / (1 - base)
    harms_only = solves < 0
    return np.where(harms_only, 0.0, solves), np.where(harms_only, -lift / base, breaks)


def questions(
    chance: Chance, world: World, lift: float, count: int, lessons: int
) -> tuple[Array, Array]:
    """Return the chances of right answers without it and with it, by lesson and question."""
    begins, ends = world.base if isinstance(world.base, tuple) else (world.base, world.base)
    base = np.linspace(begins, ends, count)
    alike = world.sameness
    without = chance.beta(alike * base, alike * (1 - base), (lessons, count))
    solves, breaks = shares(base, lift)
    effect = chance.random((lessons, count))
    return without, np.where(effect < solves, 1.0, np.where(effect > 1 - breaks, 0.0, without))


def answers(chance: Chance, rights: Array, attempts: int) -> Array:
    """Return the mean scores of so many answers to each question."""
    return chance.binomial(attempts, rights) / attempts


def told_by_liars(
    world: World, whose: Array, with_it: Array, without_it: Array
) -> tuple[Array, Array]:
    """Return the scores with a lesson and without it as their principals tell them."""
    lying, with_lies = whose < world.liars, 0.0 if world.lies_against else 1.0
    return np.where(lying, with_lies, with_it), np.where(lying, 1.0 - with_lies, without_it)


def principals(chance: Chance, world: World, shape: tuple[int, int]) -> Array:
    """Return whose each question is: liars have the first numbers."""
    honest = chance.integers(world.liars, world.liars + world.principals, shape)
    if not world.liars:
        return honest
    return np.where(
        chance.random(shape) < world.lies, chance.integers(0, world.liars, shape), honest
    )


@dataclass(frozen=True)
class Script:
    """All that one lesson could meet.

    Pairs are (whose, score with it, score without it), outcomes (whose, score if it is shown, score
    if it is not).
    """

    pairs: Sequence[tuple[int, float, float]]
    outcomes: Sequence[tuple[int, float, float]]
    delays: Sequence[tuple[float, float]]  # of each outcome: where it is good, where it is not


def scripts(chance: Chance, world: World, lessons: int) -> list[Script]:
    """Draw what so many lessons will meet."""
    sides = []
    for lift, count, attempts, lying in (
        (world.lift, PAIRS, ATTEMPTS * world.parts, not world.lies_late),
        (world.lift if world.live_lift is None else world.live_lift, OUTCOMES, world.parts, True),
    ):
        without, with_it = questions(chance, world, lift, count, lessons)
        whose = principals(chance, world, without.shape)
        good, bad = answers(chance, with_it, attempts), answers(chance, without, attempts)
        sides.append((whose, *(told_by_liars(world, whose, good, bad) if lying else (good, bad))))
    pairs, outcomes = sides
    if not world.paired:
        earlier = np.arange(PAIRS) // 2
        pairs = (pairs[0], pairs[1], pairs[2][:, earlier])
    delays = chance.exponential(1.0, (lessons, OUTCOMES, 2)) * (30.0, 150.0) if world.late else None
    return [
        Script(
            list(zip(*(side[i].tolist() for side in pairs), strict=True)),
            list(zip(*(side[i].tolist() for side in outcomes), strict=True)),
            delays[i].tolist() if delays is not None else (),
        )
        for i in range(lessons)
    ]


def arrivals(world: World, script: Script, id: str) -> list[tuple[int, float, bool]]:
    """Return live outcomes as they come: whose, the score, whether the lesson was seen."""
    came = []
    for t, (whose, if_shown, if_not) in enumerate(script.outcomes):
        shown = draw(EPOCH, f"unit-{t}", id) < COIN if world.paired else t >= MOST_OUTCOMES // 6
        score = if_shown if shown else if_not
        came.append((t + (script.delays[t][score == 0] if world.late else 0), whose, score, shown))
    return [
        (whose, score, shown) for _, whose, score, shown in sorted(came, key=lambda one: one[0])
    ]


# --- lives


class Subject:
    """One lesson, what is known of it, and what is decided on it."""

    def __init__(self, lesson: Experience, world: World, settings: Settings) -> None:
        self.lesson = lesson
        self.life = Life(lesson.state)
        everybody = world.liars + world.principals
        self.tally = Tally(everybody, count_pair=world.count_pair, steps_of=world.steps_of)
        self.source = world.liars if world.has_source else None
        self._settings = settings
        self._set: ExperienceSet = a_set(lesson)

    @property
    def is_ended(self) -> bool:
        """Whether only a person's word brings it any further."""
        return self.lesson.trial is not None and bool(self.lesson.trial.ended)

    def replay(self, pair: Pair) -> bool:
        """Count a pair, if one more is wanted; tell whether the lesson is where it was before."""
        state = self.lesson.state
        if pair[0] != self.source and wants_pairs(self.lesson, self.tally.evidence, self._settings):
            self.tally.pair(*pair)
            self.life.pairs += 1
            self.look()
        return self.lesson.state == state

    def look(self) -> bool:
        """Take the step that is due; tell whether there was one."""
        steps = next_steps(self._set, {self.lesson.id: self.tally.evidence}, self._settings, NOW)
        for step in steps:
            update = {"state": step.edit.state, "trial": step.edit.trial}
            self.lesson = self.lesson.model_copy(update=update)
            self._set = a_set(self.lesson)
            self.life.state = step.edit.state
            self.life.whys.append(step.why)
        return bool(steps)


def live(world: World, script: Script, settings: Settings, id: str) -> Life:
    """Take one lesson along its way; after every pair and every outcome it is looked at.

    On trial the archive is replayed further, `FASTER` times as fast as outcomes come, as long as
    more pairs are wanted.
    """
    subject, pairs = Subject(proposed(id), world, settings), iter(script.pairs)
    life = subject.life
    for pair in pairs:
        life.requests += 1
        life.honest += pair[0] >= world.liars
        if not subject.replay(pair):
            break
    if life.state == "trial":
        go_on_trial(subject, world, pairs, iter(arrivals(world, script, id)))
    return life


def go_on_trial(
    subject: Subject,
    world: World,
    pairs: Iterator[Pair],
    outcomes: Iterator[tuple[int, float, bool]],
) -> None:
    """Let a lesson meet outcomes, and further pairs, until its trial ends."""
    life, trial = subject.life, subject.lesson.trial
    assert trial is not None
    for whose, score, shown in outcomes:
        life.requests += 1
        if whose == subject.source:
            continue
        subject.tally.outcome(whose, score, shown=shown, bet=trial.bet, refuted=REFUTED[trial.rule])
        life.outcomes += 1
        life.saw += shown
        life.honest += whose >= world.liars
        life.honest_saw += shown and whose >= world.liars
        if subject.look() or not all(subject.replay(pair) for pair in islice(pairs, FASTER)):
            break
    if life.state == "active":
        still = sum(whose >= world.liars for whose, _, _ in outcomes)
        life.honest, life.honest_saw = life.honest + still, life.honest_saw + still


def lives(world: World, count: int, seed: int = 1, **tunables: object) -> list[Life]:
    """Return what becomes of so many lessons that all have this lift."""
    chance, settings, done = np.random.default_rng(seed), make_settings(**tunables), list[Life]()
    while len(done) < count:
        batch = scripts(chance, world, min(BATCH, count - len(done)))
        done += [
            live(world, script, settings, f"{seed}-{len(done) + i}")
            for i, script in enumerate(batch)
        ]
    return done


# --- active lessons


def pairs_until_demoted(
    world: World, script: Sequence[tuple[int, float, float]], settings: Settings, tally: Tally
) -> int | None:
    """Return how many pairs it takes until an active lesson is demoted, None if it is not."""
    subject = Subject(proposed("l1").model_copy(update={"state": "active"}), world, settings)
    subject.tally = tally
    for count, (whose, with_it, without_it) in enumerate(script, 1):
        tally.watch(whose, with_it, without_it)
        if subject.look():
            assert subject.life.state == "proposed"
            return count
    return None


def watched_pairs(chance: Chance, world: World, count: int, lessons: int) -> list[list[Pair]]:
    """Draw pairs that lessons of this lift are watched on."""
    without, with_it = questions(chance, world, world.lift, count, lessons)
    whose = principals(chance, world, without.shape)
    good, bad = answers(chance, with_it, ATTEMPTS), answers(chance, without, ATTEMPTS)
    sides = (whose, *told_by_liars(world, whose, good, bad))
    return [list(zip(*(side[i].tolist() for side in sides), strict=True)) for i in range(lessons)]


def demotions(
    world: World,
    pairs: int,
    lessons: int,
    *,
    good_before: int = 0,
    seed: int = 1,
    **tunables: object,
) -> list[int | None]:
    """Return after how many pairs each of these active lessons was demoted.

    Pairs of the good time at the beginning do not count.
    """
    chance, settings = np.random.default_rng(seed), make_settings(**tunables)
    good_time = watched_pairs(chance, replace(world, lift=0.2), good_before, lessons)
    found = []
    for good, script in zip(good_time, watched_pairs(chance, world, pairs, lessons), strict=True):
        tally = Tally(world.liars + world.principals)
        for pair in good:
            tally.watch(*pair)
        found.append(pairs_until_demoted(world, script, settings, tally))
    return found


# --- figures


def share(lived: Sequence[Life], state: str = "active") -> float:
    """Return the share of the lessons that ended in a state."""
    return sum(life.state == state for life in lived) / len(lived)


def middle(numbers: Sequence[float]) -> float:
    """Return the median; NaN of nothing."""
    return median(numbers) if numbers else float("nan")


def exposure(lived: Sequence[Life], applies: float) -> float:
    """Return the share of the honest requests that saw the lesson while somebody campaigned for it.

    A lesson applies to ``applies`` of the requests. Some of these are graded, whatever share that
    is: each graded one stands for as many that nobody graded, and these see it as often. So the
    share of those that are graded cancels out: at 20 % each outcome stands for five requests that
    it applies to, of 50 to 100 that pass. The archive is empty when the campaign begins; of a full
    one no request would pass while it is replayed.
    """
    return applies * sum(life.honest_saw for life in lived) / sum(life.honest for life in lived)


def taken(lived: Sequence[Life], what: Callable[[Life], float]) -> float:
    """Return the median over those that became active."""
    return middle([what(life) for life in lived if life.state == "active"])
