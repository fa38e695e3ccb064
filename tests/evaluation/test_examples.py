"""Solved samples in place of lessons: the third side of an evaluation."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from markdown_it import MarkdownIt
from PIL import Image

from ted_memory import Add, Sample, TedMemory
from ted_memory.errors import InvalidInput
from ted_memory.evaluation import Evaluation, evaluate, write_report
from ted_memory.evaluation.examples import SolvedSamples, render_examples
from ted_memory.experience.rendering import count_tokens
from ted_memory.models import Message, Presentation
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    follows,
    prompt_of,
    sample,
    samples,
    student,
    thing_in,
)

TRAINING = [
    sample(thing, i).model_copy(update={"id": f"train-{thing}-{i}"})
    for thing in CODES
    for i in range(3)
]


def copies(messages: list[BaseMessage]) -> str:
    """Follow a lesson, or a solved example about the very thing that is asked for."""
    thing, prompt = thing_in(_task(messages)), prompt_of(messages)
    solved = re.search(rf"Task: [^\n]*code of {thing}\?\nAnswer: (\S+)", prompt)
    return solved[1] if solved else follows([*messages[:-1], HumanMessage(_task(messages))])


def _task(messages: list[BaseMessage]) -> str:
    """What is asked, without a block below it."""
    return str(messages[-1].text).partition("<examples>")[0]


def _solved(messages: list[BaseMessage]) -> int:
    return prompt_of(messages).count("\nAnswer: ")


async def _teach(memory: TedMemory, *things: str, presentation: Presentation | None = None) -> None:
    lessons = [Add(text=f"say {CODES[t]}", when=f"asked about {t}") for t in things]
    await memory.commit(lessons, author="me", presentation=presentation)


# --- the figures


async def test_lessons_are_compared_with_the_nearest_solved_samples_in_pairs(
    scratch: TedMemory,
) -> None:
    await _teach(scratch, "apples", "bananas", "cherries")
    answering = student(copies)
    result = await evaluate(samples(), student=answering, memory=scratch, examples=TRAINING)
    assert (result.without.accuracy, result.with_.accuracy) == (0.0, 0.75)
    assert result.examples is not None
    assert result.examples.accuracy == 1.0
    assert result.examples.difference.mean == -0.25
    assert result.examples.difference.low < -0.25 < result.examples.difference.high <= 0.0
    assert result.examples.mcnemar_p == pytest.approx(2 / 2**3)
    assert result.spend.student.calls == len(answering.asked) == 36
    assert result.difference.mean == 0.75, (
        "what was measured without examples is measured as before"
    )


async def test_examples_that_say_nothing_of_the_task_are_no_rival(scratch: TedMemory) -> None:
    await _teach(scratch, "apples", "bananas", "cherries", "dates")
    others = [sample("figs", i) for i in range(3)]
    result = await evaluate(samples(), student=student(copies), memory=scratch, examples=others)
    assert result.examples is not None
    assert (result.examples.accuracy, result.examples.difference.mean) == (0.0, 1.0)
    assert result.examples.difference.low > 0


async def test_its_json_has_accuracy_number_and_tokens(scratch: TedMemory) -> None:
    await _teach(scratch, "apples")
    result = await evaluate(samples(2), student=student(copies), memory=scratch, examples=TRAINING)
    told = result.to_json()["examples"]
    assert {"accuracy", "k", "tokens", "prompt_tokens", "difference", "mcnemar_p"} == set(told)
    assert json.loads(json.dumps(told))["accuracy"] == 1.0


# --- which examples


async def test_they_take_about_as_many_tokens_as_the_lessons(scratch: TedMemory) -> None:
    await _teach(scratch, *CODES)
    answering = student(copies)
    result = await evaluate(samples(), student=answering, memory=scratch, examples=TRAINING)
    assert result.examples is not None
    each = count_tokens(render_examples(TRAINING[:2])) - count_tokens(render_examples(TRAINING[:1]))
    assert abs(result.examples.tokens - result.with_.tokens) <= each / 2 + 1
    assert result.examples.k > 3
    assert {_solved(messages) for messages in answering.asked} >= {0, round(result.examples.k)}


async def test_a_set_that_is_shown_in_few_tokens_is_compared_with_few_examples(
    namespace: str,
) -> None:
    memory = in_memory(namespace=namespace, trust="always", selection="relevant", top_k=1)
    await _teach(memory, *CODES)
    result = await evaluate(samples(), student=student(copies), memory=memory, examples=TRAINING)
    assert result.examples is not None
    assert result.examples.k <= 2


async def test_there_is_one_example_at_least(scratch: TedMemory) -> None:
    result = await evaluate(samples(2), student=student(copies), memory=scratch, examples=TRAINING)
    assert result.examples is not None
    assert (result.with_.tokens, result.examples.k, result.examples.accuracy) == (0.0, 1.0, 1.0)


def test_as_many_whole_examples_are_taken_as_come_nearest_to_the_tokens() -> None:
    solved = SolvedSamples.of(TRAINING)
    asked = sample("apples", 0)
    nearest = solved.nearest(asked)
    sizes = [count_tokens(render_examples(nearest[:n])) for n in range(1, 6)]
    for number, size in enumerate(sizes, 1):
        for tokens in (size - 2, size, size + 2):
            assert len(solved.examples_for(asked, tokens)) == number
    assert len(solved.examples_for(asked, 1e9)) == len(TRAINING)
    assert len(solved.examples_for(asked, 0)) == 1


def test_the_nearest_come_first_and_all_of_them_are_ranked() -> None:
    nearest = SolvedSamples.of(TRAINING).nearest(sample("hazelnuts", 1))
    assert [s.id for s in nearest[:3]] != [s.id for s in TRAINING[:3]]
    assert {s.category for s in nearest[:3]} == {"hazelnuts"}
    assert len(nearest) == len(TRAINING)


async def test_a_sample_is_never_its_own_example(scratch: TedMemory) -> None:
    given, answering = samples(3), student(copies)
    result = await evaluate(given, student=answering, memory=scratch, examples=given)
    own = [f"Task: {_task(m).strip()}\n" in prompt_of(m) for m in answering.asked if _solved(m)]
    assert len(own) == result.samples == 9
    assert not any(own)

    renamed = [s.model_copy(update={"id": f"train-{s.id}"}) for s in given]
    control = student(copies)
    await evaluate(given, student=control, memory=scratch, examples=renamed)
    assert all(f"Task: {_task(m).strip()}\n" in prompt_of(m) for m in control.asked if _solved(m))


def test_an_only_sample_has_no_example() -> None:
    assert SolvedSamples.of([sample("apples")]).examples_for(sample("apples"), 100) == []
    assert render_examples([]) == ""


def test_an_example_shows_the_last_question_its_choices_and_its_answer() -> None:
    talk = (Message(role="system", content="Be kind."), Message(role="user", content="Which one?"))
    shown = render_examples([Sample(id="a", input=talk, reference="B", choices=("red", "blue"))])
    assert shown.split("\n\n")[1] == "Task: Which one?"
    assert "A) red\nB) blue\nAnswer: B" in shown
    assert "Be kind" not in shown


@pytest.mark.parametrize(
    "useless",
    [
        [],
        [Sample(id="x", input="No answer?")],
        [Sample(id="x", input="", reference="a", images=("data:,",))],
    ],
)
async def test_examples_that_show_nothing_are_refused_before_anything_is_paid_for(
    scratch: TedMemory, useless: list[Sample]
) -> None:
    answering = student()
    with pytest.raises(InvalidInput, match="no example has a task in words and a reference"):
        await evaluate(samples(1), student=answering, memory=scratch, examples=useless)
    assert answering.asked == []


# --- the same conditions as for the other sides


@pytest.mark.parametrize("placement", ["system", "user"])
async def test_they_stand_where_the_lessons_would(scratch: TedMemory, placement: Any) -> None:
    await _teach(scratch, "apples", presentation=Presentation(placement=placement))
    answering = student(copies)
    await evaluate([sample("apples")], student=answering, memory=scratch, examples=TRAINING)
    places = {
        message.type
        for m in answering.asked
        for message in m
        if re.search("<examples>|<experiences>", str(message.text))
    }
    assert places == {{"system": "system", "user": "human"}[placement]}


async def test_a_sample_that_fails_beside_examples_is_left_out_of_all_sides(
    scratch: TedMemory,
) -> None:
    await _teach(scratch, "apples")

    def chokes(messages: list[BaseMessage]) -> str:
        if _solved(messages) and "bananas" in _task(messages):
            raise RuntimeError("I choke on examples")
        return copies(messages)

    given = [sample("apples"), sample("bananas")]
    result = await evaluate(given, student=student(chokes), memory=scratch, examples=TRAINING)
    assert (result.samples, result.with_.accuracy) == (1, 1.0)
    assert [(f.sample, f.reason) for f in result.failures] == [("bananas-0", "I choke on examples")]


async def test_progress_calls_in_flight_repeats_and_checkpoints_hold_for_three_sides(
    namespace: str,
) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=3)
    await _teach(memory, "apples")
    await _teach(memory, "bananas")
    slow = SlowChatModel(script=copies, pause=lambda _: 0.001)
    steps: list[int] = []
    result = await evaluate(
        samples(4), student=slow, memory=memory, repeats=2, checkpoints=2, examples=TRAINING,
        on_progress=lambda progress: steps.append(progress.done),
    )  # fmt: skip
    assert max(slow.flight) == 3
    assert steps == list(range(13)), "one step a sample"
    assert result.spend.student.calls == 12 * 2 * 4
    assert [point.accuracy for point in result.curve] == [0.0, 0.25, 0.5], (
        "older versions are not the examples"
    )


async def test_neither_side_is_always_first(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", concurrency=1)
    await _teach(memory, "apples")
    answering = student(copies)
    await evaluate(samples(2), student=answering, memory=memory, examples=TRAINING)
    sides = [2 if _solved(m) else int("Lessons" in prompt_of(m)) for m in answering.asked]
    assert sides == [0, 1, 2, 2, 1, 0] * 3


async def test_a_student_that_repeats_what_it_was_shown_is_graded_on_the_rest(
    scratch: TedMemory,
) -> None:
    def echoes(messages: list[BaseMessage]) -> str:
        return f"{prompt_of(messages[:-1])}\nno idea"

    result = await evaluate(
        [sample("apples")],
        student=student(echoes),
        memory=scratch,
        examples=TRAINING,
        grader="contains",
    )
    assert result.examples is not None
    assert result.examples.accuracy == 0.0
    knows = student(lambda messages: f"{echoes(messages)}, or {CODES['apples']}")
    control = await evaluate(
        [sample("apples")], student=knows, memory=scratch, examples=TRAINING, grader="contains"
    )
    assert control.examples is not None
    assert control.examples.accuracy == 1.0


# --- where it is told


async def _reported(
    memory: TedMemory, folder: Path, examples: list[Sample] | None
) -> tuple[Evaluation, list[Path]]:
    await _teach(memory, "apples", "bananas", "cherries")
    result = await evaluate(samples(), student=student(copies), memory=memory, examples=examples)
    now = await memory.load()
    return result, write_report(folder, result, snapshot=now, usage={}, log=await memory.log())


async def test_the_report_shows_the_third_side(scratch: TedMemory, tmp_path: Path) -> None:
    result, paths = await _reported(scratch, tmp_path, TRAINING)
    assert result.examples is not None
    text = paths[1].read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable("table").render(text)
    rows = [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]
    sides = {row[0]: row[1:3] for row in rows if len(row) == 4}
    assert sides == {
        "nothing": ["0.000", "0.0"],
        "lessons": ["0.750", f"{result.with_.tokens:.1f}"],
        "solved examples": ["1.000", f"{result.examples.tokens:.1f}"],
    }
    assert "Lessons minus examples: -0.250" in text
    assert "+0.2500 for each of 3 active lessons" in text
    assert "](arms.png)" in text
    with Image.open(tmp_path / "arms.png") as opened:
        assert opened.size > (300, 100)
    assert json.loads(paths[0].read_text())["evaluation"]["examples"]["k"] == result.examples.k


async def test_a_report_without_the_third_side_draws_none(
    scratch: TedMemory, tmp_path: Path
) -> None:
    _, paths = await _reported(scratch, tmp_path, None)
    assert "solved examples" not in paths[1].read_text(encoding="utf-8")
    assert not (tmp_path / "arms.png").exists()
