"""What trials let through, simulated with lifts that are known: the rules decide, only the world is made up."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest

from ted_memory.episodes import Exposure
from ted_memory.experience.trust import DECIDING, LEAST_WEIGHT, Step, draw, next_steps
from ted_memory.experience.utility import SCORE_VARIANCE, observed
from ted_memory.models import Caps, Experience, ExperienceSet, SetState, Usage
from ted_memory.retrieval.selection import make_selector
from ted_memory.settings import Settings, make_settings
from tests.experience.test_trust import UNITS, added, lesson, near, on_trial, shown

REQUESTS = 2000  # graded ones that a lesson gets at most
LESSONS = 100
CAPS = Caps(max_experiences=10_000, token_budget=1_000_000)
ARMS = ("n_with", "successes_with", "n_without", "successes_without")

Base = Callable[[int], float]
"""From the number of a request to the success rate without the lesson."""
Look = Callable[[ExperienceSet, dict[str, Usage], Settings], list[Step]]


@dataclass
class Life:
    """What became of one lesson.

    ``decided`` is the evidence at the first decision that was made at its time, ``pooled`` the same outcomes in two
    arms, as if they came from one exposure.
    """

    state: str = "proposed"
    requests: int = 0
    whys: list[str] = field(default_factory=list)
    arms: Usage = field(default_factory=Usage)
    decided: Usage | None = None
    pooled: Usage | None = None

    @property
    def hurt(self) -> bool:
        return "hurts" in self.whys[-1]


# --- the world


def by_the_rules(snapshot: ExperienceSet, usage: dict[str, Usage], settings: Settings) -> list[Step]:
    return next_steps(snapshot, usage, settings, shadow=False)


def low(usage: Usage) -> float:
    """Return the deciding bound of the lift."""
    lift, weight = observed(usage), weight_of(usage)
    return lift.mean - DECIDING * math.sqrt(SCORE_VARIANCE / weight) if lift else -1.0


def weight_of(usage: Usage) -> float:
    arms = usage.n_with + usage.n_without
    return usage.weight + (usage.n_with * usage.n_without / arms if arms else 0)


def after_each_outcome(snapshot: ExperienceSet, usage: dict[str, Usage], settings: Settings) -> list[Step]:
    """Do as the rules do, but make a lesson active at the first moment at which it looks good."""
    good = {e.id for e in snapshot.trial if weight_of(usage[e.id]) >= LEAST_WEIGHT and low(usage[e.id]) > 0.02}
    early = [Step(SetState(id=id, state="active"), "it looks good") for id in sorted(good)]
    return early + [step for step in by_the_rules(snapshot, usage, settings) if step.edit.id not in good]


def count(known: Usage, seen: bool, right: bool) -> None:
    """Count one outcome in place: to make a new Usage for each one would take most of the time."""
    n, successes = ARMS[:2] if seen else ARMS[2:]
    known.__dict__[n] += 1
    known.__dict__[successes] += right


def live(
    lift: float, base: Base, *, seed: int, lessons: int = LESSONS, look: Look = by_the_rules, **tunables: object
) -> list[Life]:
    """Send requests past lessons that all have this lift until each is active, retired or out of requests.

    Each request of each lesson has an outcome of its own: lessons do not disturb each other.
    """
    settings = make_settings(max_trial=lessons, **tunables)
    chance, rates = np.random.default_rng(seed), [base(t) for t in range(REQUESTS)]
    known = {f"{seed}-{i}": Usage() for i in range(lessons)}
    set_ = {id: Experience(id=id, text=id, state="proposed", sources=("principal:a", "principal:b")) for id in known}
    lives = {id: Life() for id in known}
    for t in range(REQUESTS + 1):
        _take_all(set_, known, lives, look, settings)
        if t == REQUESTS or not set_:
            break
        for (id, one), luck in zip(set_.items(), chance.random(len(set_)), strict=True):
            assert one.trial is not None
            seen = draw(f"unit-{t}", id) < one.trial.exposure
            right = bool(luck < min(1.0, max(0.0, rates[t] + lift * seen)))
            count(known[id], seen, right)
            count(lives[id].arms, seen, right)
            lives[id].requests += 1
    return list(lives.values())


def _take_all(
    set_: dict[str, Experience], known: dict[str, Usage], lives: dict[str, Life], look: Look, settings: Settings
) -> None:
    """Take each step that is due, until none is; what is active or retired leaves the world."""
    while steps := look(ExperienceSet("sim", "e", 1, CAPS, tuple(set_.values())), known, settings):
        for step in steps:
            id, life = step.edit.id, lives[step.edit.id]
            life.state = step.edit.state
            life.whys.append(step.why)
            if step.edit.state != "trial" and not life.hurt and life.decided is None:
                life.decided, life.pooled = known[id], life.arms.model_copy()
            if step.edit.state == "proposed":
                life.arms = Usage()
            known[id] = added(known[id], step.usage)
            set_[id] = set_[id].model_copy(update={"state": step.edit.state, "trial": step.edit.trial})
            if step.edit.state in {"active", "retired"}:
                del set_[id]


def share(lives: Sequence[Life], state: str) -> float:
    return Counter(life.state for life in lives)[state] / len(lives)


def steady(rate: float) -> Base:
    return lambda _: rate


def rising(t: int) -> float:
    """From 0.3 to 0.8 while a lesson is on trial."""
    return 0.3 + 0.5 * t / REQUESTS


def soon(t: int) -> float:
    """From 0.3 to 0.8 during the first trial."""
    return 0.3 + 0.5 * min(1.0, t / 500)


BASES: dict[str, Base] = {"0.2": steady(0.2), "0.5": steady(0.5), "0.8": steady(0.8), "rising": rising, "soon": soon}


@cache
def lives_of(lift: float, base: str = "0.5") -> list[Life]:
    return live(lift, BASES[base], seed=1)


def lifts_at_decision(lives: Sequence[Life]) -> tuple[float, float]:
    """Return the mean lift that the decisions saw, and what it would have been with all outcomes in two arms."""
    decided = [(observed(life.decided), observed(life.pooled)) for life in lives if life.decided and life.pooled]
    strata, pooled = zip(*((s.mean, p.mean) for s, p in decided if s and p), strict=True)
    return float(np.mean(strata)), float(np.mean(pooled))


def share_pooled_active(lives: Sequence[Life]) -> float:
    """Return in how many decisions the pooled outcomes would have made the lesson active."""
    decided = [life.pooled for life in lives if life.pooled]
    return sum(low(pooled) > make_settings().min_lift for pooled in decided) / len(decided)


def test_the_simulation_shows_a_lesson_where_agents_would() -> None:
    for i in range(200):
        one = shown(on_trial("l1", 0.3), unit=f"unit-{i}")
        assert bool(one.counted) == (draw(f"unit-{i}", "l1") < 0.3) != bool(one.withheld)


# --- many units


def test_draws_are_spread_evenly() -> None:
    drawn = np.array([draw(f"unit-{i}", "lesson") for i in range(UNITS)])
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert counts.sum() == UNITS
    assert all(near(count / UNITS, 1 / 20) for count in counts)


def test_a_draw_tells_nothing_of_another_ones() -> None:
    units = [f"unit-{i}" for i in range(UNITS)]
    one, two = (np.array([draw(unit, id) < 0.5 for unit in units]) for id in ("l1", "l2"))
    assert near((one & two).mean(), 0.25)
    assert draw("ab", "c") != draw("a", "bc")
    # the control: a hash of the unit alone would show all lessons on trial to the same users
    alone = np.array([draw(unit) < 0.5 for unit in units])
    assert not near((alone & alone).mean(), 0.25)


SHARES = {"l1": 0.05, "l2": 0.1, "l3": 0.4, "l4": 0.5, "l5": 0.0}
ACTIVE = ("l6", "l7", "l8", "l9")


@cache
def exposures() -> list[Exposure]:
    """Send requests of many users to a set with lessons of both kinds."""
    lessons = [*(on_trial(id, share) for id, share in SHARES.items()), *map(lesson, ACTIVE)]
    return [shown(*lessons, unit=f"unit-{i}", withhold=0.1) for i in range(UNITS)]


def test_each_lesson_on_trial_is_shown_to_its_share() -> None:
    seen, withheld = Counter[str](), Counter[str]()
    for one in exposures():
        seen.update(one.seen)
        withheld.update(one.withheld)
    assert all(near(seen[id] / UNITS, share) for id, share in SHARES.items()), seen
    assert all(seen[id] + withheld[id] == UNITS for id in SHARES if id != "l5")
    assert withheld["l5"] == 0, "one in the shadow is not compared: nobody might have seen it"


def test_one_active_lesson_is_withheld_in_its_share_of_the_units_and_each_as_often() -> None:
    missing = [[id for id in one.withheld if id in ACTIVE] for one in exposures()]
    assert max(map(len, missing)) == 1
    counts = Counter(id for ids in missing for id in ids)
    assert near(counts.total() / UNITS, 0.1)
    assert all(near(counts[id] / UNITS, 0.025) for id in ACTIVE), counts


def test_who_saw_a_lesson_still_sees_it_when_more_do() -> None:
    saw: set[int] = set()
    for exposure in (0.05, 0.1, 0.2, 0.4, 0.5):
        now = {i for i in range(500) if shown(on_trial("l1", exposure), unit=str(i)).seen}
        assert saw < now
        saw = now


def test_an_active_lesson_is_measured_on_the_same_requests_with_and_without_it() -> None:
    """One that stands alone on easy requests and among many on hard ones is withheld more often on the easy ones."""
    ease = {"tea": 0.9, "coffee": 0.3}  # whatever is shown: no lesson does anything
    crowd = [lesson(f"l{i}", when="coffee") for i in range(1, 10)]
    counted, without, seen = [], [], []
    for i in range(8000):
        asked = "tea" if i % 2 else "coffee"
        one = shown(lesson("l0", when="tea or coffee"), *crowd, unit=str(i), withhold=0.3, asked=asked)
        counted += [ease[asked]] * ("l0" in one.counted)
        without += [ease[asked]] * ("l0" in one.withheld)
        seen += [ease[asked]] * ("l0" in one.seen)
    assert abs(np.mean(counted) - np.mean(without)) < 0.03
    assert np.mean(seen) - np.mean(without) < -0.15, "the control: had all counted, it would be demoted as harmful"


def test_no_lesson_on_trial_takes_the_place_of_one_that_is_missing() -> None:
    """Two on trial for one place: were the second shown where the first is missing, 95 % would see it."""
    choose = make_selector("relevant", top_k=1, token_budget=2000)
    rivals = [on_trial("l1", 0.05, when="tea tea"), on_trial("l2", 0.05, when="tea"), lesson("l3", when="rain, tea")]
    seen = Counter(id for i in range(2000) for id in shown(*rivals, unit=str(i), choose=choose, asked="tea").seen)
    assert near(seen["l1"] / 2000, 0.05, 2000)
    assert seen["l2"] == 0
    assert seen["l3"] == 2000 - seen["l1"], "what is active may stand there"


# --- what becomes active


def test_a_lesson_that_harms_never_becomes_active() -> None:
    lives = lives_of(-0.2)
    assert share(lives, "active") <= 0.05
    assert sum(life.hurt for life in lives) >= 95, "the harm is found, not the patience lost"
    assert np.mean([life.requests for life in lives]) < 500, "long before a decision would be due"


def test_a_lesson_without_a_lift_hardly_ever_becomes_active() -> None:
    lives = lives_of(0.0)
    assert share(lives, "active") <= 0.05
    assert share(lives, "retired") >= 0.95, "they don't hold their place for ever"


def test_a_lesson_that_helps_becomes_active() -> None:
    lives = lives_of(0.2)
    assert share(lives, "active") >= 0.95, "all others had 2,000 requests, and no other chance"
    assert np.mean([life.requests for life in lives]) < 1000


def test_who_decides_after_each_outcome_lets_lessons_without_a_lift_in() -> None:
    """The control: the same world, bound and requests, only looked at again and again."""
    peeked = live(0.0, BASES["0.5"], seed=1, look=after_each_outcome)
    assert share(peeked, "active") > 0.1
    assert share(peeked, "active") > 2 * share(lives_of(0.0), "active")


# --- while the traffic changes


@pytest.mark.parametrize("base", ["rising", "soon"])
def test_traffic_that_changes_is_not_taken_for_a_lift(base: str) -> None:
    lives = lives_of(0.0, base)
    assert share(lives, "active") <= 0.05
    strata, pooled = lifts_at_decision(lives)
    # those that looked harmful by chance are gone by then: not quite 0
    assert abs(strata) < 0.03
    # the control: without strata more of the later, easier requests are in the arm that sees the lesson
    assert pooled > strata + 0.03


def test_without_strata_most_lessons_would_become_active_while_the_traffic_gets_easier() -> None:
    assert share_pooled_active(lives_of(0.0, "soon")) > 0.5
    assert share_pooled_active(lives_of(0.0, "0.5")) <= 0.05, "and only then"


def test_a_lesson_that_helps_becomes_active_while_the_traffic_changes() -> None:
    assert share(lives_of(0.2, "soon"), "active") >= 0.95
