"""No place among the calls in flight stays empty, and no call is made that is not needed."""

import random

from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.distill import distill
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    calls_of,
    follows,
    knows,
    role,
    sample,
    samples,
    student,
    teacher,
)


async def test_the_places_for_calls_are_taken_nearly_all_of_the_time() -> None:
    flight: list[int] = []
    gauge, lengths = {"now": 0}, random.Random(1)
    models = [
        SlowChatModel(script=script, name_told=name, pause=lambda _: lengths.uniform(0.02, 0.06))
        for name, script in (("student", follows), ("teacher", teacher().script))
    ]
    for model in models:
        model.flight, model.gauge = flight, gauge  # pydantic copies containers
    memory = in_memory(trust="always", concurrency=4, validation=0)
    report = await distill(samples(10, 2), student=models[0], teacher=models[1], memory=memory)
    assert report.samples == 20
    full = sum(now >= 3 for now in flight)
    assert full >= 0.8 * len(flight), f"{full} of {len(flight)}"
    assert max(flight) == 4


async def test_where_nothing_is_to_be_learned_the_teacher_is_asked_once_a_sample(
    scratch: TedMemory,
) -> None:
    teaching = teacher()
    report = await distill(samples(), student=student(knows), teacher=teaching, memory=scratch)
    assert report.learned == 0
    assert len(teaching.asked) == report.spend.teacher.calls == report.samples == 12


async def test_where_something_is_learned_the_teacher_is_asked_twice_a_sample(
    namespace: str,
) -> None:
    memory, teaching = (
        in_memory(namespace=namespace, trust="always", validation=0, compact_every=100),
        teacher(),
    )
    given = [sample(thing) for thing in CODES]
    report = await distill(given, student=student(), teacher=teaching, memory=memory)
    assert report.learned == report.samples == len(CODES)
    assert len(teaching.asked) == report.spend.teacher.calls == 2 * len(CODES)


async def test_a_good_teacher_is_asked_again_for_one_sample_in_three_at_most(
    namespace: str,
) -> None:
    luck = random.Random(1)

    def slips(messages: list[BaseMessage]) -> str:
        return "no idea" if luck.random() < 0.15 else follows(messages)

    memory, teaching = in_memory(namespace=namespace, trust="always", validation=0), teacher()
    report = await distill(samples(12, 2), student=student(slips), teacher=teaching, memory=memory)
    first = sum(role(m) == "critic" and len(m) == 2 for m in teaching.asked)
    again = calls_of(teaching, "critic") - first
    assert report.learned >= len(CODES) / 2
    assert again <= first / 3, f"{again} of {first}"
