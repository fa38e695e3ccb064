"""General lessons live, however their condition is worded.

Some students need an example instead of a rule.
"""

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import Sample
from ted_memory.distill import distill
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    add,
    critique,
    one_pass,
    prompt_of,
    sample,
    student,
    teacher,
    thing_in,
)

APPLES = sample("apples")

# A condition that nobody would find, or that fits everything.

WORDINGS = (
    "writing a Python function",
    "a function takes a list",
    "code has to handle input",
    "a task asks for code",
    "you write code",
    "",
)


def _coding(i: int) -> Sample:
    name = ("total", "longest", "merge", "flatten")[i % 4]
    return Sample(
        id=f"f{i}",
        input=f"Write a Python function `{name}` for lists, number {i}.",
        reference=f"def {name}{i}",
    )


def _careful(messages: list[BaseMessage]) -> str:
    """Write the function; forget the empty case unless a lesson tells of it."""
    asked = str(messages[-1].text).split("Write a Python function `")[-1]
    body = (
        "if not items: return 0" if "empty case first" in prompt_of(messages) else "return items[0]"
    )
    return f"def {asked.split('`')[0]}{asked.split('number ')[1].split('.')[0]}(items): {body}"


def _handles_empty(*, inputs: Any, outputs: str, reference_outputs: str) -> float:
    return float(reference_outputs in outputs and "if not items" in outputs)


@pytest.mark.parametrize("selection", ["all", "relevant"])
@pytest.mark.parametrize("when", WORDINGS)
async def test_a_general_lesson_goes_live_however_its_condition_is_worded(
    namespace: str, when: str, selection: str
) -> None:
    memory = in_memory(namespace=namespace, trust="always", selection=selection, shown_share=1.0)
    text = "1. Handle the empty case first:\n   if not items: return 0\n2. Then the rest."
    expert = teacher(lambda _: critique(add(text, when)), solves=_careful)
    given = [_coding(i) for i in range(6)]
    report = await distill(
        given, student=student(_careful), teacher=expert, memory=memory, grader=_handles_empty
    )
    assert report.promoted, report.rejected
    [lesson] = (await memory.load()).active
    assert lesson.text == text
    shown = await memory.render("Write a Python function `other`.")
    assert f"\n- When {when}:\n  1. Handle" in shown if when else "\n- 1. Handle" in shown


# A lesson may carry its own sample as an example, where a student follows no rule.


def _imitates(messages: list[BaseMessage]) -> str:
    """Follow no rule; see what an example does, and do the same."""
    said = prompt_of(messages)
    thing = thing_in(str(messages[-1].text))
    return CODES[thing] if f"code of {thing}? => {CODES[thing]}" in said else "no idea"


async def test_a_student_that_follows_no_rule_is_given_an_example(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", profile="small", selection="all")
    out = await one_pass(memory, APPLES, student=student(_imitates), teacher=teacher())
    assert out["status"] == "learned", out["note"]
    [lesson] = (await memory.load()).active
    assert lesson.example == f"{APPLES.text} => c000"
    assert "\n  Example: " in await memory.render()


@pytest.mark.parametrize(("when", "taught"), [("", False), ("asked about apples", True)])
async def test_what_is_shown_with_every_task_carries_no_sample_as_its_example(
    namespace: str, when: str, taught: bool
) -> None:
    """A small student would copy what the example says of its own task.

    With a condition it may have one.
    """
    memory = in_memory(namespace=namespace, trust="always", profile="small", selection="all")
    await one_pass(
        memory,
        APPLES,
        student=student(_imitates),
        teacher=teacher(lambda _: critique(add("be exact", when))),
    )
    assert bool([e for e in (await memory.load()).active if e.example and not e.task]) is taught


@pytest.mark.parametrize(("when", "kept"), [("", False), ("asked about apples", True)])
async def test_nor_does_it_where_the_critic_made_it_up(
    namespace: str, when: str, kept: bool
) -> None:
    def writes(_: list[BaseMessage]) -> str:
        return critique(add("say c000", when) | {"example": "code of a pear? => c777"})

    memory = in_memory(namespace=namespace, trust="always", profile="small", selection="all")
    obedient = student(lambda messages: "c000" if "say c000" in prompt_of(messages) else "no idea")
    await one_pass(memory, APPLES, student=obedient, teacher=teacher(writes))
    assert [bool(e.example) for e in (await memory.load()).active] == [kept]


@pytest.mark.parametrize(
    "settings", [{"examples": False}, {"trust": "evidence"}, {"profile": "default"}]
)
async def test_nobodys_words_become_an_example_where_that_is_not_wanted(
    namespace: str, settings: dict[str, Any]
) -> None:
    given = {"trust": "always", "profile": "small", "selection": "all", **settings}
    memory = in_memory(namespace=namespace, **given)
    await one_pass(memory, APPLES, student=student(_imitates), teacher=teacher())
    assert not [e for e in await memory.load() if e.example]


async def test_what_a_user_wrote_is_no_example_for_everybody_whatever_is_trusted(
    namespace: str,
) -> None:
    """An operator may trust traffic at once.

    Its words stay out of other people's prompts all the same.
    """
    memory = in_memory(namespace=namespace, trust="always", profile="small", selection="all")
    kit_of_a_learner = {"settle": {"seq": 1, "fence": 1}}
    await one_pass(
        memory, APPLES, student=student(_imitates), teacher=teacher(), **kit_of_a_learner
    )
    assert not [e for e in await memory.load() if e.example]
