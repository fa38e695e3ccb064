"""Campaigns of accounts that lie together: for a lesson of no use, and against one that helps.

The simulation is that of `tests.experience.made_up`. One campaign is one lesson and all that is
said of it, until it is decided on. In `make test` there are few of them, bounded by what chance
makes of few.

**Honest traffic** is every request of an honest principal that passes meanwhile, also what no
lesson applies to and what nobody grades. A lesson applies to 5 to 10 % of it. Half of those
requests see it while it is on trial, and all of them once it is active, graded or not; see
`made_up.exposure`.
"""

from dataclasses import replace

import pytest

from tests.chaos.sizes import FULL, size
from tests.chaos.trust import FEW, SEED, header, most_by_chance, row
from tests.experience.candidates import COMMONEST, RAREST
from tests.experience.made_up import Life, World, demotions, exposure, lives, share

MOST_ACTIVE = 0.01
MOST_SAW = 0.001
MOST_SAW_A_NEUTRAL_ONE = 0.004  # measured is 0.0034
MOST_HURT = 0.01  # of the trials of lessons that help


# --- two accounts for a lesson of no use

# lift, share of the requests that are theirs -> least active, and least that see it, in the control
FOR_NOTHING = {
    (0.0, 0.1): (0.05, 0.005),
    (0.0, 0.3): (0.5, 0.02),
    (-0.1, 0.1): (0, 0),  # whom one of the two leaves alone, the others outdo
    (-0.1, 0.3): (0.2, 0.01),
    (-0.2, 0.1): (0, 0),
    (-0.2, 0.3): (0, 0),
}


SPEAKING = [world for world, (active_anyway, _) in FOR_NOTHING.items() if active_anyway]
"""Worlds whose control lets some through: the small size leaves the others to `make chaos`."""


def campaigns(lift: float, lies: float, count: int, few: str) -> list[Life]:
    return lives(World(lift=lift, liars=2, lies=lies), count, SEED, **FEW[few])


def test_headers_of_campaigns() -> None:
    header(
        "two sybils for a lift of",
        "theirs",
        "left out",
        "on trial",
        "active",
        "honest traffic that saw it",
    )


@pytest.mark.parametrize(("lift", "lies"), size(SPEAKING, list(FOR_NOTHING)))
def test_two_sybils_bring_hardly_any_lesson_of_no_use_about(lift: float, lies: float) -> None:
    """Of a thousand no more than one in a hundred is active; who saw one is another matter.

    Aimed at was that one in a thousand of the honest requests sees such a lesson. That holds where
    it does harm. Of neutral ones one to four in a thousand see one, since each trial takes hundreds
    of outcomes: missed.
    """
    found, control = (
        campaigns(lift, lies, size(40, 1000), "K=2"),
        campaigns(lift, lies, size(20, 200), "K=1"),
    )
    for few, lived in (("K=2", found), ("K=1, the control", control)):
        saw = " to ".join(f"{exposure(lived, applies):.2%}" for applies in (RAREST, COMMONEST))
        tried = sum(life.passed_replays for life in lived) / len(lived)
        row(f"{lift:+}", f"{lies:.0%}", few, f"{tried:.1%}", f"{share(lived):.1%}", saw)
    active_anyway, saw_anyway = FOR_NOTHING[lift, lies]
    assert sum(life.state == "active" for life in found) <= most_by_chance(len(found), MOST_ACTIVE)
    assert share(control) >= active_anyway
    assert exposure(control, RAREST) >= saw_anyway
    if FULL:
        assert share(found) <= MOST_ACTIVE
        assert exposure(found, COMMONEST) <= (MOST_SAW if lift < 0 else MOST_SAW_A_NEUTRAL_ONE)


# --- against a lesson that helps

AGAINST = [(1, 3), (2, 3), (5, 6), (20, 21)]
"""Liars, and `min_principals`: so many that all of them are left out."""
NOBODY_LEFT_OUT = 1


def against(liars: int, min_principals: int) -> World:
    """Return a world whose liars, 30 % of the requests, speak against what helps.

    Of three honest principals to each one that is left out, enough are left to speak for it.
    """
    principals = max(10, 3 * min_principals)
    return World(lift=0.2, liars=liars, lies=0.3, lies_against=True, principals=principals)


def test_headers_of_lies_against_active_lessons() -> None:
    header("liars against a lesson of +0.2", "min_principals", "demoted while active")


@pytest.mark.parametrize(("liars", "enough"), AGAINST)
def test_who_is_left_out_cannot_have_an_active_lesson_demoted_that_helps(
    liars: int, enough: int
) -> None:
    lessons, pairs = size(5, 100), size(200, 1000)
    demoted = {}
    for few in (enough, NOBODY_LEFT_OUT):
        found = demotions(against(liars, enough), pairs, lessons, seed=SEED, min_principals=few)
        demoted[few] = 1 - found.count(None) / lessons
        row(f"{liars} with 30 %", few, f"{demoted[few]:.0%} within {pairs} pairs")
    assert demoted[enough] == 0
    assert demoted[NOBODY_LEFT_OUT] > 0.3, "the control"


def test_headers_of_lies_against_trials() -> None:
    header(
        "liars against a lesson of +0.2",
        "min_principals",
        "they lie in",
        "on trial",
        "of these hurts",
        "active",
    )


@pytest.mark.parametrize("lies_late", [True, False], ids=["outcomes alone", "replays and outcomes"])
@pytest.mark.parametrize("lies", [0.1, 0.3])
@pytest.mark.parametrize(("liars", "enough"), AGAINST)
def test_who_is_left_out_cannot_end_a_trial_as_harmful(
    liars: int, enough: int, lies: float, lies_late: bool
) -> None:
    """Liars can keep a lesson from being passed, since what they say against it counts in full."""
    world = replace(against(liars, enough), lies=lies, lies_late=lies_late, lift=0.4, live_lift=0.2)
    hurts = {}
    for few, count in ((enough, size(4, 300)), (NOBODY_LEFT_OUT, size(4, 100))):
        lived = lives(world, count, SEED, min_principals=few)
        tried = [life for life in lived if life.passed_replays]
        hurts[few] = sum("hurts" in life.whys[-1] for life in tried) / max(1, len(tried))
        told = f"{hurts[few]:.1%}" if tried else "-"
        where = "outcomes" if lies_late else "both"
        row(
            f"{liars} with {lies:.0%}",
            few,
            where,
            f"{len(tried) / count:.0%}",
            told,
            f"{share(lived):.0%}",
        )
        assert not lies_late or len(tried) >= 0.9 * count, "nearly all of them are tried"
    assert hurts[enough] <= MOST_HURT
    assert hurts[NOBODY_LEFT_OUT] > 0.3 or not lies_late or lies < 0.3, "the control"
