"""A grader that fails is a recorded failure wherever something is graded.

Never a score, never the end of a run.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ted_memory import Add, TedMemory
from ted_memory.distill import distill
from ted_memory.errors import InvalidInput
from ted_memory.evaluation import evaluate
from ted_memory.grading.graders import GRADERS
from ted_memory.grading.judge import Judge
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    calls_of,
    one_pass,
    sample,
    samples,
    student,
    teacher,
    texts_of,
    thing_in,
)

APPLES = sample("apples")

Fails = Callable[[str, str], bool]
"""From what was asked and answered to whether the grader fails on it."""


def _raises() -> float:
    raise RuntimeError("the grader is ill")


def _writes_nonsense() -> Any:
    return Judge(ScriptedChatModel(script=lambda _: "Surely a 1!"))(
        inputs={"input": "?"}, outputs="a", reference_outputs="b"
    )


WAYS_TO_FAIL: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (_raises, "the grader is ill"),
    "gives no number": (
        lambda: {"key": "x", "score": None},
        "the grader gave None, not a score between 0 and 1",
    ),
    "gives NaN": (lambda: float("nan"), "the grader gave nan, not a score between 0 and 1"),
    "gives too much": (lambda: 7, "the grader gave 7, not a score between 0 and 1"),
    "judge without a verdict": (_writes_nonsense, "the judge gave no usable verdict"),
}
every_way = pytest.mark.parametrize(("fail", "told"), WAYS_TO_FAIL.values(), ids=WAYS_TO_FAIL)


def failing(fail: Callable[[], Any], when: Fails = lambda *_: True) -> Any:
    """Return a grader that fails sometimes and is right else."""

    def grader(*, inputs: Any, outputs: str, reference_outputs: str) -> Any:
        if when(inputs["input"], outputs):
            return fail()
        return GRADERS["exact"](inputs=inputs, outputs=outputs, reference_outputs=reference_outputs)

    return grader


@every_way
async def test_in_the_graph_it_is_the_error_of_its_attempt(
    scratch: TedMemory, fail: Any, told: str
) -> None:
    answers = iter(["ill"] + ["no idea"] * 100)
    out = await one_pass(
        scratch,
        APPLES,
        student=student(lambda _: next(answers)),
        teacher=teacher(),
        grader=failing(fail, lambda _, answer: answer == "ill"),
    )
    failed = [t for t in out["graded"] if t["text"] == "ill"]
    assert [t["score"] for t in failed] == [None]
    assert told in failed[0]["error"]
    assert [t["score"] for t in out["graded"] if t not in failed] == [0.0] * 4


@every_way
async def test_in_the_graph_a_sample_without_any_score_is_set_aside(
    scratch: TedMemory, fail: Any, told: str
) -> None:
    teaching = teacher()
    out = await one_pass(scratch, APPLES, student=student(), teacher=teaching, grader=failing(fail))
    assert out["status"] == "set_aside"
    assert told in out["note"]
    assert calls_of(teaching, "critic") == 0, "nothing is learned from what has no score"
    assert await texts_of(scratch) == []


@every_way
async def test_in_the_try_nothing_is_kept_that_could_not_be_tried(
    scratch: TedMemory, fail: Any, told: str
) -> None:
    taught = iter(range(1000))

    def once_there_is_a_lesson(_task: str, answer: str) -> bool:
        # the first one is the teacher's own solution
        return answer == CODES["apples"] and next(taught) > 0

    out = await one_pass(
        scratch,
        APPLES,
        student=student(),
        teacher=teacher(),
        grader=failing(fail, once_there_is_a_lesson),
    )
    assert out["status"] == "set_aside"
    assert out["note"].startswith("the proposed edits could not be verified: ")
    assert told in out["note"]
    assert await texts_of(scratch) == []


@every_way
async def test_in_a_run_the_samples_are_set_aside_with_the_reason(
    namespace: str, fail: Any, told: str
) -> None:
    memory = in_memory(namespace=namespace, trust="always", validation=0.0)
    report = await distill(
        samples(2, 2),
        student=student(),
        teacher=teacher(),
        memory=memory,
        grader=failing(fail, lambda task, _: thing_in(task) == "apples"),
    )
    assert report.set_aside == 2
    assert {reason.sample for reason in report.reasons} == {"apples-0", "apples-1"}
    assert all(told in reason.reason for reason in report.reasons)
    assert report.learned >= 1


@every_way
async def test_in_the_gate_the_sample_counts_on_no_side(
    namespace: str, fail: Any, told: str
) -> None:
    given, failing_on = samples(), list[str]()
    memory = in_memory(namespace=namespace, trust="always", verify_calls=0)

    async def run(ill: list[str]) -> Any:
        failing_on.clear()

        def at_the_gate(step: Any) -> None:
            if step.phase == "validate":
                failing_on.extend(ill)

        grader = failing(fail, lambda task, _: task in failing_on)
        return await distill(
            given,
            student=student(),
            teacher=teacher(),
            memory=memory,
            grader=grader,
            on_progress=at_the_gate,
        )

    report = await run([s.text for s in given])
    assert report.gate is not None
    assert (report.gate.samples, report.gate.passed, report.promoted) == (0, False, False)
    assert [e.text for e in (await memory.load()).active] == [], (
        "what could not be measured does not go live"
    )
    report = await run([given[0].text])
    assert report.gate is not None
    assert [failure.sample for failure in report.gate.failures] == [given[0].id]
    assert all(told in failure.reason for failure in report.gate.failures)
    assert report.gate.before == 0.0
    assert report.promoted


@every_way
async def test_in_an_evaluation_the_sample_is_listed_and_counts_on_no_side(
    scratch: TedMemory, fail: Any, told: str
) -> None:
    await scratch.commit(
        [Add(text=f"say {CODES['bananas']}", when="asked about bananas")], author="me"
    )
    given = [APPLES, sample("bananas")]
    ill = failing(fail, lambda task, _: thing_in(task) == "apples")
    result = await evaluate(given, student=student(), memory=scratch, grader=ill)
    assert (result.samples, result.without.accuracy, result.with_.accuracy) == (1, 0.0, 1.0)
    [failure] = result.failures
    assert failure.sample == "apples-0"
    assert told in failure.reason
    with pytest.raises(InvalidInput, match="no sample could be scored"):
        await evaluate(given, student=student(), memory=scratch, grader=failing(fail))
