"""Profile `small`: where one solved task shows nothing, several of them may, beside what the run has learned."""

import random
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.report import Report
from ted_memory.distill.run import beside
from ted_memory.evaluation import evaluate
from ted_memory.llm.spend import Budget
from ted_memory.testing import in_memory
from tests.distill.scripts import critique, student, teacher

THINGS = ("boxes", "bags", "tins", "rolls", "packs", "crates", "bales", "reams", "jars", "cans", "drums", "tubs")
PLACES = ("Lund", "Riga", "Graz")


def _delivery(i: int) -> Sample:
    task = f"{i + 3} {THINGS[i]} from {PLACES[i % 3]} came in."
    return Sample(id=f"d{i}", input=task, reference=f"{THINGS[i]} | {i + 3}")


GIVEN = [_delivery(i) for i in range(len(THINGS))]
SETTINGS = {"trust": "operator", "profile": "small"}


def _line(messages: list[BaseMessage]) -> str:
    task = next(line for line in str(messages[-1].text).splitlines() if line.endswith("came in."))
    number, thing, *_ = task.split()
    return f"{thing} | {number}"


def _turns(messages: list[BaseMessage]) -> int:
    return sum(isinstance(m, AIMessage) for m in messages)


def _needs_three(messages: list[BaseMessage]) -> str:
    """Write a line of the house only after having written three."""
    return _line(messages) if _turns(messages) >= 3 else "Some goods came in."


async def _run(script: Any, memory: TedMemory, **how: Any) -> Report:
    models = {"student": student(script), "teacher": teacher(lambda _: critique(), solves=_line)}
    return await distill(how.pop("samples", GIVEN), **models, memory=memory, **how)


async def test_three_together_go_live_where_one_says_nothing() -> None:
    memory = in_memory(**SETTINGS)
    report = await _run(_needs_three, memory)
    now = await memory.load()
    assert report.gate is not None
    assert report.gate.passed
    assert {e.task for e in now.active} == {s.text for s in GIVEN}
    assert {way.solved_tasks for way in report.shown if way.score == 1.0} == {len(GIVEN)}
    assert memory.presentation(now).top_k == beside.TURNS
    assert len((await memory.present("12 sacks from Riga came in.")).turns) == beside.TURNS
    result = await evaluate(GIVEN, student=student(_needs_three), memory=memory)
    assert (result.without.accuracy, result.with_.accuracy) == (0.0, 1.0)


async def test_no_sample_is_shown_its_own_answer_on_the_way() -> None:
    watched: list[tuple[str, str]] = []

    def looks(messages: list[BaseMessage]) -> str:
        asked = str(messages[-1].text).splitlines()[0]
        watched.extend((asked, str(m.text)) for m in messages[:-1] if m.type == "human")
        return _needs_three(messages)

    await _run(looks, in_memory(**SETTINGS))
    assert watched, "the control: others' tasks were shown"
    assert not [pair for pair in watched if pair[0] == pair[1]]


async def test_they_do_not_stand_beside_lessons_that_do_as_well() -> None:
    """They cost more tokens than any lesson."""

    def follows(messages: list[BaseMessage]) -> str:
        told = any("write thing | number" in str(m.text) for m in messages)
        return _line(messages) if told or _turns(messages) >= 3 else "Some goods came in."

    memory = in_memory(**SETTINGS)
    await memory.commit([Add(text="write thing | number", everywhere=True)], author="me")
    await _run(follows, memory)
    assert not [e for e in await memory.load() if e.task]
    without = in_memory(**SETTINGS)
    await _run(follows, without)
    assert [e for e in await without.load() if e.task], "the control: without that lesson they help"


async def test_what_was_learned_goes_live_beside_them() -> None:
    """A student that is right on half of the tasks with the lesson alone, and on all with both."""

    def script(messages: list[BaseMessage]) -> str:
        told = any("write thing | number" in str(m.text) for m in messages)
        line = _line(messages)
        is_even = int(line.split()[-1]) % 2 == 0
        return line if (told and is_even) or _turns(messages) >= 3 else "Some goods came in."

    memory = in_memory(**SETTINGS)
    await memory.commit([Add(text="write thing | number", everywhere=True)], author="me")
    await _run(script, memory)
    now = await memory.load()
    assert [e for e in now.active if not e.task]
    assert [e for e in now.active if e.task]


