"""Options say how a run speaks to its models: profile, instructions, prompts, language."""

from pathlib import Path
from typing import Any

import pytest

from ted_memory.distill.profiles import PROFILES
from ted_memory.settings import LONGEST_INSTRUCTIONS
from ted_memory.testing import Reply
from tests.cli.helpdesk import answer, model_options, serve_in_thread
from tests.command_line import run_cli


def asked_of_the_critic(tmp_path: Path, data: Path, *options: str, **env: str) -> str:
    """Distil by the command line; return the first prompt that the critic was sent."""
    asked: list[str] = []

    def listens(request: dict[str, Any]) -> Reply | str:
        prompt = "\n".join(str(message["content"]) for message in request["messages"])
        if request["model"] == "teacher" and '"edits"' in prompt:
            asked.append(prompt)
        return answer(request)

    with serve_in_thread(listens) as url:
        where = ["--home", str(tmp_path / "home")]
        done = run_cli(
            "distill", str(data), *model_options(url), *where, *options, cwd=tmp_path, **env
        )
    assert done.returncode == 0, done.stderr
    return asked[0]


@pytest.mark.parametrize("name", list(PROFILES))
def test_the_profile_is_the_one_that_was_named(name: str, tmp_path: Path, data: Path) -> None:
    fixed = {profile: PROFILES[profile].prompts["critic"].fixed for profile in PROFILES}
    by_option = asked_of_the_critic(tmp_path, data, "--profile", name)
    assert [profile for profile, prompt in fixed.items() if prompt in by_option] == [name]


def test_instructions_and_prompts_of_ones_own_reach_the_critic(tmp_path: Path, data: Path) -> None:
    (tmp_path / "word.txt").write_text("Colours are named as in the shop.", encoding="utf-8")
    own = (
        PROFILES["default"].prompts["critic"].fixed
        + "\nOurs.\n---\n{task} {attempts} {solution} {reference} {experiences}"
    )
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "critic.md").write_text(own, encoding="utf-8")
    said = asked_of_the_critic(
        tmp_path, data, "--instructions", "@word.txt", "--prompts", "prompts"
    )
    assert "Colours are named as in the shop." in said
    assert "Ours." in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "large"], "profile"),
        (["--language", "xx"], "language"),
        (["--instructions", "x" * (LONGEST_INSTRUCTIONS + 1)], "instructions"),
        (["--instructions", "@nowhere.txt"], "nowhere.txt"),
        (["--prompts", "prompts"], "{task}"),
        (["--retrieval", "nosuch"], "retrieval"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], said: str, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "critic.md").write_text("Judge.\n---\n{attempts}", encoding="utf-8")
    models = model_options("http://127.0.0.1:9/v1")
    done = run_cli(
        "distill", str(data), *models, "--home", str(tmp_path / "home"), *options, cwd=tmp_path
    )
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 1:
        assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("language", ["de", "auto"])
def test_the_language_can_be_set_from_outside(language: str, tmp_path: Path, data: Path) -> None:
    done = run_cli(
        "show", "--home", str(tmp_path / "home"), cwd=tmp_path, TED_MEMORY_LANGUAGE=language
    )
    assert done.returncode == 0, done.stderr
    done = run_cli("show", "--home", str(tmp_path / "home"), cwd=tmp_path, TED_MEMORY_LANGUAGE="xx")
    assert done.returncode == 1
    assert "TED_MEMORY_LANGUAGE" in done.stderr
