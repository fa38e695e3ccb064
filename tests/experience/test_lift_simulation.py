"""What estimates of lifts promise, simulated with known lifts: coverage, ranking, fading."""

from collections.abc import Callable

import numpy as np
import pytest

from ted_memory import Add
from ted_memory.experience import lift
from ted_memory.experience.lift import Utility, estimate, group_usage, observed, rank
from ted_memory.models import Experience, Trajectory, Usage
from ted_memory.testing import in_memory
from tests.experience.lessons import added

Array = np.ndarray
ROLLOUTS, SHOWN_SHARE = 5, 0.8
PROMISED = 0.88  # of bounds that are meant to hold nine times of ten
RUNS = 4000


# --- simulated evidence


def lifts_of_the_prior(chance: np.random.Generator, runs: int = RUNS) -> Array:
    """Draw true lifts; those that no score in [0, 1] can have are drawn again."""
    lifts = chance.normal(0, lift.PRIOR_DEVIATION, runs)
    while (wild := np.abs(lifts) >= 1).any():
        lifts[wild] = chance.normal(0, lift.PRIOR_DEVIATION, wild.sum())
    return lifts


def eases(chance: np.random.Generator, lifts: Array, *shape: int) -> Array:
    """Draw success rates without the lesson that leave room for its lift."""
    low, high = np.maximum(0, -lifts), np.minimum(1, 1 - lifts)
    one_for_each = lifts.shape + (1,) * len(shape)
    return chance.uniform(
        low.reshape(one_for_each), high.reshape(one_for_each), (*lifts.shape, *shape)
    )


def arms(
    chance: np.random.Generator, lifts: Array, ease: Array, n_with: int, n_without: int
) -> list[Usage]:
    """Count the successes of live trials in two arms."""
    helped, plain = chance.binomial(n_with, ease + lifts), chance.binomial(n_without, ease)
    return [
        Usage(
            n_with=n_with, successes_with=float(h), n_without=n_without, successes_without=float(p)
        )
        for h, p in zip(helped, plain, strict=True)
    ]


def compared(scores: Array, seen: Array) -> tuple[Array, Array]:
    """Do what `group_usage` does along the last axis: return weights, and weighted differences."""
    a, b = seen.sum(-1), (~seen).sum(-1)
    weight = a * b / (a + b)
    difference = (scores * seen).sum(-1) / np.maximum(a, 1) - (scores * ~seen).sum(-1) / np.maximum(
        b, 1
    )
    return weight, weight * difference


def groups(chance: np.random.Generator, lifts: Array, ease: Array) -> tuple[Array, Array]:
    """Let each of five attempts at one sample see the lesson at 0.8; samples differ in ease."""
    seen = chance.random((*ease.shape, ROLLOUTS)) < SHOWN_SHARE
    wins = chance.random(seen.shape) < ease[..., None] + lifts.reshape(-1, 1, 1) * seen
    return compared(wins, seen)


def usages(weight: Array, total: Array) -> list[Usage]:
    return [
        Usage(weight=w, weighted_difference=t)
        for w, t in zip(weight.tolist(), total.tolist(), strict=True)
    ]


def coverage(
    lifts: Array, evidence: list[Usage], bounds: Callable[[Usage], Utility | None], width: float = 1
) -> float:
    """Return the share of the true lifts within the bounds; ``width`` makes these narrower."""
    told = [bounds(usage) for usage in evidence]
    found = np.array([(u.mean, (u.high - u.low) / 2) for u in told if u is not None])
    assert len(found) == len(lifts)
    return float((np.abs(lifts - found[:, 0]) <= width * found[:, 1]).mean())


