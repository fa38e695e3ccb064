"""The report of `make bench`: what it says of targets and growth, and that no area is missing."""

import importlib
from pathlib import Path

import pytest

from bench.__main__ import AREAS
from bench.figures import Figure, Growth, from_record, number, to_record
from bench.report import PAGE, Area, table

HERE = Path(__file__).parents[1]
LINEAR = Growth("load", "us", "lessons", ((10, 20.0), (100, 200.0), (1000, 2000.0)))
FLAT = Growth("call", "us", "sets", ((1, 5.0), (10, 5.1), (100, 4.9)), at_most=1.2)


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("a", 5, "us"), None),
        (Figure("a", 5, "us", at_most=5), True),
        (Figure("a", 5.1, "us", at_most=5), False),
        (Figure("a", 5, "us", "b", 10, at_most=0.5), True),
        (Figure("a", 6, "us", "b", 10, at_most=0.5), False),
        (Figure("a", 5, "/s", "b", 10, at_least=0.5), True),
        (Figure("a", 4, "/s", "b", 10, at_least=0.5), False),
        (Figure("a", 4, "/s", at_least=5), False),
        (Figure("a", 0, "", at_most=0), True),
    ],
)
def test_a_target_is_of_the_ratio_where_something_stands_beside(
    figure: Figure, met: bool | None
) -> None:
    assert figure.is_met is met


def test_how_a_cost_grows_is_a_slope_between_logarithms() -> None:
    assert LINEAR.exponent == pytest.approx(1.0)
    assert LINEAR.ratio == pytest.approx(100)
    assert abs(FLAT.exponent) < 0.02
    assert FLAT.is_met
    assert LINEAR.is_met is None
    too_steep = Growth("load", "us", "lessons", LINEAR.points, exponent_at_most=0.9)
    assert too_steep.is_met is False


@pytest.mark.parametrize(
    "one", [Figure("a", 5, "us", "b", 10, at_most=0.5, note="c"), LINEAR, FLAT]
)
def test_what_was_measured_passes_between_processes(one: Figure | Growth) -> None:
    assert from_record(to_record(one)) == one


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (99.9, "99.9"), (123456.7, "123,457")],
)
def test_numbers_have_three_digits_that_say_something(value: float, printed: str) -> None:
    assert number(value) == printed


def test_each_area_is_a_module_and_has_a_section_in_the_report() -> None:
    modules = {path.stem for path in (HERE / "bench" / "speed").glob("*.py")} - {"__init__"}
    assert modules == {*AREAS}
    page = PAGE.read_text(encoding="utf-8")
    for name in AREAS:
        module = importlib.import_module(f"bench.speed.{name}")
        assert f"\n## {module.TITLE}\n" in page
        assert name in importlib.import_module("bench.speed").__doc__


def test_the_terminal_shows_each_figure_with_its_target() -> None:
    shown = table(Area("Speed", "", (Figure("a", 5, "us", at_most=4), FLAT)))
    assert shown.row_count == 2
    assert [*shown.columns[5].cells] == ["no", "yes"]