async def test_a_student_that_copies_is_shown_none() -> None:
    """The control: with the last answer copied nobody is better off."""

    def copies(messages: list[BaseMessage]) -> str:
        return next((str(m.text) for m in reversed(messages) if isinstance(m, AIMessage)), "Some goods came in.")

    memory = in_memory(**SETTINGS)
    report = await _run(copies, memory)
    assert report.gate is None
    assert not [*await memory.load()]


@pytest.mark.parametrize(
    "settings",
    [{"examples": False}, {"profile": "default"}, {"validation": 0.0}, {"measure_presentation": False}],
    ids=str,
)
async def test_none_stand_there_where_that_is_not_wanted(settings: dict[str, Any]) -> None:
    memory = in_memory(**SETTINGS | settings)
    await _run(_needs_three, memory)
    assert not [e for e in await memory.load() if e.task]


async def test_nothing_that_users_wrote_stands_there() -> None:
    memory = in_memory(**SETTINGS)
    theirs = [s.model_copy(update={"sources": (f"run:{s.id}",)}) for s in GIVEN]
    await _run(_needs_three, memory, samples=theirs)
    assert not [e for e in await memory.load() if e.task]


async def test_none_stand_there_for_labels() -> None:
    """A lesson that names the label says as much in fewer words."""
    memory = in_memory(**SETTINGS)
    labelled = [s.model_copy(update={"reference": f"shelf {i % 2}"}) for i, s in enumerate(GIVEN)]

    def knows(messages: list[BaseMessage]) -> str:
        number = int(str(messages[-1].text).split()[0])
        return f"shelf {(number - 3) % 2}" if _turns(messages) >= 3 else "no idea"

    await _run(knows, memory, samples=labelled)
    assert not [e for e in await memory.load() if e.task]


async def test_they_keep_within_the_caps_of_the_set() -> None:

    def needs_two(messages: list[BaseMessage]) -> str:
        return _line(messages) if _turns(messages) >= 2 else "Some goods came in."

    memory = in_memory(**SETTINGS, max_experiences=9)
    await _run(needs_two, memory)
    assert len((await memory.load()).active) == 9
    small = in_memory(**SETTINGS, max_experiences=2)
    await _run(needs_two, small)
    assert not [*await small.load()], "two of them are no three turns"


async def test_a_budget_without_room_for_them_leaves_them_out() -> None:
    memory = in_memory(**SETTINGS)
    report = await _run(_needs_three, memory, budget=Budget(calls=90))
    assert report.spend.student.calls + report.spend.teacher.calls <= 90
    assert not [e for e in await memory.load() if e.task]


async def test_what_one_sample_was_goes_with_its_purge() -> None:
    memory = in_memory(**SETTINGS)
    await _run(_needs_three, memory)
    await memory.purge(f"dataset:samples#{GIVEN[0].id}")
    left = {e.task for e in (await memory.load()).active}
    assert left == {s.text for s in GIVEN[1:]}


async def test_a_second_run_adds_none_twice() -> None:
    memory = in_memory(**SETTINGS)
    await _run(_needs_three, memory)
    before = {e.id for e in await memory.load()}
    await _run(_needs_three, memory)
    assert {e.id for e in await memory.load()} == before


async def test_a_set_that_does_no_better_with_them_keeps_its_own_way_to_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are chosen by luck here, and the gate's fresh answers refuse them."""
    monkeypatch.setattr(beside, "RULE", beside.Rule(level=1.0, worth=0.1, missed=0.05, pairs=24))
    first = Counter[str]()

    def lucky_once(messages: list[BaseMessage]) -> str:
        line = _line(messages)
        first[line] += _turns(messages) >= 3
        return line if _turns(messages) >= 3 and first[line] == 1 else "Some goods came in."

    memory = in_memory(**SETTINGS)
    report = await _run(lucky_once, memory)
    now = await memory.load()
    assert report.gate is not None, "the control: they came to the gate"
    assert not report.gate.passed
    assert not now.active
    assert now.presentation is None


async def test_students_that_take_nothing_from_them_are_seldom_shown_any() -> None:
    """Base rate 0.3, twenty runs; both the choice and the gate would have to be lucky."""
    live = 0
    for seed in range(20):
        luck = random.Random(seed)

        def null(messages: list[BaseMessage], luck: random.Random = luck) -> str:
            return _line(messages) if luck.random() < 0.3 else "Some goods came in."

        memory = in_memory(**SETTINGS)
        await _run(null, memory)
        live += bool([e for e in await memory.load() if e.task])
    assert live <= 1