def test_simulated_groups_count_like_real_ones() -> None:
    chance = np.random.default_rng(1)
    seen, scores = chance.random((200, ROLLOUTS)) < SHOWN_SHARE, chance.random((200, ROLLOUTS))
    for weight, total, saw, won in zip(*compared(scores, seen), seen, scores, strict=True):
        real = group_usage(
            [
                Trajectory(score=float(score), seen=("a",) if s else (), eligible=("a",))
                for score, s in zip(won, saw, strict=True)
            ]
        ).get("a", Usage())
        assert (real.weight, real.weighted_difference) == (
            pytest.approx(weight),
            pytest.approx(total),
        )


# --- bounds hold


SIZES = [(1, 1), (1, 4), (2, 2), (3, 3), (5, 5), (10, 2), (20, 20), (100, 100), (400, 100)]


@pytest.mark.parametrize(("n_with", "n_without"), SIZES)
def test_bounds_cover_nine_of_ten_lifts_of_the_prior(n_with: int, n_without: int) -> None:
    chance = np.random.default_rng(n_with)
    lifts = lifts_of_the_prior(chance)
    evidence = arms(chance, lifts, eases(chance, lifts), n_with, n_without)
    assert coverage(lifts, evidence, estimate) >= PROMISED
    assert coverage(lifts, evidence, estimate, width=0.5) < PROMISED, (
        "half as wide would do, too: this shows nothing"
    )


@pytest.mark.parametrize("count", [1, 2, 5, 20, 100])
def test_bounds_from_groups_cover_nine_of_ten_lifts_of_the_prior(count: int) -> None:
    chance = np.random.default_rng(count)
    lifts = lifts_of_the_prior(chance)
    weight, total = groups(chance, lifts, eases(chance, lifts, count))
    evidence = usages(weight.sum(1), total.sum(1))
    assert coverage(lifts, evidence, estimate) >= PROMISED
    assert coverage(lifts, evidence, estimate, width=0.5) < PROMISED


def test_bounds_from_both_kinds_of_evidence_cover_nine_of_ten_lifts() -> None:
    chance = np.random.default_rng(2)
    lifts = lifts_of_the_prior(chance)
    weight, total = groups(chance, lifts, eases(chance, lifts, 4))
    live = arms(chance, lifts, eases(chance, lifts), 6, 3)
    both = [added(*pair) for pair in zip(usages(weight.sum(1), total.sum(1)), live, strict=True)]
    assert coverage(lifts, both, estimate) >= PROMISED
    assert coverage(lifts, both, estimate, width=0.5) < PROMISED


@pytest.mark.parametrize("lift", [-0.4, -0.2, 0.0, 0.2, 0.4])
@pytest.mark.parametrize("count", [40, 100, 300])
def test_bounds_without_a_prior_cover_each_lift(lift: float, count: int) -> None:
    chance = np.random.default_rng(3)
    lifts = np.full(RUNS, lift)
    evidence = arms(chance, lifts, eases(chance, lifts), count, count)
    assert coverage(lifts, evidence, observed) >= PROMISED
    assert coverage(lifts, evidence, observed, width=0.5) < PROMISED


@pytest.mark.parametrize("lift", [-0.4, -0.2, 0.0, 0.2, 0.4])
def test_bounds_without_a_prior_cover_each_lift_where_outcomes_vary_most(lift: float) -> None:
    chance = np.random.default_rng(4)
    lifts = np.full(RUNS, lift)
    evidence = arms(chance, lifts, np.full(RUNS, (1 - lift) / 2), 40, 40)
    assert coverage(lifts, evidence, observed) >= PROMISED
    weight, total = groups(chance, lifts, np.full((RUNS, 64), (1 - lift) / 2))
    assert coverage(lifts, usages(weight.sum(1), total.sum(1)), observed) >= PROMISED


def test_shrunk_bounds_promise_nothing_about_one_large_lift() -> None:
    """Why `observed` exists: after few outcomes the prior draws a large lift towards 0."""
    chance = np.random.default_rng(5)
    lifts = np.full(RUNS, 0.4)
    few = arms(chance, lifts, eases(chance, lifts), 3, 3)
    assert coverage(lifts, few, estimate) < PROMISED
    assert coverage(lifts, few, observed) >= PROMISED


