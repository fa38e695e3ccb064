"""Profiles: what is shipped, what users may change, and what they are told if it cannot work."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory
from ted_memory.distill import distill
from ted_memory.distill.profiles import DEFAULT, PLACEHOLDERS, PROFILES, SMALL, profile_of
from ted_memory.errors import SettingsError
from ted_memory.settings import LONGEST_INSTRUCTIONS, make_settings
from ted_memory.testing import Script, in_memory
from tests.distill.scripts import (
    CODES,
    critique,
    follows,
    one_pass,
    prompt_of,
    right_lesson,
    role,
    sample,
    samples,
    student,
    teacher,
    thing_in,
)

CRITIC = "You judge.\n---\n" + " ".join("{" + name + "}" for name in PLACEHOLDERS["critic"])


def test_two_profiles_are_shipped_with_every_prompt() -> None:
    assert set(PROFILES) == {"default", "small"}
    for profile in PROFILES.values():
        assert {*profile.prompts, "labels", "example"} == set(PLACEHOLDERS)
    assert DEFAULT.fingerprint != SMALL.fingerprint


def test_the_small_profile_shows_what_small_models_follow_and_what_is_stated_wins() -> None:
    small = make_settings(profile="small")
    assert (small.selection, small.top_k, small.placement) == ("relevant", 1, "user")
    assert "selection" not in small.model_fields_set, (
        "a default, so what a set carries may take its place"
    )
    assert make_settings(profile="small", selection="all").selection == "all"
    assert make_settings().selection == "all"


def test_profile_and_instructions_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "critic.md").write_text(CRITIC)
    monkeypatch.setenv("TED_MEMORY_PROFILE", "small")
    monkeypatch.setenv("TED_MEMORY_INSTRUCTIONS", "We sell bicycles.")
    monkeypatch.setenv("TED_MEMORY_PROMPTS", str(tmp_path))
    profile = profile_of(make_settings())
    assert profile.name == "small"
    assert profile.prompts["critic"].fixed.startswith("You judge.")
    assert "We sell bicycles." in profile.prompts["compactor"].fixed


async def test_teacher_critic_and_compactor_are_told_the_owners_word(namespace: str) -> None:
    memory = in_memory(
        namespace=namespace, trust="always", instructions="Never promise dates.", compact_every=1
    )
    teaching = teacher()
    await distill(samples(), student=student(), teacher=teaching, memory=memory)
    told = {role(m): "Never promise dates." in prompt_of(m) for m in teaching.asked}
    assert told == {"teacher": True, "critic": True, "compactor": True}


async def test_a_prompt_of_the_users_own_takes_the_place_of_ours(scratch: TedMemory) -> None:
    profile = DEFAULT.adapted(prompts={"critic": CRITIC})
    asked: list[str] = []

    def answer(messages: list[BaseMessage]) -> str:
        asked.append(str(messages[0].content))
        return "no idea"

    await distill(
        samples(1),
        student=student(),
        teacher=teacher(solves=answer),
        memory=scratch,
        profile=profile,
    )
    assert "You judge." in asked
    assert not any(text.startswith(DEFAULT.prompts["critic"].fixed) for text in asked)


def test_another_profile_is_another_run() -> None:
    assert (
        DEFAULT.adapted(instructions="a").fingerprint
        != DEFAULT.adapted(instructions="b").fingerprint
    )
    assert DEFAULT.adapted(verify_calls=10).fingerprint != DEFAULT.fingerprint
    assert DEFAULT.adapted().fingerprint == DEFAULT.fingerprint
    told = DEFAULT.adapted(instructions="a")
    assert told.adapted(verify_calls=10).instructions == "a", "what is not given stays"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"profile": "tiny"}, "there is no profile 'tiny'; use one of default, small"),
        (
            {"instructions": "x" * (LONGEST_INSTRUCTIONS + 1)},
            f"{LONGEST_INSTRUCTIONS} is the limit; shorten them",
        ),
        ({"prompts": "nowhere"}, "prompts: nowhere is no folder"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        profile_of(make_settings(**wrong))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "has no prompt file; name them teacher, critic"),
        ({"judge.md": "x"}, "there is no prompt 'judge'; the prompts are teacher, critic"),
        ({"critic.md": "You judge.\n---\n{task}"}, "lacks the placeholder {attempts}"),
        (
            {"critic.md": CRITIC + " {mood}"},
            "has the unknown placeholder {mood}; it takes exactly: {task}",
        ),
    ],
)
def test_prompt_files_that_cannot_be_used_are_told_in_one_line(
    tmp_path: Path, files: dict[str, str], told: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError) as error:
        DEFAULT.adapted(prompts=tmp_path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


EXAMPLES_OF_OURS = {  # words of the prompts' own examples that no lesson may ever say
    "default": ("recipe", "oven", "number of people"),
    "small": ("k3x9ap", "Vienna", "grandmother", "1C", "rolls", "bread"),
}


def _parrots_its_prompt(messages: list[BaseMessage]) -> str:
    """A critic that copies the example in its prompt, as small models do."""
    fixed = str(messages[0].content)
    copied, _ = json.JSONDecoder().raw_decode(
        fixed, fixed.rindex('{"reason"' if '{"reason"' in fixed else '{"op"')
    )
    return json.dumps(copied if "edits" in copied else {"reason": "as shown", "edits": [copied]})


def _parrots_a_part(part: str) -> Script:
    """A critic that copies one field of its prompt's example into an edit that is right."""

    def answer(messages: list[BaseMessage]) -> str:
        [copied] = json.loads(_parrots_its_prompt(messages))["edits"]
        edits = json.loads(right_lesson(messages))
        edits["edits"][0][part] = copied[part]
        return json.dumps(edits)

    return answer


