"""The validation gate: what goes live, and what becomes of what does not."""

import json
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Add, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.scoring import Progress
from ted_memory.llm.spend import Budget
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    add,
    critique,
    follows,
    prompt_of,
    samples,
    student,
    teacher,
)

ONE_EACH = samples(12, 1)


class Phase:
    """Knows whether the gate is at work."""

    def __init__(self) -> None:
        self.name = "distil"

    def __call__(self, step: Any) -> None:
        self.name = step.phase


def useless_at_the_gate(phase: Phase) -> Any:
    def answer(messages: list[BaseMessage]) -> str:
        return "no idea" if phase.name == "validate" else follows(messages)

    return student(answer)


async def test_a_set_that_does_not_help_others_reaches_no_agent(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="Be brief.")], author="me")
    before, phase = await scratch.load(), Phase()
    report = await distill(
        samples(),
        student=useless_at_the_gate(phase),
        teacher=teacher(),
        memory=scratch,
        on_progress=phase,
    )
    assert report.learned > 0
    assert report.gate is not None
    assert not report.gate.passed
    assert not report.promoted
    after = await scratch.load()
    assert after.active == before.active
    assert await scratch.show(after) == await scratch.show(before)


async def test_what_the_gate_refuses_is_kept_with_its_reason(scratch: TedMemory) -> None:
    for _ in range(2):  # the same lessons again are no news
        phase = Phase()
        report = await distill(
            samples(),
            student=useless_at_the_gate(phase),
            teacher=teacher(),
            memory=scratch,
            on_progress=phase,
        )
        kept = (await scratch.load()).proposed
        assert len({(e.when, e.text) for e in kept}) == len(kept) > 0
        assert all("not shown to help by itself: wealth" in e.metadata["rejected"] for e in kept)
        assert all(e.sources[0].startswith("dataset:samples#") for e in kept)
    assert not report.promoted
    assert (await scratch.log(1))[0].why.startswith("refused by the gate")


async def test_right_lessons_go_live_where_no_other_sample_can_judge_them(
    scratch: TedMemory,
) -> None:
    """Each thing has one sample only, so the set as a whole can show nothing.

    Each lesson shows what it is worth.
    """
    report = await distill(ONE_EACH, student=student(), teacher=teacher(), memory=scratch)
    assert report.gate is not None
    assert report.gate.verdict in {"open", "useless"}
    assert all(lesson.kept and "helps by itself" in lesson.reason for lesson in report.gate.lessons)
    assert len((await scratch.load()).active) == 12


async def test_lessons_that_nobody_verified_need_the_gate(namespace: str) -> None:
    """The control: without what verification found, one sample each is not enough."""
    memory = in_memory(namespace=namespace, trust="always", verify_calls=0)
    report = await distill(ONE_EACH, student=student(), teacher=teacher(), memory=memory)
    assert report.learned == 12
    assert not report.promoted


async def test_a_set_that_hurts_is_refused_though_its_lessons_were_verified(
    scratch: TedMemory,
) -> None:
    phase = Phase()

    def led_astray(messages: list[BaseMessage]) -> str:
        if phase.name != "validate":
            return follows(messages)
        return (
            "no idea"
            if "\n- " in prompt_of(messages)
            else CODES[prompt_of(messages).rsplit(" ", 1)[-1].rstrip("?")]
        )

    report = await distill(
        samples(), student=student(led_astray), teacher=teacher(), memory=scratch, on_progress=phase
    )
    assert report.gate is not None
    assert report.gate.verdict == "hurts"
    assert not report.promoted


async def test_a_sample_never_judges_what_it_taught(scratch: TedMemory) -> None:
    """A lesson that only helps where it came from shows nothing at the gate."""
    phase = Phase()
    answering = student(follows)
    await distill(
        samples(1, 2), student=answering, teacher=teacher(), memory=scratch, on_progress=phase
    )
    [lesson] = await scratch.load()
    taught, indexed = (source.partition("#")[2] for source in lesson.sources)
    assert {taught, indexed} == {"apples-0", "apples-1"}, (
        "the second one has only added words that it is found by"
    )


