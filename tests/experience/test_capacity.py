"""What fits under the caps of a set, and who goes where it does not."""

import pytest

from ted_memory import Experience
from ted_memory.experience.capacity import Size, first_that_fit, growth, make_room, over_caps
from ted_memory.experience.rendering import FRAME_TOKENS
from ted_memory.models import Caps, ExperienceSet, Usage

BEST, MIDDLE, WORST = (
    Experience(id=id, text=id, tokens=10, order=order)
    for order, id in enumerate(("best", "middle", "worst"), start=1)
)
USAGE = {
    "best": Usage(weight=50, weighted_difference=20),
    "middle": Usage(weight=50, weighted_difference=5),
    "worst": Usage(weight=50, weighted_difference=-20),
}
MANY = 10**6


def caps(experiences: int = MANY, tokens: int = MANY) -> Caps:
    return Caps(max_experiences=experiences, token_budget=tokens)


def a_set(*lessons: Experience, under: Caps | None = None) -> ExperienceSet:
    return ExperienceSet("test", "epoch", 1, under or caps(), lessons, USAGE)


def ids(lessons: object) -> list[str]:
    assert isinstance(lessons, list | tuple)
    return [lesson.id for lesson in lessons]


def test_a_block_has_a_frame_that_counts_too() -> None:
    size = Size.of([BEST, MIDDLE])
    assert (size.experiences, size.tokens) == (2, FRAME_TOKENS + 20)
    assert size == Size().plus(BEST).plus(MIDDLE) == Size.of([BEST, MIDDLE, WORST]).minus(WORST)
    assert size.fits(caps(2, FRAME_TOKENS + 20))
    assert not size.fits(caps(1, FRAME_TOKENS + 20))
    assert not size.fits(caps(2, FRAME_TOKENS + 19))


@pytest.mark.parametrize(
    ("lowered", "going"),
    [
        (caps(3, FRAME_TOKENS + 30), []),
        (caps(2), ["worst"]),
        (caps(1), ["worst", "middle"]),
        (caps(tokens=FRAME_TOKENS + 29), ["worst"]),
        (caps(tokens=FRAME_TOKENS), ["worst", "middle", "best"]),
    ],
)
def test_of_lessons_over_the_caps_those_of_the_lowest_lift_go(
    lowered: Caps, going: list[str]
) -> None:
    assert ids(over_caps(a_set(MIDDLE, WORST, BEST), lowered)) == going


def test_lessons_that_are_not_active_take_nothing_of_the_caps() -> None:
    proposed = WORST.model_copy(update={"state": "proposed"})
    assert over_caps(a_set(BEST, proposed), caps(1)) == []
    assert ids(over_caps(a_set(BEST, WORST), caps(1))) == ["worst"], "the control: active it does"


def test_room_is_made_by_as_many_as_it_takes_in_the_order_given() -> None:
    newcomer = Experience(id="newcomer", text="new", tokens=15)
    full = a_set(BEST, MIDDLE, WORST, under=caps(3, FRAME_TOKENS + 30))
    assert ids(make_room(newcomer, full, [MIDDLE, WORST])) == ["middle", "worst"]
    roomy = a_set(BEST, MIDDLE, WORST, under=caps(4, FRAME_TOKENS + 45))
    assert make_room(newcomer, roomy, [MIDDLE, WORST]) == []


def test_where_all_that_may_go_are_not_enough_nobody_goes() -> None:
    newcomer = Experience(id="newcomer", text="new", tokens=15)
    full = a_set(BEST, MIDDLE, WORST, under=caps(3, FRAME_TOKENS + 30))
    assert make_room(newcomer, full, [WORST]) is None
    assert make_room(newcomer, full, []) is None


def test_a_long_lesson_does_not_keep_shorter_ones_out_of_the_block() -> None:
    long = Experience(id="long", text="long", tokens=100)
    assert ids(first_that_fit([BEST, long, WORST], FRAME_TOKENS + 20)) == ["best", "worst"]
    assert ids(first_that_fit([BEST, long, WORST], FRAME_TOKENS + 110)) == ["best", "long"]


def test_changes_sorted_by_growth_make_room_before_they_take_it() -> None:
    shorter = BEST.model_copy(update={"tokens": 4})
    retired = BEST.model_copy(update={"state": "proposed"})
    assert growth(None, BEST) == (1, 10)
    assert growth(retired, BEST) == (1, 10)
    assert growth(BEST, shorter) == (0, -6)
    assert growth(BEST, retired) == (-1, -10)
    assert growth(None, retired) == (0, 0)
