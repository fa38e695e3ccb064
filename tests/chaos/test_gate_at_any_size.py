"""Runs with a student that has luck: right lessons go live at any size, in any order; no others do.

A desk of topics with two samples each, as small installations have it. The student guesses right
now and then, and follows a right lesson nine times in ten.
"""

import random
import re
from statistics import fmean
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Sample
from ted_memory.distill import distill
from ted_memory.distill.report import Report
from ted_memory.distill.run import gate
from ted_memory.testing import Script, in_memory
from tests.attacks.places import Dice
from tests.chaos.sizes import report, size
from tests.distill.scripts import add, critique, prompt_of, student, teacher


@pytest.fixture(autouse=True)
def _the_same_ids_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of lessons are drawn by their ids: with others another run would be tested."""
    Dice.luck.seed(1)
    monkeypatch.setattr("secrets.token_hex", Dice.token_hex)
    monkeypatch.setattr("secrets.choice", Dice.choice)


FOLLOWS = 0.9  # of the answers with a right lesson in the prompt are right
TEAMS = [f"team {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
ASKS = (
    "A word about {topic}: who looks after it?",
    "Please help, it is {topic} once more, whom do I write to?",
)


def topic(i: int) -> str:
    """Return a word that no other topic shares a stem with."""
    syllables = ("ba", "ko", "mi", "tu", "re", "so", "la", "ne", "di", "vu")
    return syllables[i % 10] + syllables[i // 10] + syllables[(3 * i + 1) % 10] + "x"


def team_of(word: str) -> str:
    numbers = {topic(i): i for i in range(60)}
    return TEAMS[numbers[word] % 12]


def desk(topics: int, seed: int) -> list[Sample]:
    """Return two samples of each topic, in an order of the seed's."""
    made = [
        Sample(id=f"{topic(i)}-{j}", input=ask.format(topic=topic(i)), reference=team_of(topic(i)))
        for i in range(topics)
        for j, ask in enumerate(ASKS)
    ]
    random.Random(seed).shuffle(made)
    return made


def asked_about(messages: list[BaseMessage]) -> str:
    """Return the topic of the one task in a prompt; lessons name others."""
    found = re.search(r"A word about (\w+): who|it is (\w+) once more", prompt_of(messages))
    assert found
    return found.group(1) or found.group(2)


class Student:
    """Is right by luck with chance `base`, and with a right lesson in nine of ten answers."""

    def __init__(self, base: float, seed: int) -> None:
        self.base, self.luck = base, random.Random(seed)

    def __call__(self, messages: list[BaseMessage]) -> str:
        word = asked_about(messages)
        right = team_of(word)
        told = f"asked about {word}: answer {right}" in prompt_of(messages)
        chance = FOLLOWS if told else self.base
        return right if self.luck.random() < chance else self.luck.choice(TEAMS[12:])


def right(messages: list[BaseMessage]) -> str:
    word = asked_about(messages)
    return critique(add(f"answer {team_of(word)}", f"asked about {word}"))


def useless(messages: list[BaseMessage]) -> str:
    word = asked_about(messages)
    return critique(add("think twice before you answer", f"asked about {word}"))


def solves(messages: list[BaseMessage]) -> str:
    return team_of(asked_about(messages))


async def one(
    topics: int, base: float, seed: int, critic: Script = right, **settings: Any
) -> Report:
    memory = in_memory(namespace=f"desk-{topics}-{seed}", trust="always", concurrency=1, **settings)
    return await distill(
        desk(topics, seed),
        student=student(Student(base, seed)),
        teacher=teacher(critic, solves=solves),
        memory=memory,
        name="desk",
    )


@pytest.mark.parametrize("base", [0.1, 0.5])
@pytest.mark.parametrize("topics", size([5, 10], [5, 10, 20, 50]))
async def test_no_run_ends_at_nothing_where_right_lessons_were_found(
    topics: int, base: float
) -> None:
    runs = [await one(topics, base, seed) for seed in range(size(2, 20))]
    assert sum(run.promoted for run in runs) >= 0.95 * len(runs), [run.gate for run in runs]
    live = [run.experiences.active / topics for run in runs]
    report(
        f"gate, {2 * topics} samples, right at {base} without lessons: "
        "topics with a lesson that is live "
        f"{min(live):.2f} to {max(live):.2f}, mean {fmean(live):.2f} ({len(live)} runs)"
    )
    assert fmean(live) >= (0.9 if base < 0.5 else 0.5), (
        "a student that guesses half of it hides what a lesson does"
    )