# --- ranking


LIFTS = {"good": 0.2, "none": 0.0, "fair": 0.05, "bad": -0.1, "fine": 0.1, "poor": -0.05}
GOOD, NONE = 0, 1
SAMPLES = 100
LESSONS = [Experience(id=id, text=id, order=i) for i, id in enumerate(reversed(LIFTS), 1)]


def hard_samples(chance: np.random.Generator, runs: int) -> Array:
    """Draw how easy each sample is: from hopeless to certain."""
    return chance.uniform(0, 1, (runs, SAMPLES))


def everywhere(ease: Array) -> Array:
    return np.ones((len(LIFTS), *ease.shape), dtype=bool)


def where_it_is_hard(ease: Array) -> Array:
    """Let the good lesson be about hard samples, the useless one about easy ones, others about all.

    Each of the two is eligible now and then on the other side, so that both are seen and not seen
    everywhere.
    """
    allowed = everywhere(ease)
    stray = np.arange(SAMPLES) % 10 == 0
    allowed[GOOD] = (ease < 0.6) | stray
    allowed[NONE] = (ease > 0.4) | stray
    return allowed


def attempts(chance: np.random.Generator, allowed: Array, ease: Array) -> tuple[Array, Array]:
    """Return scores (run, sample, rollout), and who saw what (lesson, run, sample, rollout)."""
    seen = (chance.random((*allowed.shape, ROLLOUTS)) < SHOWN_SHARE) & allowed[..., None]
    rates = ease[..., None] + np.tensordot(np.array(list(LIFTS.values())), seen, axes=1)
    return chance.random(rates.shape) < rates, seen


Counting = Callable[[Array, Array, Array], list[list[Usage]]]


def by_group(scores: Array, seen: Array, allowed: Array) -> list[list[Usage]]:
    weight, total = compared(scores, seen)
    return [
        usages(w, t)
        for w, t in zip((weight * allowed).sum(-1), (total * allowed).sum(-1), strict=True)
    ]


def across_samples(scores: Array, seen: Array, allowed: Array) -> list[list[Usage]]:
    """Compare the success rate of all attempts that saw a lesson with that of all that did not."""
    n_with, with_it, n_without, without = (
        (s & a).sum((-1, -2)) for a in (seen, ~seen) for s in (True, scores)
    )
    names = ("n_with", "successes_with", "n_without", "successes_without")
    return [
        [
            Usage(**dict(zip(names, map(float, row), strict=True)))
            for row in zip(*lesson, strict=True)
        ]
        for lesson in zip(n_with, with_it, n_without, without, strict=True)
    ]


def right_attempts(scores: Array, seen: Array, allowed: Array) -> list[list[Usage]]:
    """Count in how many right attempts a lesson stood, in the form of a usage."""
    wins = (scores & seen).sum((-1, -2))
    return [
        [Usage(weight=1e6, weighted_difference=float(won)) for won in lesson] for lesson in wins
    ]


def appearances(scores: Array, seen: Array, allowed: Array) -> list[list[Usage]]:
    return right_attempts(np.ones_like(scores), seen, allowed)


