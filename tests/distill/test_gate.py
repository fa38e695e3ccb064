"""The validation gate: what goes live, and what becomes of what does not."""

import json
from typing import Any

from langchain_core.messages import BaseMessage

from ted_memory import Add, TedMemory
from ted_memory.distill import distill
from ted_memory.distill.run import split
from ted_memory.testing import in_memory
from tests.distill.scripts import CODES, SlowChatModel, add, critique, follows, prompt_of, samples, student, teacher


async def test_a_set_that_is_not_better_on_the_held_out_samples_reaches_no_agent(scratch: TedMemory) -> None:
    await scratch.commit([Add(text="Be brief.")], author="me")
    before = await scratch.load()
    held_out = {s.id for s in split(samples(), 0.2)[1]}

    def useless_elsewhere(messages: list[BaseMessage]) -> str:
        return "no idea" if str(messages[-1].text) in asked else follows(messages)

    asked = {s.text for s in samples() if s.id in held_out}
    report = await distill(samples(), student=student(useless_elsewhere), teacher=teacher(), memory=scratch)
    assert report.learned > 0
    assert report.gate is not None
    assert not report.gate.passed
    assert not report.promoted
    after = await scratch.load()
    assert after.active == before.active
    assert await scratch.show(after) == await scratch.show(before)


async def test_what_the_gate_refuses_is_kept_with_its_reason(scratch: TedMemory) -> None:
    held_out = {s.text for s in split(samples(), 0.2)[1]}

    def useless_elsewhere(messages: list[BaseMessage]) -> str:
        return "no idea" if str(messages[-1].text) in held_out else follows(messages)

    for _ in range(2):  # the same lessons again are no news
        report = await distill(samples(), student=student(useless_elsewhere), teacher=teacher(), memory=scratch)
        kept = (await scratch.load()).proposed
        assert len({(e.when, e.text) for e in kept}) == len(kept) > 0
        assert {e.metadata["rejected"] for e in kept} == {"validation on 2 samples: 0.000 before, 0.000 after"}
        assert all(e.sources[0].startswith("dataset:samples#") for e in kept)
    assert not report.promoted
    assert (await scratch.log(1))[0].why.startswith("refused by validation")


async def test_the_best_stage_of_a_run_goes_live_when_later_ones_are_worse(namespace: str) -> None:
    """A student that is led astray by more than two lessons."""
    held_out = {s.text for s in split(samples(), 0.2)[1]}

    def overloaded(messages: list[BaseMessage]) -> str:
        if str(messages[-1].text) not in held_out:
            return follows(messages)
        lessons = sum(str(message.text).count("\n- ") for message in messages)
        return knows_all(messages) if lessons in (1, 2) else "no idea"

    def knows_all(messages: list[BaseMessage]) -> str:
        thing = str(messages[-1].text).rstrip("?").rsplit(" ", 1)[-1]
        return CODES[thing]

    settings: dict[str, Any] = {"trust": "operator", "concurrency": 1, "compaction": "none"}
    last_only = in_memory(namespace=namespace, **settings)
    report = await distill(samples(), student=student(overloaded), teacher=teacher(), memory=last_only)
    assert not report.promoted, "the control: the last stage alone is no better than none"

    stages = in_memory(namespace=namespace, checkpoints=4, **settings)
    report = await distill(samples(), student=student(overloaded), teacher=teacher(), memory=stages)
    assert report.promoted
    assert report.gate is not None
    assert report.gate.after == 1.0 > report.gate.before
    assert [point.experiences for point in report.gate.curve] == [0, 1, 2, 3, 4]
    assert [point.score for point in report.gate.curve] == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert len((await stages.load()).active) == 2, "of two stages as good, the one that learned from more"


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

    memory = in_memory(namespace=namespace, trust="operator", validation=0.0, max_tries=0)
    slow = SlowChatModel(script=teacher(loud).script, pause=lambda _: 0.01, name_told="teacher")
    report = await distill(samples(1, 2), student=student(), teacher=slow, memory=memory)
    assert report.learned == 2, "they were under way at once"
    [lesson] = (await memory.load()).active
    assert lesson.sources == ("dataset:samples#apples-0", "dataset:samples#apples-1")