PARROTS = {
    "all": _parrots_its_prompt,
    "when": _parrots_a_part("when"),
    "text": _parrots_a_part("text"),
}


async def _learned_from_a_parrot(name: str, parrot: Script, seed: int = 0, **settings: Any) -> str:
    """Return what is live after a run of a student that is right by luck in half of its answers."""
    luck = random.Random(seed)

    def guesses(messages: list[BaseMessage]) -> str:
        right = CODES[thing_in(str(messages[-1].text))]
        return right if luck.random() < 0.5 else follows(messages)

    memory = in_memory(trust="always", profile=name, concurrency=1, **settings)
    await distill(samples(2), student=student(guesses), teacher=teacher(parrot), memory=memory)
    return " ".join(f"{e.when} {e.text}" for e in (await memory.load()).active)


def _copied(said: str, name: str) -> list[str]:
    return [word for word in EXAMPLES_OF_OURS[name] if word in said]


@pytest.mark.parametrize("parrot", list(PARROTS))
@pytest.mark.parametrize("name", list(PROFILES))
async def test_the_prompts_examples_never_go_live(name: str, parrot: str) -> None:
    for seed in range(4):
        said = await _learned_from_a_parrot(name, PARROTS[parrot], seed)
        assert not _copied(said, name), said


@pytest.mark.parametrize("parrot", list(PARROTS))
@pytest.mark.parametrize("name", list(PROFILES))
async def test_control_what_a_critic_copies_goes_live_where_nothing_is_tested(
    name: str, parrot: str
) -> None:
    assert _copied(
        await _learned_from_a_parrot(name, PARROTS[parrot], verify_calls=0, validation=0.0), name
    )


@pytest.mark.parametrize("name", list(PROFILES))
async def test_a_small_critic_that_rewrites_the_lesson_of_its_example_adds_one(name: str) -> None:
    """The 0.5B to 1.5B copy its id; a capable one has mistyped, and is asked again."""

    def rewrites(messages: list[BaseMessage]) -> str:
        answer = json.loads(right_lesson([messages[0], messages[1]]))
        answer["edits"][0] |= {"op": "rewrite", "ids": ["k3x9ap"]}
        return json.dumps(answer)

    memory = in_memory(trust="always", profile=name)
    report = await distill(samples(2), student=student(), teacher=teacher(rewrites), memory=memory)
    learned = {e.text for e in await memory.load()}
    assert learned == (
        {f"say {CODES[thing]}" for thing in ("apples", "bananas")} if name == "small" else set()
    )
    assert (report.set_aside > 0) == (name == "default")


