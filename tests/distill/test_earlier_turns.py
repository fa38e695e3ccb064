"""Profile `small`: where one solved task shows nothing, several may, beside the lessons."""

import random
from collections import Counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.cli import output
from ted_memory.distill import distill
from ted_memory.distill.report import Report
from ted_memory.distill.run import earlier_turns
from ted_memory.distill.scoring import Progress
from ted_memory.evaluation import evaluate
from ted_memory.llm.spend import Budget
from ted_memory.models import SetState
from ted_memory.testing import in_memory
from tests.distill.scripts import add, critique, student, teacher

THINGS = (
    "boxes",
    "bags",
    "tins",
    "rolls",
    "packs",
    "crates",
    "bales",
    "reams",
    "jars",
    "cans",
    "drums",
    "tubs",
)
PLACES = ("Lund", "Riga", "Graz")


def _delivery(i: int) -> Sample:
    task = f"{i + 3} {THINGS[i]} from {PLACES[i % 3]} came in."
    return Sample(id=f"d{i}", input=task, reference=f"{THINGS[i]} | {i + 3}")


GIVEN = [_delivery(i) for i in range(len(THINGS))]
SETTINGS = {"trust": "always", "profile": "small"}


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
    tried = report.solved_tasks
    assert tried is not None
    assert (tried.offered, tried.pairs, tried.before, tried.after, tried.kept) == (
        12,
        12,
        0.0,
        1.0,
        True,
    )
    assert report.promoted
    assert {e.task for e in now.active} == {s.text for s in GIVEN}
    assert memory.presentation(now).top_k == earlier_turns.TURNS
    assert len((await memory.present("12 sacks from Riga came in.")).turns) == earlier_turns.TURNS
    result = await evaluate(GIVEN, student=student(_needs_three), memory=memory)
    assert (result.without.accuracy, result.with_.accuracy) == (0.0, 1.0)


async def test_the_command_line_tells_what_became_of_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_report(await _run(_needs_three, in_memory(**SETTINGS)))
    live = capsys.readouterr().out
    assert (
        "12 samples as solved tasks beside the lessons: 0.00 without, 1.00 with them, "
        "in 12 pairs of answers" in live
    )
    assert "the set does better with them: live, as earlier turns" in live
    output.print_report(await _run(lambda _: "Some goods came in.", in_memory(**SETTINGS)))
    assert "they looked no better in any way to show them: left out" in capsys.readouterr().out


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
    """A student that is right on a third of the tasks with the lesson, and on all with both."""

    def script(messages: list[BaseMessage]) -> str:
        told = any("write thing | number" in str(m.text) for m in messages)
        line = _line(messages)
        is_third = int(line.split()[-1]) % 3 == 0
        return line if (told and is_third) or _turns(messages) >= 3 else "Some goods came in."

    memory = in_memory(**SETTINGS)
    await memory.commit([Add(text="write thing | number", everywhere=True)], author="me")
    await _run(script, memory)
    now = await memory.load()
    assert [e for e in now.active if not e.task]
    assert [e for e in now.active if e.task]


async def test_a_student_that_copies_is_shown_none() -> None:
    """The control: with the last answer copied nobody is better off."""

    def copies(messages: list[BaseMessage]) -> str:
        return next(
            (str(m.text) for m in reversed(messages) if isinstance(m, AIMessage)),
            "Some goods came in.",
        )

    memory = in_memory(**SETTINGS)
    report = await _run(copies, memory)
    assert report.solved_tasks is not None, "they were tried"
    assert not [*await memory.load()]