def share_ranked_rightly(
    counting: Counting, eligible: Callable[[Array], Array], runs: int = 1000
) -> float:
    """Return in how many runs the good lesson ranks above the one without a lift."""
    chance, right = np.random.default_rng(6), 0
    for _ in range(10):  # in parts: all at once takes much memory
        ease = hard_samples(chance, runs // 10)
        allowed = eligible(ease)
        scores, seen = attempts(chance, allowed, ease)
        for told in zip(*counting(scores, seen, allowed), strict=True):
            usage = dict(zip(LIFTS, told, strict=True))
            ranked = [e.id for e in rank(LESSONS, usage)]
            assert ranked == [e.id for e in lift.keepers_first(LESSONS, usage, "utility")]
            right += ranked.index("good") < ranked.index("none")
    return right / runs


@pytest.mark.parametrize("eligible", [everywhere, where_it_is_hard])
def test_a_lesson_that_helps_ranks_above_one_that_does_not(
    eligible: Callable[[Array], Array],
) -> None:
    assert share_ranked_rightly(by_group, eligible) >= 0.95


@pytest.mark.parametrize("counting", [across_samples, right_attempts, appearances])
def test_counting_across_samples_ranks_worse_where_lessons_meet_samples_of_unlike_difficulty(
    counting: Counting,
) -> None:
    share = share_ranked_rightly(counting, where_it_is_hard)
    assert share < 0.95
    assert share < share_ranked_rightly(by_group, where_it_is_hard) - 0.1


# --- fading


def means_over_time(kept: float, runs: int = 500) -> Array:
    """Return the estimated lift of a lesson after each of 200 groups.

    It helps (+0.4) in the first 100, and harms (-0.4) in the others.
    """
    chance = np.random.default_rng(7)
    (w1, t1), (w2, t2) = (
        groups(chance, lifts, eases(chance, lifts, 100))
        for lifts in (np.full(runs, 0.4), np.full(runs, -0.4))
    )
    return faded(np.concatenate([w1, w2], 1), np.concatenate([t1, t2], 1), kept)


def faded(weights: Array, totals: Array, kept: float) -> Array:
    weight, total, means = np.zeros(len(weights)), np.zeros(len(weights)), []
    for w, t in zip(weights.T, totals.T, strict=True):
        fade = np.where(w > 0, kept, 1.0)  # a group that compares nothing fades nothing
        weight, total = weight * fade + w, total * fade + t
        means.append([estimate(usage).mean for usage in usages(weight, total)])
    return np.array(means).T


def first_harmful(means: Array) -> Array:
    """Return after how many groups of harm each run first says so; 101 when none did."""
    harmful = means[:, 100:] < 0
    return np.where(harmful.any(1), harmful.argmax(1) + 1, 101)


def test_a_lesson_that_turns_bad_is_found_out_when_usage_fades() -> None:
    fading, keeping = means_over_time(0.95), means_over_time(1.0)
    assert (fading[:, 99] > 0).all(), "it was seen to help, before"
    assert (keeping[:, 99] > 0).all()
    soon = first_harmful(fading)
    assert np.quantile(soon, 0.99) <= 40
    assert (fading[:, -1] < 0).mean() >= 0.99
    # negative control: what is never forgotten outweighs as much harm as there was help
    late = first_harmful(keeping)
    assert np.quantile(late, 0.02) > 40
    assert (keeping[:, -1] < 0).mean() < 0.7
    assert (soon < late).mean() >= 0.99


def test_faded_bounds_still_cover_a_lift_that_stays() -> None:
    chance = np.random.default_rng(8)
    lifts = lifts_of_the_prior(chance)
    weights, totals = groups(chance, lifts, eases(chance, lifts, 60))
    fades = 0.95 ** np.arange(60)[::-1]
    evidence = usages((weights * fades).sum(1), (totals * fades).sum(1))
    assert coverage(lifts, evidence, estimate) >= PROMISED


@pytest.mark.parametrize("kept", [0.95, 1.0])
async def test_a_memory_fades_usage_as_simulated(kept: float) -> None:
    chance = np.random.default_rng(9)
    lifts = np.full(1, 0.4)
    weights, totals = groups(chance, lifts, eases(chance, lifts, 40))
    memory = in_memory(usage_decay=kept)
    await memory.commit([Add(text="Look twice.")], author="me")
    [lesson] = await memory.load()
    for i, usage in enumerate(usages(weights[0], totals[0])):
        await memory.credit({lesson.id: usage} if usage.weight else {}, token=f"t{i}")
    assert estimate((await memory.usage())[lesson.id]).mean == pytest.approx(
        faded(weights, totals, kept)[0, -1]
    )