def _derives(slip: int, answer: str) -> str:
    """A derivation of some 9,000 characters that goes wrong at one step."""
    steps = [
        f"Step {i}: the sum of rows {i} and {i + 1} is {7 * i + (i >= slip)}, as the table says."
        for i in range(150)
    ]
    return "\n".join([*steps, f"Answer: {answer}"])


async def test_a_capable_critic_reads_attempts_whole_best_first_and_where_they_part() -> None:
    memory = in_memory(trust="always", profile="default", temperature=1.0)
    answers = itertools.cycle([_derives(90, "no idea"), _derives(999, CODES["apples"])])
    teaching = teacher(lambda _: critique())
    await one_pass(
        memory, sample("apples"), student=student(lambda _: next(answers)), teacher=teaching
    )
    [asked] = [str(m[1].content) for m in teaching.asked if role(m) == "critic"]
    right, wrong = asked.index(_derives(999, CODES["apples"])), asked.index(_derives(90, "no idea"))
    assert right < wrong, "each of them whole, the best one first"
    parting = asked[asked.index("agree in their first 90 steps") : right]
    assert "rows 90 and 91 is 630" in parting
    assert "rows 90 and 91 is 631" in parting


async def test_a_critic_may_see_several_failed_samples_at_once(namespace: str) -> None:
    memory = in_memory(namespace=namespace, trust="always", critique_batch=3, concurrency=1)
    silent = teacher(lambda _: critique())
    await distill(samples(2, 3), student=student(), teacher=silent, memory=memory)
    seen = [prompt_of(m).count("# An earlier task") for m in silent.asked if role(m) == "critic"]
    assert seen == [0, 1, 2, 2, 2, 2]
    asked_about_bananas = [prompt_of(m) for m in silent.asked if role(m) == "critic"][-1]
    assert asked_about_bananas.count("code of bananas?") >= 2, "the most alike come first"


async def test_what_a_batch_taught_is_not_judged_by_any_of_it(namespace: str) -> None:
    memory = in_memory(
        namespace=namespace, trust="always", critique_batch=3, concurrency=1, validation=0
    )
    late = iter([False, False, True])
    teaching = teacher(lambda m: right_lesson([m[0], m[-1]]) if next(late, True) else critique())
    await distill(samples(1, 3), student=student(), teacher=teaching, memory=memory)
    [lesson] = await memory.load()
    assert set(lesson.sources) == {f"dataset:samples#apples-{i}" for i in range(3)}


@pytest.mark.parametrize("with_profile", [False, True])
async def test_a_run_takes_instructions_and_prompts_of_its_own(
    namespace: str, with_profile: bool
) -> None:
    """They take the place of what the settings say; with a profile they are added to it."""
    memory = in_memory(namespace=namespace, instructions="We sell boats.")
    seen = teacher(lambda _: critique())
    await distill(
        samples(1, 1),
        student=student(lambda _: "no idea"),
        teacher=seen,
        memory=memory,
        profile=SMALL if with_profile else None,
        instructions="We sell bicycles.",
        prompts={"critic": CRITIC},
    )
    told = "\n\n".join(prompt_of(messages) for messages in seen.asked)
    assert told.count("We sell bicycles.") == len(seen.asked)
    assert "We sell boats." not in told
    assert CRITIC.partition("\n")[0] in told
    assert (PROFILES["small"].prompts["teacher"].variable in told) is with_profile


async def test_without_them_a_run_goes_by_the_settings(namespace: str) -> None:
    memory, seen = (
        in_memory(namespace=namespace, instructions="We sell boats."),
        teacher(lambda _: critique()),
    )
    await distill(samples(1, 1), student=student(lambda _: "no idea"), teacher=seen, memory=memory)
    assert all("We sell boats." in prompt_of(messages) for messages in seen.asked)
