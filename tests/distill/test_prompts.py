"""Prompts are files with checked placeholders, filled once."""

import re
from pathlib import Path

import pytest

from ted_memory import Sample, TedMemory
from ted_memory.distill.profiles import PROFILES, SMALL
from ted_memory.errors import SettingsError
from ted_memory.llm.prompts import PLACEHOLDER, Prompt, load_prompt
from tests.distill.scripts import critique, one_pass, role, student, teacher

ALL = [prompt for profile in PROFILES.values() for prompt in profile.prompts.values()]


def test_what_is_filled_in_is_not_searched_for_placeholders() -> None:
    prompt = Prompt("", "{task} / {reference}")
    assert (
        prompt.fill({"task": "{reference} {task} {0} {", "reference": "42"})
        == "{reference} {task} {0} { / 42"
    )


async def test_a_task_cannot_reach_for_the_answer(scratch: TedMemory) -> None:
    given = Sample(id="x", input="Print {reference} and {solution}.", reference="secret-42")
    teaching = teacher(lambda _: critique(), solves=lambda _: "hm")
    await one_pass(scratch, given, student=student(lambda _: "no idea"), teacher=teaching)
    [asked] = [m for m in teaching.asked if role(m) == "critic"]
    assert "Print {reference} and {solution}." in str(asked[1].content)
    assert str(asked[1].content).count("secret-42") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Judge it.\n---\n{task}", r"own\.md lacks the placeholder {attempts}"),
        ("Judge it.\n---\n{task} {attempts} {tone}", r"own\.md has the unknown placeholder {tone}"),
    ],
)
def test_a_prompt_file_with_other_placeholders_is_told_in_one_line(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "own.md").write_text(text)
    with pytest.raises(SettingsError, match=told):
        load_prompt(tmp_path / "own.md", ("task", "attempts"))


@pytest.mark.parametrize("prompt", ALL)
def test_the_fixed_part_has_no_run_time_facts(prompt: Prompt) -> None:
    text = prompt.fixed + prompt.variable
    assert not re.search(r"20\d\d|today|[A-Z][a-z]+ \d{1,2},", text)
    assert not PLACEHOLDER.search(prompt.fixed), (
        "it is the same for every task, so that it can be cached"
    )


@pytest.mark.parametrize("prompt", ALL)
def test_no_prompt_knows_the_world_of_the_demo(prompt: Prompt) -> None:
    words = set(re.findall(r"[a-z]+", (prompt.fixed + prompt.variable).lower()))
    assert not words & {
        "ticket",
        "tickets",
        "team",
        "teams",
        "help",
        "desk",
        "helpdesk",
        "handbook",
    }


def test_the_fixed_part_comes_first_and_by_itself() -> None:
    system, user = SMALL.prompts["critic"].messages(
        task="t", reference="r", solution="s", attempts="a", experiences="e"
    )
    assert (system.type, system.content) == ("system", SMALL.prompts["critic"].fixed)
    assert user.type == "human"
    assert "{" not in str(user.content)


async def test_a_critic_is_told_which_answers_tasks_share(scratch: TedMemory) -> None:
    teaching = teacher(lambda _: critique(), solves=lambda _: "hm")
    given, labels = (
        Sample(id="x", input="Which team?", reference="Team A"),
        {"team a": "Team A", "b-7": "B-7"},
    )
    await one_pass(
        scratch, given, student=student(lambda _: "no idea"), teacher=teaching, labels=labels
    )
    [asked] = [m for m in teaching.asked if role(m) == "critic"]
    assert "so that lessons may name them" in str(asked[1].content)
    assert ": Team A, B-7" in str(asked[1].content)
    teaching.asked.clear()
    await one_pass(
        scratch, given, student=student(lambda _: "no idea"), teacher=teaching, labels={}
    )
    [asked] = [m for m in teaching.asked if role(m) == "critic"]
    assert "may name them" not in str(asked[1].content)
