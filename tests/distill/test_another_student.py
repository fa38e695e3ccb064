"""A set meets a student of another name: each of its lessons has to show again what it is worth."""

import json

from langchain_core.messages import BaseMessage

from ted_memory import Add
from ted_memory.distill import distill
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import CODES, follows, prompt_of, samples, student, teacher, thing_in


def _misled_by_loud_words(messages: list[BaseMessage]) -> str:
    """Know all by itself but cherries.

    Be led astray by one of the old lessons, and follow the others.
    """
    thing = thing_in(str(messages[-1].text))
    if "SHOUT" in prompt_of(messages):
        return "WHAT?"
    return follows(messages) if thing == "cherries" else CODES[thing]


def _named(name: str) -> ScriptedChatModel:
    return ScriptedChatModel(script=_misled_by_loud_words, name_told=name)


OLD = (
    Add(text="SHOUT", when="dates"),
    Add(text="say c002", when="asked about cherries"),
    Add(text="take a breath", when="apples"),
)


async def test_what_hurts_another_student_goes_back_to_a_proposal_and_the_rest_is_told() -> None:
    memory = in_memory(trust="always", selection="relevant", top_k=1)
    await memory.commit(OLD, author="me", models={"student": "small"})
    report = await distill(samples(), student=_named("large"), teacher=teacher(), memory=memory)
    told = {carried.lesson.rpartition(": ")[2]: carried.verdict for carried in report.carried}
    assert told == {"SHOUT": "hurt", "say c002": "held", "take a breath": "useless"}
    now = await memory.load()
    assert "SHOUT" in [e.text for e in now.proposed]
    assert "SHOUT" not in [e.text for e in now.active]
    assert {"say c002", "take a breath"} <= {e.text for e in now.active}
    assert now.models["student"] == "large"


async def test_with_the_same_student_nothing_is_tested_again() -> None:
    """The control."""
    memory = in_memory(trust="always", selection="relevant", top_k=1)
    await memory.commit(OLD, author="me", models={"student": "large"})
    report = await distill(samples(), student=_named("large"), teacher=teacher(), memory=memory)
    assert report.carried == ()


async def test_a_set_that_nobody_learned_is_not_tested_again() -> None:
    memory = in_memory(trust="always")
    await memory.commit(OLD[1:], author="me")
    report = await distill(samples(), student=student(), teacher=teacher(), memory=memory)
    assert report.carried == ()


async def test_lessons_that_were_tested_on_a_student_are_not_tested_on_it_again() -> None:
    """Nothing new was learned and nothing hurt: the set still has to say whom it was tested on."""
    memory = in_memory(trust="always", selection="relevant", top_k=1)
    await memory.commit(OLD[1:], author="me", models={"student": "small"})
    silent = teacher(lambda _: json.dumps({"reason": "", "edits": []}))
    first = await distill(samples(), student=_named("large"), teacher=silent, memory=memory)
    assert [carried.verdict for carried in first.carried] == ["held", "useless"]
    again = await distill(samples(), student=_named("large"), teacher=silent, memory=memory)
    assert again.carried == ()