@pytest.mark.parametrize(
    "settings",
    [
        {"examples": False},
        {"profile": "default"},
        {"validation": 0.0},
        {"measure_presentation": False},
    ],
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


async def test_labels_are_shown_so_where_the_lesson_that_names_one_does_less() -> None:
    """A small student that is told "answer shelf 1" may write anything.

    What it wrote three times it writes again.
    """
    memory = in_memory(**SETTINGS)
    labelled = [s.model_copy(update={"reference": f"shelf {i % 3}"}) for i, s in enumerate(GIVEN)]

    def repeats(messages: list[BaseMessage]) -> str:
        turns = Counter(str(m.text) for m in messages if isinstance(m, AIMessage))
        return max(turns, key=lambda text: turns[text]) if turns.total() >= 3 else "no idea"

    await _run(repeats, memory, samples=labelled)
    assert {e.task for e in await memory.load()} == {s.text for s in GIVEN}


async def test_they_leave_room_in_the_set_for_lessons_to_come() -> None:
    def needs_two(messages: list[BaseMessage]) -> str:
        return _line(messages) if _turns(messages) >= 2 else "Some goods came in."

    memory = in_memory(**SETTINGS, max_experiences=10)
    await _run(needs_two, memory)
    assert len((await memory.load()).active) == 9
    commit = await memory.commit([Add(text="Always be polite.", everywhere=True)], author="me")
    assert not commit.rejected
    small = in_memory(**SETTINGS, max_experiences=3)
    await _run(needs_two, small)
    assert not [*await small.load()], "two of them are no three turns"


async def test_a_budget_without_room_for_them_leaves_them_out() -> None:
    memory = in_memory(**SETTINGS)
    report = await _run(_needs_three, memory, budget=Budget(calls=90))
    assert report.solved_tasks is not None
    assert report.solved_tasks.reason == "the budget had no room to find out"
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


def _told(messages: list[BaseMessage]) -> bool:
    return any("write thing | number" in str(m.text) for m in messages)


async def test_what_is_chosen_by_luck_is_refused_by_fresh_answers_and_nothing_else_changes() -> (
    None
):
    """A lesson that was there before stays as it was, and so does the way in which it is shown."""
    seen = Counter[str]()

    def lucky_once(messages: list[BaseMessage]) -> str:
        line = _line(messages)
        seen[line] += _turns(messages) >= 3
        lucky = _turns(messages) >= 3 and seen[line] <= 2  # once for each way
        return line if lucky or (_told(messages) and "boxes" in line) else "Some goods came in."

    memory = in_memory(**SETTINGS)
    await memory.commit([Add(text="write thing | number", everywhere=True)], author="me")
    before = await memory.load()
    report = await _run(lucky_once, memory)
    assert report.solved_tasks is not None
    assert report.solved_tasks.pairs, "the control: they came to the test"
    assert not report.solved_tasks.kept
    now = await memory.load()
    assert (now.version, now.presentation, [*now]) == (
        before.version,
        before.presentation,
        [*before],
    )


async def test_a_lesson_that_does_nothing_is_not_carried_by_solved_tasks_that_help() -> None:
    """It passed verification by luck; the gate tests it without them."""
    phase = ["distil"]

    def script(messages: list[BaseMessage]) -> str:
        helped = _told(messages) and phase[0] == "distil"
        return _line(messages) if helped or _turns(messages) >= 3 else "Some goods came in."

    memory = in_memory(**SETTINGS)
    expert = teacher(lambda m: critique(add("write thing | number", _word(m))), solves=_line)
    report = await distill(
        GIVEN,
        student=student(script),
        teacher=expert,
        memory=memory,
        on_progress=lambda progress: phase.__setitem__(0, progress.phase),
    )
    assert report.learned, "the control: it was verified"
    assert report.gate is not None
    assert not report.gate.passed
    assert report.solved_tasks is not None
    assert report.solved_tasks.kept
    active = (await memory.load()).active
    assert {bool(e.task) for e in active} == {True}


def _word(messages: list[BaseMessage]) -> str:
    told = next(
        line for m in messages for line in str(m.text).splitlines() if line.endswith("came in.")
    )
    return told.removeprefix("Task: ").split()[1]


@pytest.mark.parametrize(
    "stated", [{"selection": "all"}, {"selection": "budget"}, {"top_k": 1}], ids=str
)
async def test_they_are_not_tried_where_another_way_to_show_a_set_was_stated(
    stated: dict[str, Any],
) -> None:
    """All of them would stand in every prompt, or one alone."""
    memory = in_memory(**SETTINGS, **stated)
    report = await _run(_needs_three, memory)
    assert not [*await memory.load()]
    assert report.solved_tasks is not None
    assert (
        report.solved_tasks.reason == "what was stated for this memory leaves no way to show them"
    )


async def test_a_later_run_never_shows_all_of_them_at_once() -> None:
    most = 0

    def counts(messages: list[BaseMessage]) -> str:
        nonlocal most
        most = max(most, _turns(messages))
        return _needs_three(messages)

    memory = in_memory(**SETTINGS)
    await _run(counts, memory)
    later = [
        _delivery(i).model_copy(update={"id": f"e{i}", "input": f"Item {_delivery(i).text}"})
        for i in range(12)
    ]
    expert = teacher(lambda m: critique(add("write thing | number", _word(m))), solves=_line)
    await distill(later, student=student(counts), teacher=expert, memory=memory)
    assert most == earlier_turns.TURNS


@pytest.mark.parametrize(
    ("tasks", "all_too"), [(earlier_turns.TURNS, True), (earlier_turns.TURNS + 1, False)]
)
async def test_a_set_is_tried_as_a_whole_unless_that_were_more_turns_than_are_shown(
    tasks: int, all_too: bool
) -> None:
    memory = in_memory(**SETTINGS)
    known = [
        Add(text="So.", when=f"thing {i}", task=f"What is thing {i}?", example=f"{i}")
        for i in range(tasks)
    ]
    await memory.commit(known, author="me")

    def follows(messages: list[BaseMessage]) -> str:
        return _line(messages) if _told(messages) else "Some goods came in."

    expert = teacher(lambda m: critique(add("write thing | number", _word(m))), solves=_line)
    report = await distill(GIVEN, student=student(follows), teacher=expert, memory=memory)
    assert report.shown
    assert any(way.presentation.selection == "all" for way in report.shown) == all_too


async def test_a_task_stands_there_once_however_it_is_written() -> None:
    twins = [
        s.model_copy(update={"id": f"twin-{s.id}", "input": f" {s.text.upper()}\n"})
        for s in GIVEN[:6]
    ]
    memory = in_memory(**SETTINGS)
    report = await _run(
        lambda m: _needs_three(m).upper(), memory, samples=[*GIVEN, *twins], grader=_without_case
    )
    assert report.solved_tasks is not None
    tasks = [" ".join(e.task.split()).casefold() for e in (await memory.load()).active]
    assert len(tasks) == len(set(tasks)) == len(GIVEN)


def _without_case(outputs: str, reference_outputs: str, **_: Any) -> float:
    return float(outputs.casefold() == reference_outputs.casefold())


async def test_a_task_that_is_answered_in_two_ways_does_not_stand_there() -> None:
    other = GIVEN[0].model_copy(update={"id": "other", "reference": "something else"})
    memory = in_memory(**SETTINGS)
    await _run(_needs_three, memory, samples=[*GIVEN, other])
    assert {e.task for e in (await memory.load()).active} == {s.text for s in GIVEN[1:]}


async def test_a_twin_of_a_sample_tells_nobody_his_own_answer() -> None:
    """A student that only looks its own task up is right with no other's."""
    twins = [
        s.model_copy(update={"id": f"twin-{s.id}", "input": s.text.replace(" ", "  ", 1)})
        for s in GIVEN[:7]
    ]

    def looks_up(messages: list[BaseMessage]) -> str:
        turns = [" ".join(str(m.text).splitlines()[0].split()) for m in messages]
        asked = turns[-1]
        return (
            str(messages[turns.index(asked) + 1].text)
            if asked in turns[:-1]
            else "Some goods came in."
        )

    memory = in_memory(**SETTINGS)
    await _run(looks_up, memory, samples=[*GIVEN, *twins])
    assert not [*await memory.load()]


async def test_what_waits_for_a_person_is_not_offered_again() -> None:
    memory = in_memory(**SETTINGS)
    await _run(_needs_three, memory)
    gone = next(e for e in (await memory.load()).active if e.task == GIVEN[0].text)
    await memory.commit([SetState(id=gone.id, state="proposed")], author="me")
    again = await _run(_needs_three, memory)
    assert again.solved_tasks is None
    assert GIVEN[0].text not in {e.task for e in (await memory.load()).active}


@pytest.mark.parametrize("done", [3, 9, 15])
async def test_a_run_that_is_taken_up_ends_as_if_it_had_not_stopped(done: int) -> None:
    """Nothing that was answered is paid for again, so the budget has room for the same work."""

    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        nonlocal shown
        shown += progress.phase == "show"
        if shown == done:
            raise StopError

    shown = -1000
    memory = in_memory(**SETTINGS)
    whole = await _run(_needs_three, memory)
    calls = whole.spend.student.calls + whole.spend.teacher.calls
    shown, memory = 0, in_memory(**SETTINGS)
    with pytest.raises(StopError):
        await _run(_needs_three, memory, on_progress=stop)
    shown = -1000
    again = await _run(_needs_three, memory, budget=Budget(calls=calls + 8))
    assert again.solved_tasks == whole.solved_tasks
    assert {e.task for e in (await memory.load()).active} == {s.text for s in GIVEN}


async def test_students_that_take_nothing_from_them_are_seldom_shown_any() -> None:
    """Base rate 0.3, twenty runs: both the choice and the fresh answers would have to be lucky."""
    live = 0
    for seed in range(20):
        luck = random.Random(seed)

        def null(messages: list[BaseMessage], luck: random.Random = luck) -> str:
            return _line(messages) if luck.random() < 0.3 else "Some goods came in."

        memory = in_memory(**SETTINGS)
        await _run(null, memory)
        live += bool([e for e in await memory.load() if e.task])
    assert live <= 1
