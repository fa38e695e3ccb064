"""`ted-memory plan`: whether there is traffic enough, said beforehand."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import wealth
from ted_memory.experience.forecast import Rates, forecast
from tests.command_line import run_cli

GUIDE = wealth.GUIDE.read_text(encoding="utf-8")

USUAL = {"--requests-a-day": "1000", "--graded": "0.2", "--applies": "0.1", "--lift": "0.2"}


def plan(tmp_path: Path, *more: str, env: dict[str, str] | None = None, **changed: str) -> str:
    given = {**USUAL, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    args = [part for option in given.items() for part in option]
    done = run_cli("plan", *args, *more, cwd=tmp_path, **(env or {}))
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(tmp_path: Path, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(tmp_path, "--json", **changed))
    return found


def test_a_plan_tells_what_the_formula_says(tmp_path: Path) -> None:
    told = forecast(Rates(1000, 0.2, 0.1), lift=0.2)
    assert told.graded is not None
    assert as_json(tmp_path) == {
        "pairs": told.pairs,
        "student_calls": told.calls,
        "outcomes": told.outcomes,
        "graded_requests": told.graded,
        "requests": told.requests,
        "matched_a_day": told.rates.matched_a_day,
        "days": told.days(told.graded),
        "days_with_a_filled_archive": told.days(told.outcomes),
        "chance": told.chance,
    }
    words = plan(tmp_path)
    assert "without the 2 loudest of 10 principals" in words
    assert f"about {told.pairs} pairs of answers ({told.calls} student calls)" in words
    assert f"live: about {told.outcomes} graded requests" in words
    assert f"{told.requests:,} requests in all" in words
    assert f"of a trial: {told.chance:.0%}" in words
    assert "too little" not in words


def test_a_plan_for_little_traffic_says_what_to_do_instead(tmp_path: Path) -> None:
    assert "use ted-memory distill --from-traffic" in plan(tmp_path, requests_a_day="100")
    assert "nothing is ever decided" in plan(tmp_path, users="2")
    assert as_json(tmp_path, users="2")["days"] is None


def test_a_plan_goes_by_the_settings_unless_told_otherwise(tmp_path: Path) -> None:
    env = {"TED_MEMORY_TRIAL_RULE": "quick", "TED_MEMORY_MIN_PRINCIPALS": "1"}
    assert "trial rule quick:" in plan(tmp_path, env=env)
    options = plan(tmp_path, env=env, rule="strict", principals="2")
    assert "trial rule strict, without the 1 loudest of 10 principals:" in options
    assert as_json(tmp_path, env=env)["outcomes"] < as_json(tmp_path)["outcomes"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("requests-a-day", "0", "0 requests a day: more than 0 are needed"),
        ("graded", "20", "the share of requests graded is 20"),
        ("applies", "0", "the share of requests that a lesson applies to is 0"),
        ("lift", "-0.1", "what does not help never becomes active"),
        ("lift", "0.7", "at most 0.5 is needed"),
        ("base", "1", "a base of 1"),
        ("rule", "lax", "use strict or quick"),
        ("principals", "0", "min_principals is 0"),
        ("users", "0", "0 principals"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, option: str, value: str, words: str) -> None:
    given = {**USUAL, f"--{option}": value}
    done = run_cli("plan", *(part for pair in given.items() for part in pair), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("ted-memory: ")
    assert words in line


def test_a_plan_needs_its_figures(tmp_path: Path) -> None:
    assert run_cli("plan", "--lift", "0.2", cwd=tmp_path).returncode == 2


def test_the_guide_shows_what_the_command_says(tmp_path: Path) -> None:
    shown = GUIDE.partition("$ ted-memory plan ")[2].partition("```")[0]
    options, _, said = shown.partition("\n")
    done = run_cli("plan", *options.split(), cwd=tmp_path)
    assert done.stdout == said


def test_the_tables_of_the_guide_are_made_by_the_formula() -> None:
    assert wealth.BEGIN + wealth.tables() + wealth.END in GUIDE
