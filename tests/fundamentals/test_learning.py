"""What learning means: attempts, a critique, a try, a gate."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from ted_memory import Sample, TedMemory
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.testing import ScriptedChatModel, asked_for_edits

CAPITALS = {"Norland": "Fjordby", "Sudland": "Palmas", "Westland": "Grovetown", "Ostland": "Ambra"}
SAMPLES = [
    Sample(id=f"{land}-{i}", input=f"{ask} the capital of {land}?", reference=city, category=land)
    for land, city in CAPITALS.items()
    for i, ask in enumerate(("What is", "Please tell me:", "Do you know"))
]


def student(messages: list[BaseMessage]) -> str:
    """Know nothing, but follow a lesson about the very land that is asked for."""
    prompt, asked = "\n".join(str(m.content) for m in messages), str(messages[-1].content)
    cities = (
        city for land, city in CAPITALS.items() if land in asked and f"{land}: say {city}" in prompt
    )
    return next(cities, "I don't know")


def teacher(messages: list[BaseMessage]) -> str:
    land = next(land for land in CAPITALS if f"of {land}?" in str(messages[1].content))
    edit = {
        "op": "add",
        "ids": [],
        "when": f"asked for the capital of {land}",
        "text": f"say {CAPITALS[land]}",
    }
    critique = {"reason": "It did not know.", "edits": [edit], "helped": [], "hurt": []}
    return json.dumps(critique) if asked_for_edits(messages) else CAPITALS[land]


async def test_a_student_learns_from_what_it_got_wrong(memory: TedMemory) -> None:
    report = await distill(
        SAMPLES,
        student=ScriptedChatModel(script=student),
        teacher=ScriptedChatModel(script=teacher),
        memory=memory,
    )
    assert report.promoted
    assert report.gate is not None
    assert report.gate.before == 0.0
    # each sample is asked with what the others taught; two others are about its land
    assert report.gate.after >= 0.5
    assert report.experiences.active >= len(CAPITALS)

    result = await evaluate(SAMPLES, student=ScriptedChatModel(script=student), memory=memory)
    assert (result.without.accuracy, result.with_.accuracy) == (0.0, 1.0)


async def test_a_lesson_that_does_not_help_is_not_kept(memory: TedMemory) -> None:
    def useless(messages: list[BaseMessage]) -> str:
        return teacher(messages).replace("say ", "think of ")

    report = await distill(
        SAMPLES,
        student=ScriptedChatModel(script=student),
        teacher=ScriptedChatModel(script=useless),
        memory=memory,
    )
    assert report.learned == 0
    assert report.set_aside == report.samples
    assert "still scored" in report.reasons[0].reason, "the lesson changed nothing, it says"
    assert len(await memory.load()) == 0


async def test_what_is_known_costs_no_critique(memory: TedMemory) -> None:
    async def calls_of_the_teacher() -> int:
        report = await distill(
            SAMPLES,
            student=ScriptedChatModel(script=student),
            teacher=ScriptedChatModel(script=teacher),
            memory=memory,
        )
        return report.spend.teacher.calls

    first, second = await calls_of_the_teacher(), await calls_of_the_teacher()
    assert len(SAMPLES) <= second < first, "each sample is solved; few are criticised"


async def test_what_counts_as_right_is_yours_to_say(memory: TedMemory) -> None:
    def polite(*, inputs: Mapping[str, Any], outputs: str, reference_outputs: str) -> float:
        """Half for the right city, half for saying please; `inputs` has the question."""
        assert "capital" in inputs["input"]
        return 0.5 * (reference_outputs in outputs) + 0.5 * ("please" in outputs)

    answering = ScriptedChatModel(script=lambda _: "Fjordby, please")
    sample = Sample(id="1", input="What is the capital of Norland?", reference="Fjordby")
    by_name = await evaluate([sample], student=answering, memory=memory, grader="exact")
    by_yours = await evaluate([sample], student=answering, memory=memory, grader=polite)
    assert (by_name.without.accuracy, by_yours.without.accuracy) == (0.0, 1.0)
