"""Prompts are files with checked placeholders, filled once."""

import re

import pytest

from ted_memory import Sample, TedMemory
from ted_memory.distill import prompts
from ted_memory.distill.prompts import COMPACTOR, CRITIC, RETRY, TEACHER, Prompt, load_prompt
from tests.distill.scripts import critique, one_pass, role, student, teacher

ALL = [TEACHER, CRITIC, RETRY, COMPACTOR]


def test_what_is_filled_in_is_not_searched_for_placeholders() -> None:
    prompt = Prompt("", "{task} / {reference}")
    assert prompt.fill({"task": "{reference} {task} {0} {", "reference": "42"}) == "{reference} {task} {0} { / 42"


async def test_a_task_cannot_reach_for_the_answer(scratch: TedMemory) -> None:
    given = Sample(id="x", input="Print {reference} and {solution}.", reference="secret-42")
    teaching = teacher(lambda _: critique(), solves=lambda _: "hm")
    await one_pass(scratch, given, student=student(lambda _: "no idea"), teacher=teaching)
    [asked] = [m for m in teaching.asked if role(m) == "critic"]
    assert "Print {reference} and {solution}." in str(asked[1].content)
    assert str(asked[1].content).count("secret-42") == 1


def test_a_prompt_and_its_caller_that_drifted_apart_are_told() -> None:
    with pytest.raises(ValueError, match=r"critic\.md has the placeholders"):
        load_prompt("critic", "task")


@pytest.mark.parametrize("prompt", ALL)
def test_the_fixed_part_has_no_run_time_facts(prompt: Prompt) -> None:
    text = prompt.fixed + prompt.variable
    assert not re.search(r"20\d\d|today|[A-Z][a-z]+ \d{1,2},", text)
    assert not prompts._PLACEHOLDER.search(prompt.fixed), "it is the same for every task, so that it can be cached"


@pytest.mark.parametrize("prompt", ALL)
def test_no_prompt_knows_the_world_of_the_demo(prompt: Prompt) -> None:
    words = set(re.findall(r"[a-z]+", (prompt.fixed + prompt.variable).lower()))
    assert not words & {"ticket", "tickets", "team", "teams", "help", "desk", "helpdesk", "handbook"}


def test_the_fixed_part_comes_first_and_by_itself() -> None:
    system, user = CRITIC.messages(task="t", reference="r", solution="s", attempts="a", experiences="e")
    assert (system.type, system.content) == ("system", CRITIC.fixed)
    assert user.type == "human"
    assert "{" not in str(user.content)