async def test_useless_lessons_go_live_in_one_run_of_twenty_at_most() -> None:
    cells = [(topics, base) for topics in size((5,), (5, 10, 20)) for base in (0.1, 0.5, 0.8)]
    live = [
        (await one(topics, base, seed, useless)).promoted
        for topics, base in cells
        for seed in range(size(1, 20))
    ]
    report(f"gate, useless lessons: {sum(live)} of {len(live)} runs let some of them go live")
    assert sum(live) <= 0.05 * len(live) + 2 * (0.05 * len(live)) ** 0.5


async def test_control_without_tests_and_gate_useless_lessons_go_live() -> None:
    assert (await one(5, 0.1, 0, useless, validation=0.0, verify_calls=0)).promoted


# Where nothing can be learned: what the gate lets through of tasks whose answers have nothing to do
# with their words.

SYLLABLES = [
    a + b + "x"
    for a in ("ba", "ko", "mi", "tu", "re", "so")
    for b in ("la", "ne", "di", "vu", "po")
]
ANSWERS = ("JO", "VU", "WI")


async def _without_reason(seed: int, *, numbered: bool = False) -> Report:
    """Run over random tasks and answers; the student repeats the answer of an earlier turn.

    ``numbered``: each task has a number that its answer repeats, so that every answer is its
    sample's own.
    """
    world, luck = random.Random(seed), random.Random(seed + 999)
    given = [
        Sample(
            id=f"s{i}",
            input=f"Write the line. Parcel{f' {i + 100}' * numbered}: "
            f"{' '.join(world.sample(SYLLABLES, 6))}.",
            reference=world.choice(ANSWERS) + f" {i + 100}" * numbered,
        )
        for i in range(24)
    ]

    def repeats(messages: list[BaseMessage]) -> str:
        turns = [str(m.text) for m in messages if m.type == "ai"]
        said = turns[-1].split()[0] if turns else luck.choice(ANSWERS)
        number = str(messages[-1].text).split("Parcel")[-1].split(":")[0]
        return said + number * numbered

    memory = in_memory(trust="always", profile="small", concurrency=1)
    expert = teacher(lambda _: critique(add("write a line", "line")), solves=lambda _: "JO")
    return await distill(given, student=student(repeats), teacher=expert, memory=memory)


WORLDS = size((8, 9), range(60))
"""Seeds. In nearly all of the first ten the tests before the gate leave it nothing to judge.

Of 8 and 9 it is asked, and lets both go live when its rule is switched off (the control below).
"""


async def test_solved_tasks_that_help_by_luck_alone_do_not_go_live() -> None:
    runs = [await _without_reason(seed) for seed in WORLDS]
    live = sum(run.promoted for run in runs)
    report(f"gate, nothing to learn: {live} of {len(runs)} runs let solved tasks go live")
    assert live <= 0.05 * len(runs) + 2 * (0.05 * len(runs)) ** 0.5
    assert all(run.gate.pairs == run.gate.samples for run in runs if run.gate), (
        "each sample judged once"
    )


async def test_several_solved_tasks_that_help_by_luck_alone_do_not_go_live() -> None:
    """Beside what has passed they are chosen by some answers and judged by fresh ones."""
    runs = [await _without_reason(seed, numbered=True) for seed in WORLDS]
    live = sum(run.promoted for run in runs)
    report(
        f"gate, nothing to learn, answers of their own: "
        f"{live} of {len(runs)} runs let solved tasks go live"
    )
    assert live <= 0.05 * len(runs) + 2 * (0.05 * len(runs)) ** 0.5


async def test_control_else_few_samples_judge_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "_turns", lambda _: None)
    runs = [await _without_reason(seed) for seed in WORLDS]
    live = sum(run.promoted for run in runs)
    report(f"gate, nothing to learn, few samples judge again and again: {live} of {len(runs)} runs")
    assert any(run.gate.pairs > run.gate.samples for run in runs if run.gate)
    assert live > 0.1 * len(runs)
