"""Providers that are away for long, budgets that press: no sample is lost, no call forgotten."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, Rewrite, Sample, TedMemory
from ted_memory.distill import Budget, Judge, distill
from ted_memory.distill.merging import touched_by
from ted_memory.distill.nodes.compactor import make_room
from ted_memory.errors import ModelError
from ted_memory.evaluation import evaluate
from ted_memory.llm import calls as calls_module
from ted_memory.llm.calls import Calls
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    critique,
    follows,
    knows,
    one_pass,
    prompt_of,
    role,
    sample,
    samples,
    student,
    teacher,
)


class AwayError(Exception):
    """What clients raise when a provider is down."""

    status_code = 503


def calls_in(report: Any) -> tuple[int, int]:
    return report.spend.student.calls, report.spend.teacher.calls


# Outages.


@pytest.mark.parametrize("who", ["student", "teacher", "critic"])
async def test_a_run_whose_provider_goes_down_is_kept_and_goes_on_later(
    who: str, namespace: str
) -> None:
    memory, down = in_memory(namespace=namespace, trust="always", concurrency=2), [False]

    def guarded(script: Any, name: str) -> Any:
        def say(messages: list[BaseMessage]) -> str:
            if down[0] and who == (name if name == "student" else role(messages)):
                raise AwayError("we are down for maintenance")
            return str(script(messages))

        return say

    learner, master = student(guarded(follows, "student")), teacher()
    master.script = guarded(master.script, "teacher")

    def goes_down(step: Any) -> None:
        down[0] = step.phase == "distil" and step.done >= 3

    # with a reference it goes on without a solution; without one there is nothing to grade against
    gone: dict[str, Any] = {"reference": None} if who == "teacher" else {}
    given = [s.model_copy(update=gone) for s in samples()]
    with pytest.raises(
        ModelError, match=r"did not answer for \d samples.* are done and kept; call again to go on"
    ):
        await distill(given, student=learner, teacher=master, memory=memory, on_progress=goes_down)
    assert (await memory.load()).version == 0, "agents see nothing of a run that is not finished"
    made, down[0] = len(learner.asked) + len(master.asked), False
    report = await distill(given, student=learner, teacher=master, memory=memory)
    assert report.resumed >= 3
    assert (report.samples, report.set_aside) == (12, 0)
    assert report.promoted
    assert sum(calls_in(report)) <= len(learner.asked) + len(master.asked), (
        "what was turned away was not paid for"
    )
    assert sum(calls_in(report)) > made - len(learner.asked)


async def test_one_sample_that_is_always_turned_away_stops_nothing(scratch: TedMemory) -> None:
    def picky(messages: list[BaseMessage]) -> str:
        if "Do you know the code of cherries?" in prompt_of(messages):
            raise AwayError("I choke on this one")
        return follows(messages)

    report = await distill(samples(), student=student(picky), teacher=teacher(), memory=scratch)
    assert report.promoted
    assert [aside.sample for aside in report.reasons] == ["cherries-2"]
    assert "I choke" in report.reasons[0].reason


async def test_a_gate_that_nobody_answers_refuses_nothing(scratch: TedMemory) -> None:
    at_the_gate = [False]

    def away(messages: list[BaseMessage]) -> str:
        if at_the_gate[0]:
            raise AwayError("down")
        return follows(messages)

    def watch(step: Any) -> None:
        at_the_gate[0] = step.phase == "validate"

    learner = student(away)
    with pytest.raises(ModelError, match="call again to go on"):
        await distill(
            samples(), student=learner, teacher=teacher(), memory=scratch, on_progress=watch
        )
    assert len(await scratch.load()) == 0, "nothing was refused either"
    at_the_gate[0], before = False, len(learner.asked)
    report = await distill(samples(), student=learner, teacher=teacher(), memory=scratch)
    assert report.promoted
    assert report.gate is not None
    asked = len(learner.asked) - before
    assert asked <= 2 * report.gate.pairs, (
        "only the gate was left to do, and of it not what was done"
    )


async def test_a_retry_after_that_says_nothing_is_no_leave_to_hammer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BusyError(Exception):
        status_code = 429
        response = type("Response", (), {"headers": {"retry-after": "0"}})

    def busy(_: list[BaseMessage]) -> str:
        raise BusyError

    paused: list[int] = []
    monkeypatch.setattr(
        calls_module, "GROWING", lambda state: paused.append(state.attempt_number) or 0.0
    )
    with pytest.raises(BusyError):
        await Calls(1).invoke("student", student(busy), [])
    assert paused == list(range(1, len(paused) + 1)), "a pause after each attempt, each one longer"
    assert len(paused) >= 2


# Budgets.


async def test_a_sample_waits_for_room_that_others_leave() -> None:
    given = [sample(thing, i) for thing in CODES for i in range(3)][:16]
    memory = in_memory(validation=0, concurrency=8)
    report = await distill(
        given,
        student=student(knows),
        teacher=teacher(),
        memory=memory,
        budget=Budget(calls=16 * 6 + 5),
    )
    assert (report.samples, report.stopped) == (16, ""), (
        "six calls each, and never room for eight at their dearest"
    )


async def test_a_budget_that_ends_at_the_compactor_keeps_the_lesson_that_was_paid_for() -> None:
    learned = Counter[int]()
    for limit in range(40, 110, 3):
        memory = in_memory(
            profile="small", selection="all", validation=0, concurrency=1, max_experiences=2
        )
        report = await distill(
            samples(6, 1),
            student=student(),
            teacher=teacher(),
            memory=memory,
            budget=Budget(calls=limit),
        )
        assert sum(calls_in(report)) <= limit
        learned[report.learned] += 1
        newest = (await memory.load()).active[-1]
        assert newest.text == f"say {list(CODES.values())[report.learned - 1]}"
    assert set(learned) >= {1, 2, 3, 4}, (
        "more room, more lessons; and each that was paid for is there"
    )


async def test_what_a_judge_spends_is_counted_also_when_a_run_is_taken_up() -> None:
    made, broken = Counter[str](), [True]

    def counting(name: str, script: Any) -> Any:
        def say(messages: list[BaseMessage]) -> str:
            # the first of the fifth sample's answers, when no other call is in flight
            if name == "judge" and made[name] == 24 and broken[0]:
                broken[0] = False
                error = RuntimeError("bad key")
                error.status_code = 401  # type: ignore[attr-defined]
                raise error
            made[name] += 1
            return str(script(messages))

        return say

    def run() -> Any:
        judging = ScriptedChatModel(
            script=counting("judge", lambda _: json.dumps({"reason": "", "score": 1.0}))
        )
        learner, master = (
            student(counting("student", knows)),
            teacher(solves=counting("teacher", knows)),
        )
        return distill(
            samples(3), student=learner, teacher=master, memory=memory, grader=Judge(judging)
        )

    memory = in_memory(validation=0, concurrency=1)
    with pytest.raises(ModelError, match="bad key"):
        await run()
    report = await run()
    assert report.resumed == 4
    assert calls_in(report) == (made["student"], made["teacher"] + made["judge"])


async def test_an_evaluation_counts_what_was_answered_in_vain(scratch: TedMemory) -> None:
    def grader(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
        if "bananas" in inputs["input"]:
            raise ValueError("boom")
        return 1.0

    answering = student()
    result = await evaluate(
        [sample("apples"), sample("bananas")], student=answering, memory=scratch, grader=grader
    )
    assert [failure.sample for failure in result.failures] == ["bananas-0"]
    assert result.spend.student.calls == len(answering.asked) == 3


# The gate, and room.


async def test_a_held_out_sample_without_a_reference_has_one_answer_for_all_sets() -> None:
    answers = iter(range(1000))
    solved: list[str] = []

    def never_the_same(messages: Sequence[BaseMessage]) -> str:
        solved.append(prompt_of(messages))
        return f"answer {next(answers)}"

    given = [
        *samples(4, 3),
        *(Sample(id=f"u{i}", input=f"{i}: what is the code of figs?") for i in range(3)),
    ]
    held_against: dict[str, set[str]] = {}

    def grader(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
        held_against.setdefault(inputs["input"], set()).add(reference_outputs)
        return float(outputs == reference_outputs)

    memory = in_memory(trust="always", validation=0.4, checkpoints=3)
    master = teacher(solves=never_the_same)
    report = await distill(given, student=student(), teacher=master, memory=memory, grader=grader)
    assert report.gate is not None
    unlabelled = {
        asked: references for asked, references in held_against.items() if "figs" in asked
    }
    assert {len(references) for references in unlabelled.values()} == {1}
    assert all(sum(asked in prompt for prompt in solved) == 1 for asked in unlabelled)


async def test_a_lesson_whose_better_text_waits_is_not_the_one_to_go() -> None:
    memory = in_memory(token_budget=200)
    await memory.commit(
        [Add(text=f"lesson {i} " + "abc " * 8, when=f"thing {i}") for i in range(8)], author="a"
    )
    now = await memory.load()
    for waiting in now.active:
        longer = Rewrite(id=waiting.id, text="x " * 150)
        assert [r.reason for r in (await memory.commit([longer], author="a")).rejected] == ["cap"]
        going = touched_by(make_room([], [longer], now, memory.settings))
        assert going
        assert waiting.id not in going


async def test_the_compactors_model_leaves_alone_what_waits() -> None:
    memory = in_memory(trust="always", token_budget=120, verify_calls=0, shown_share=1.0)
    await memory.commit(
        [Add(text=f"say nothing of {thing}", when=thing) for thing in list(CODES)[:5]], author="a"
    )
    apples = next(e for e in await memory.load() if e.when == "apples")
    longer = {
        "op": "rewrite",
        "ids": [apples.id],
        "when": "apples",
        "text": f"say {CODES['apples']}" + " always" * 25,
    }
    removal = {"reason": "it harms", "edits": [{"op": "remove", "ids": [apples.id]}]}
    master = teacher(lambda _: critique(longer), compactor=lambda _: json.dumps(removal))
    out = await one_pass(memory, sample("apples"), student=student(), teacher=master)
    assert len(out["commits"]) == 2, "the cap pressed"
    kept = (await memory.load()).by_id[apples.id]
    assert kept.text.startswith(f"say {CODES['apples']} always")
