"""Profile `small`: a sample with its answer may become an earlier turn.

That is for students that follow no rule.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.merging import joinable, said_twice
from ted_memory.distill.profiles import PROFILES
from ted_memory.evaluation import evaluate
from ted_memory.models import Caps, Experience, ExperienceSet
from ted_memory.testing import in_memory
from tests.distill.scripts import add, critique, one_pass, student, teacher

PLACES = ("Lund", "Riga", "Graz")  # what tasks share, so that one is found for another
THINGS = ("boxes", "bags", "tins", "rolls", "packs", "crates", "bales", "reams", "jars", "cans")


def _delivery(i: int) -> Sample:
    return Sample(
        id=f"d{i}",
        input=f"{i + 3} {THINGS[i]} from {PLACES[i % 3]} came in.",
        reference=f"{THINGS[i]} | {i + 3}",
    )


GIVEN = [_delivery(i) for i in range(len(THINGS))]


def _line(messages: Sequence[BaseMessage]) -> str:
    number, thing, *_ = str(messages[-1].text).split()
    return f"{thing} | {number}"


def _imitates(messages: list[BaseMessage]) -> str:
    """Follow no rule; write a line of the house only after having written one."""
    wrote = any(isinstance(m, AIMessage) and "|" in str(m.text) for m in messages)
    return _line(messages) if wrote else "Some goods came in."


def _copies(messages: list[BaseMessage]) -> str:
    """Say again what was said before."""
    return next((str(m.text) for m in messages if isinstance(m, AIMessage)), "Some goods came in.")


def _tells_the_answer(messages: list[BaseMessage]) -> str:
    """Answer as the critic of a small model does: its lesson is the answer of the sample."""
    task = next(
        line for m in messages for line in str(m.text).splitlines() if line.endswith("came in.")
    )
    number, thing, *_ = task.removeprefix("Task: ").split()
    return critique(add(f"answer {thing} | {number}", f"{number} {thing}"))


async def _taught(script: Any, **settings: Any) -> TedMemory:
    memory = in_memory(**{"trust": "always", "profile": "small", "placement": "user", **settings})
    await distill(
        GIVEN,
        student=student(script),
        teacher=teacher(_tells_the_answer, solves=_line),
        memory=memory,
    )
    return memory


async def test_a_student_that_only_imitates_is_shown_a_solved_task() -> None:
    memory = await _taught(_imitates)
    lessons = (await memory.load()).active
    assert lessons
    for lesson in lessons:
        own = next(sample for sample in GIVEN if sample.text == lesson.task)
        assert (lesson.example, lesson.text) == (
            own.reference,
            "Answer in the form of the earlier answer.",
        )
    shown = await memory.present("12 sacks from Riga came in.")
    assert shown.turns


async def test_what_the_critic_proposed_is_told_as_refused_all_the_same() -> None:
    memory = in_memory(trust="always", profile="small", placement="user")
    models = {"student": student(_imitates), "teacher": teacher(_tells_the_answer, solves=_line)}
    report = await distill(GIVEN, **models, memory=memory)
    assert report.learned
    assert any("it tells the answer" in lesson.reason for lesson in report.rejected)


async def test_it_is_tested_once_however_often_the_critic_is_asked_again() -> None:
    """A useless one would else have as many chances as there are revisions."""
    tested: list[str] = []

    def watched(messages: list[BaseMessage]) -> str:
        tested.extend(str(m.text) for m in messages if isinstance(m, AIMessage))
        return "Some goods came in."

    memory = in_memory(trust="always", profile="small", placement="user", max_revisions=2)
    again = iter(range(9))

    def restless(messages: list[BaseMessage]) -> str:
        return critique(add(f"answer boxes | 3, try {next(again)}", "boxes"))

    peers = [(sample, 0.0) for sample in GIVEN[1:]]
    models = {"student": student(watched), "teacher": teacher(restless, solves=_line)}
    out = await one_pass(memory, GIVEN[0], **models, peers=peers)
    assert len(out["refused"]) == 3, "the control: the critic was asked three times"
    assert 0 < len(tested) <= PROFILES["small"].verification.pairs


async def test_an_answer_that_stands_in_its_task_is_no_part_of_the_condition() -> None:
    """Else it would be refused for telling the answer."""
    memory = in_memory(trust="always", profile="small", placement="user")
    given = [sample.model_copy(update={"reference": THINGS[i]}) for i, sample in enumerate(GIVEN)]

    def names_it(messages: list[BaseMessage]) -> str:
        thing = str(messages[-1].text).split()[1]
        return thing if any(isinstance(m, AIMessage) for m in messages) else "goods"

    def repeats(messages: list[BaseMessage]) -> str:
        task = next(
            line for m in messages for line in str(m.text).splitlines() if line.endswith("came in.")
        )
        thing = task.removeprefix("Task: ").split()[1]
        return critique(add(f"answer {thing}", thing))

    peers = [(sample, 0.0) for sample in given[1:]]
    models = {"student": student(names_it), "teacher": teacher(repeats, solves=lambda m: "?")}
    await one_pass(memory, given[0], **models, peers=peers, grader="exact")
    [lesson] = (await memory.load()).active
    assert lesson.task == given[0].text
    assert "boxes" not in lesson.when


async def test_no_sample_is_shown_its_own_answer_while_it_is_learned_from_or_measured() -> None:
    """Who is shown the answer is always right, and says nothing of the lessons."""
    memory = await _taught(_imitates)
    kept = {e.task for e in (await memory.load()).active}
    assert kept, "the control"
    watched: list[tuple[str, str]] = []

    def looks(messages: list[BaseMessage]) -> str:
        asked = str(messages[-1].text).split("\n")[0]
        watched.extend((asked, str(m.text)) for m in messages[:-1] if m.type == "human")
        return _imitates(messages)

    await distill(
        GIVEN,
        student=student(looks),
        teacher=teacher(_tells_the_answer, solves=_line),
        memory=memory,
    )
    await evaluate(GIVEN, student=student(looks), memory=memory)
    assert watched, "the control: others' tasks were shown"
    assert not [pair for pair in watched if pair[0] == pair[1]]


async def test_at_the_gate_only_others_say_what_a_solved_task_is_worth() -> None:
    """Answers that recur are judged by their own samples, too.

    A solved task would look right there for nothing.
    """
    memory = in_memory(trust="always", profile="small", placement="user")

    def knows_by_heart(messages: list[BaseMessage]) -> str:
        asked = str(messages[-1].text).split("\n")[0]
        turns = [str(m.text) for m in messages]
        return turns[turns.index(asked) + 1] if asked in turns[:-1] else "no idea"

    labelled = [
        sample.model_copy(update={"reference": f"shelf {i % 2}"}) for i, sample in enumerate(GIVEN)
    ]
    await memory.commit(
        [
            Add(text="Answer so.", when="goods", task=s.text, example=s.reference or "")
            for s in labelled
        ],
        author="me",
    )
    report = await distill(
        labelled,
        student=student(knows_by_heart),
        teacher=teacher(lambda _: critique(), solves=lambda _: "?"),
        memory=memory,
    )
    assert report.gate is None or not report.gate.passed
    before = await evaluate(labelled, student=student(knows_by_heart), memory=memory)
    assert before.with_.accuracy == 0.0


async def test_solved_samples_beside_them_are_shown_in_the_same_form() -> None:
    memory = await _taught(_imitates)
    result = await evaluate(GIVEN, student=student(_imitates), memory=memory, examples=GIVEN)
    assert result.with_.accuracy == 1.0
    assert result.examples is not None
    assert result.examples.accuracy == 1.0, "as a block they would say nothing to this student"


async def test_one_that_only_repeats_it_is_shown_none() -> None:
    """The control: on its own sample a solved task helps everybody; others must be helped by it."""
    memory = await _taught(_copies)
    assert not [e for e in await memory.load() if e.task]


@pytest.mark.parametrize("settings", [{"examples": False}, {"profile": "default"}])
async def test_no_sample_is_shown_to_others_where_that_is_not_wanted(
    settings: dict[str, Any],
) -> None:
    memory = await _taught(_imitates, **settings)
    assert not [e for e in await memory.load() if e.task]


async def test_what_users_wrote_is_no_turn_for_everybody() -> None:
    memory = in_memory(trust="always", profile="small", placement="user")
    theirs = [sample.model_copy(update={"sources": (f"run:{sample.id}",)}) for sample in GIVEN]
    await distill(
        theirs,
        student=student(_imitates),
        teacher=teacher(_tells_the_answer, solves=_line),
        memory=memory,
    )
    assert not [e for e in await memory.load() if e.task]


@pytest.mark.parametrize("settle", [{}, {"settle": {"seq": 1, "fence": 1}}])
@pytest.mark.parametrize("trust", ["always", "evidence"])
async def test_a_learner_shows_no_episode_to_others_whatever_is_trusted(
    trust: str, settle: dict[str, Any]
) -> None:
    memory = in_memory(trust=trust, profile="small", placement="user")
    peers = [(sample, 0.0) for sample in GIVEN[1:]]
    models = {"student": student(_imitates), "teacher": teacher(_tells_the_answer, solves=_line)}
    await one_pass(memory, GIVEN[0], **models, peers=peers, **settle)
    is_ours = trust == "always" and not settle  # the control
    assert bool([e for e in await memory.load() if e.task]) == is_ours


async def test_nothing_is_put_together_of_solved_tasks_and_no_model_is_asked_to() -> None:
    solved = [
        Add(
            text="Answer so.", when=f"{thing}, goods", task=f"{thing} came.", example=f"{thing} | 1"
        )
        for thing in THINGS
    ]
    memory = in_memory(profile="small")
    await memory.commit(solved, author="me")
    snapshot = await memory.load()
    assert joinable(snapshot, (), max_text=400) == []
    plain = [Add(text="Answer so.", when=f"{thing}, goods") for thing in THINGS]
    control = in_memory(profile="small")
    await control.commit(plain, author="me")
    assert joinable(await control.load(), (), max_text=400), (
        "the control: without tasks they say the same"
    )


def test_two_solved_tasks_under_one_condition_stay_two() -> None:
    fields = {"text": "Answer so.", "when": "boxes", "example": "box | 1"}
    two = [Experience(id=f"e{i}", task=f"{i} boxes came.", **fields) for i in range(2)]
    assert said_twice(two) == []


def test_a_solved_task_that_was_learned_twice_keeps_its_answer() -> None:
    twice = [
        Add(text="Answer so.", when="boxes", task="boxes came.", example="box | 1").model_dump(
            exclude={"op", "state"}
        )
        for _ in range(2)
    ]
    same = [Experience(id=f"e{i}", **{**fields, "sources": ()}) for i, fields in enumerate(twice)]
    snapshot = ExperienceSet("n", "e", 1, Caps(max_experiences=9, token_budget=900), tuple(same))
    [merge] = said_twice(snapshot.active)
    assert (merge.task, merge.example) == ("boxes came.", "box | 1")