@pytest.mark.parametrize("checkpoints", [1, 4])
async def test_the_best_stage_of_a_run_goes_live_when_later_ones_are_worse(
    namespace: str, checkpoints: int
) -> None:
    """A student that is led astray by more than two lessons.

    With one stage only the last one can be had.
    """
    phase = Phase()

    def overloaded(messages: list[BaseMessage]) -> str:
        if phase.name != "validate":
            return follows(messages)
        lessons = sum(str(message.text).count("\n- ") for message in messages)
        return follows(messages) if lessons in (1, 2) else "no idea"

    memory = in_memory(
        namespace=namespace,
        trust="always",
        concurrency=1,
        compaction="none",
        checkpoints=checkpoints,
    )
    report = await distill(
        samples(4, 6),
        student=student(overloaded),
        teacher=teacher(),
        memory=memory,
        on_progress=phase,
    )
    assert report.gate is not None
    if checkpoints == 1:
        assert not report.promoted
        return
    assert report.promoted
    assert [point.experiences for point in report.gate.curve] == [0, 1, 2, 3, 4]
    assert [point.score > 0 for point in report.gate.curve] == [False, True, True, False, False]
    assert len((await memory.load()).active) == 2


async def test_a_run_that_was_killed_at_the_gate_keeps_the_stage_that_it_had_chosen(
    namespace: str,
) -> None:
    """The answers that chose are not asked for again, also by a run that is taken up later."""
    phase, tired = Phase(), True

    def overloaded(messages: list[BaseMessage]) -> str:
        if phase.name != "validate" or not tired:
            return follows(messages)
        lessons = sum(str(message.text).count("\n- ") for message in messages)
        return follows(messages) if lessons in (1, 2) else "no idea"

    def killed(progress: Progress) -> None:
        phase(progress)
        if progress.phase == "validate" and progress.done:
            raise RuntimeError("killed")

    memory = in_memory(
        namespace=namespace, trust="always", concurrency=1, compaction="none", checkpoints=4
    )
    with pytest.raises(RuntimeError, match="killed"):
        await distill(
            samples(4, 6),
            student=student(overloaded),
            teacher=teacher(),
            memory=memory,
            on_progress=killed,
        )
    tired = False  # asked again, it would be best with all four
    report = await distill(
        samples(4, 6),
        student=student(overloaded),
        teacher=teacher(),
        memory=memory,
        on_progress=phase,
    )
    assert report.gate is not None
    assert [point.score > 0 for point in report.gate.curve] == [False, True, True, False, False]
    assert len((await memory.load()).active) == 2


@pytest.mark.parametrize(("calls", "measured"), [(2000, True), (220, False)])
async def test_a_budget_with_room_for_it_pays_for_stages_and_ways_to_show_the_set(
    namespace: str, calls: int, measured: bool
) -> None:
    settings: dict[str, Any] = {"checkpoints": 3, "measure_presentation": True}
    memory = in_memory(
        namespace=namespace, trust="always", concurrency=1, compaction="none", **settings
    )
    budget = Budget(calls=calls)
    report = await distill(
        samples(4, 3), student=student(), teacher=teacher(), memory=memory, budget=budget
    )
    assert report.gate is not None
    assert report.promoted, report.stopped
    assert bool(report.gate.curve) is measured
    assert bool(report.shown) is measured
    assert report.spend.student.calls + report.spend.teacher.calls <= calls


async def test_a_run_that_learned_nothing_pays_for_no_gate(scratch: TedMemory) -> None:
    silent = teacher(lambda messages: json.dumps({"reason": "", "edits": []}))
    answering = student()
    report = await distill(samples(), student=answering, teacher=silent, memory=scratch)
    assert report.gate is None
    assert not report.promoted
    assert len(answering.asked) == 5 * report.samples


async def test_what_two_passes_said_in_the_same_words_goes_live_once(namespace: str) -> None:
    def loud(messages: list[BaseMessage]) -> str:
        verb = "SAY" if "Tell me" in prompt_of(messages) else "say"
        return critique(add(f"{verb} {CODES['apples']}", "asked about apples"))

    memory = in_memory(namespace=namespace, trust="always", validation=0.0, verify_calls=0)
    slow = SlowChatModel(script=teacher(loud).script, pause=lambda _: 0.01, name_told="teacher")
    report = await distill(samples(1, 2), student=student(), teacher=slow, memory=memory)
    assert report.learned == 2, "they were under way at once"
    [lesson] = (await memory.load()).active
    # whichever came first
    assert set(lesson.sources) == {"dataset:samples#apples-0", "dataset:samples#apples-1"}
