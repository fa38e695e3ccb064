"""Which groups of attempts a critic is asked about: as many in a large set as in an empty one."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ted_memory.distill.nodes import critic
from ted_memory.distill.nodes.critic import worth_a_critique
from ted_memory.models import Trajectory

Attempts = Sequence[Trajectory]
ATTEMPTS, SHOWN_SHARE = 5, 0.8
SIZES = (0, 1, 3, 10, 50)


def attempt(right: float | None, lessons: int = 0, seen: Sequence[int] = ()) -> Trajectory:
    return Trajectory(
        text="x",
        score=right,
        eligible=tuple(f"e{i}" for i in range(lessons)),
        seen=tuple(f"e{i}" for i in seen),
    )


def is_worth_it(*attempts: Trajectory) -> bool:
    return worth_a_critique({"graded": [t.model_dump() for t in attempts]})


def share(
    lessons: int, right: Callable[[random.Random, Sequence[int]], bool], groups: int = 2000
) -> float:
    """Return the share of groups that are worth a critique.

    Each attempt sees a random share of the lessons.
    """
    luck, worth = random.Random(lessons), 0
    for _ in range(groups):
        dealt = [
            [i for i in range(lessons) if luck.random() < SHOWN_SHARE] for _ in range(ATTEMPTS)
        ]
        worth += is_worth_it(*(attempt(float(right(luck, seen)), lessons, seen) for seen in dealt))
    return worth / groups


def with_chance(base: float) -> Callable[[random.Random, Sequence[int]], bool]:
    """Play a student whose lessons do nothing for it."""
    return lambda luck, _: luck.random() < base


@pytest.mark.parametrize(("base", "expected"), [(0.5, 0.875), (0.8, 0.488)])
def test_the_share_does_not_depend_on_the_number_of_lessons(base: float, expected: float) -> None:
    """Three of five attempts decide: 1 - base ** 3 of the groups."""
    for lessons in SIZES:
        assert share(lessons, with_chance(base)) == pytest.approx(expected, abs=0.04), lessons


def test_control_where_the_fewest_missed_decide_it_falls_with_each_lesson(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fewest(scored: Attempts) -> list[Trajectory]:
        missed = [len({*t.eligible} - {*t.seen}) for t in scored]
        return [t for t, count in zip(scored, missed, strict=True) if count == min(missed)]

    monkeypatch.setattr(critic, "_best_informed", fewest)
    shares = [share(lessons, with_chance(0.5)) for lessons in SIZES]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] > 0.3


@pytest.mark.parametrize("lessons", [1, 3, 10])
def test_what_only_a_withheld_lesson_would_have_mended_is_worth_less(
    lessons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that is right exactly where it saw the first lesson.

    Nothing is wanting but that lesson.
    """

    def knows_it(_: random.Random, seen: Sequence[int]) -> bool:
        return 0 in seen

    informed = share(lessons, knows_it)
    assert informed < 0.4
    monkeypatch.setattr(critic, "_best_informed", lambda scored: scored)
    assert share(lessons, knows_it) > informed + 0.25, "the control: asked of all attempts"


@pytest.mark.parametrize(
    ("attempts", "worth"),
    [
        ([], False),
        ([attempt(None)], False),
        ([attempt(1.0)] * 5, False),
        ([attempt(0.0)], True),
        ([attempt(0.5), attempt(None)], True),
        ([attempt(1.0, 1, [0])] * 3 + [attempt(0.0, 1)] * 2, False),
        ([attempt(0.0, 1)] * 2 + [attempt(1.0, 1, [0])] * 3, False),
        ([attempt(1.0, 1)] * 2 + [attempt(0.0, 1, [0])] * 3, True),
        # the last one is what somebody was answered with
        ([attempt(1.0)] * 5 + [attempt(0.0)], True),
    ],
)
def test_the_better_informed_half_decides(attempts: Any, worth: bool) -> None:
    assert is_worth_it(*attempts) is worth
