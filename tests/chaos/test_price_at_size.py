"""What trust costs a lesson that helps, where all traffic is honest: how much later it is active.

**Speed** is the reciprocal of the pairs and live outcomes until a lesson is active, in the median.
It is compared with the same rules where nobody is left out (``min_principals=1``): one account
alone then decides. To lose no more than 5 % of it was aimed at: missed by far, since what the two
loudest say for a lesson that helps is mostly true.

The rest of the defences are switched off by themselves: what a lesson says is looked at
(`concerns`), of those that tell the same one is tried at a time, and what its source asks says
nothing of it. That is compared in all requests that it applies to, since a request of the source
passes and counts for nothing. So of few principals it costs more.
"""

from dataclasses import replace

import pytest

from ted_memory.experience import trials
from tests.chaos.sizes import FULL, size
from tests.chaos.trust import SEED, header, is_close, row
from tests.chaos.trust_figures import PRICE
from tests.experience.made_up import Life, World, lives, share, taken

LESSONS = size(20, 400)
NOBODY_LEFT_OUT, DEFAULT = 1, 3
MOST_LOST = 0.05


def test_headers_of_the_price() -> None:
    header(
        "base 0.5, lift",
        "min_principals",
        "active",
        "pairs",
        "live",
        "both",
        "times as many as with 1",
    )


@pytest.mark.parametrize("lift", list(PRICE))
def test_to_leave_the_loudest_out_is_what_trust_costs(lift: float) -> None:
    both = {}
    for few in PRICE[lift]:
        lived = lives(World(lift=lift), LESSONS, SEED, min_principals=few)
        pairs, live = (
            taken(lived, lambda life: life.pairs),
            taken(lived, lambda life: life.outcomes),
        )
        both[few] = taken(lived, lambda life: life.pairs + life.outcomes)
        times = both[few] / both[NOBODY_LEFT_OUT]
        row(
            f"{lift:+}",
            few,
            f"{share(lived):.2f}",
            f"{pairs:.0f}",
            f"{live:.0f}",
            f"{both[few]:.0f}",
            f"{times:.2f}",
        )
        assert share(lived) >= 0.9
    if FULL:
        assert all(is_close(both[few], expected, LESSONS) for few, expected in PRICE[lift].items())
    assert both[DEFAULT] > 1.2 * both[NOBODY_LEFT_OUT], "it is not for nothing"


def requests_of(lived: list[Life]) -> int:
    return sum(life.requests for life in lived)


def test_headers_of_the_rest() -> None:
    header(
        "the rest of the defences, lift",
        "principals",
        "min_principals",
        "requests without them",
        "with them",
    )


@pytest.mark.parametrize("few", [NOBODY_LEFT_OUT, DEFAULT])
@pytest.mark.parametrize("principals", [10, 100])
@pytest.mark.parametrize("lift", list(PRICE))
def test_the_rest_of_the_defences_costs_next_to_nothing_among_many_principals(
    monkeypatch: pytest.MonkeyPatch, lift: float, principals: int, few: int
) -> None:
    world, lessons = World(lift=lift, principals=principals), size(20, 200)
    defended = requests_of(
        lives(replace(world, has_source=True), lessons, SEED, min_principals=few)
    )
    with monkeypatch.context() as off:
        off.setattr(trials, "concern", lambda _: "")
        off.setattr(trials, "tell_the_same", lambda *_: False)
        bare = requests_of(lives(world, lessons, SEED, min_principals=few))
    lost = defended / bare - 1
    row(
        f"{lift:+}",
        principals,
        few,
        f"{bare / lessons:.0f}",
        f"{defended / lessons:.0f} ({lost:+.1%})",
    )
    if principals == 100:
        assert lost <= MOST_LOST + size(0.1, 0.0)
    else:
        assert lost > 0, "a tenth of the requests say nothing of it"
