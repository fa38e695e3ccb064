"""`ted-memory distill --from-traffic`: what users said of an agent's answers, as a data set."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.models import Message
from tests.cli.helpdesk import COLOURS, model_options
from tests.command_line import run_cli
from tests.conftest import Server

THINGS = list(COLOURS)


@pytest.fixture
def at(valkey: Server, namespace: str) -> list[str]:
    return ["-n", namespace, "--url", valkey.url]


@pytest.fixture
def nothing_proposed(models: str) -> Iterator[list[str]]:
    """A learner that archives, and whose teacher has nothing to say."""
    yield [
        "learn",
        "--teacher",
        "judge",
        "--teacher-base-url",
        models,
        "--attempts",
        "none",
        "--until-empty",
    ]


async def complain(memory: TedMemory, *runs: str, by: str = "") -> None:
    """Let each run be another user's, or all of them one's, who says what would have been right."""
    for i, run in enumerate(runs):
        asked = Message(role="user", content=f"Tell me: the colour of {THINGS[i % 4]}?")
        said = Message(role="assistant", content="no idea")
        await memory.record(
            Episode(run_id=run, principal=by or f"user-{run}", input=(asked,), output=(said,))
        )
    await memory.flush()
    for i, run in enumerate(runs):
        correction = COLOURS[THINGS[i % 4]]
        await memory.give_feedback(
            run, score=0.0, correction=correction, principal=by or f"user-{run}"
        )


def archive(learn: list[str], at: list[str], tmp_path: Path) -> None:
    done = run_cli(*learn, *at, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


async def test_one_principals_words_wait_for_a_person(
    valkey: Server,
    namespace: str,
    models: str,
    at: list[str],
    nothing_proposed: list[str],
    tmp_path: Path,
) -> None:
    """What only its own author bears out is not promoted; what others bear out goes live.

    Else whoever fills the archive alone could write the lessons of all.
    """
    distill = ["distill", "--from-traffic", *model_options(models), *at, "--json"]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await complain(memory, *(f"run-{i}" for i in range(12)), by="mallory")
        archive(nothing_proposed, at, tmp_path)
        done = run_cli(*distill, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "learning from 12 archived episodes of 1 principal" in done.stderr
        found = await memory.load()
        assert (len(found.active), len(found.proposed)) == (0, len(COLOURS))


async def test_graded_episodes_become_lessons_that_carry_whose_words_they_hold(
    valkey: Server,
    namespace: str,
    models: str,
    at: list[str],
    nothing_proposed: list[str],
    tmp_path: Path,
) -> None:
    distill = ["distill", "--from-traffic", *model_options(models), *at]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await complain(memory, *(f"run-{i}" for i in range(12)))
        archive(nothing_proposed, at, tmp_path)
        assert len(await memory.load()) == 0
        done = run_cli(*distill, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told = next(line for line in done.stderr.splitlines() if line.startswith("learning from "))
        assert (
            "learning from 12 archived episodes of 12 principals; "
            "to take the same ones again: --up-to run-" in told
        )
        report = json.loads(done.stdout)
        assert (report["samples"], report["promoted"]) == (12, True)
        assert report["gate"]["verdict"] == "helps"

        lessons = (await memory.load()).active
        assert {e.text for e in lessons} == {f"say {colour}" for colour in COLOURS.values()}
        apples = next(e for e in lessons if "apples" in e.when)
        runs = {
            source.removeprefix("run:") for source in apples.sources if source.startswith("run:")
        }
        assert runs <= {"run-0", "run-4", "run-8"}
        for run in runs:
            assert {f"dataset:traffic#{run}", f"principal:user-{run}"} <= set(apples.sources)
        log = await memory.log(1)
        assert log[0].author == "distill:traffic"

        for run in runs:
            purged = run_cli(
                "purge", "--source", f"principal:user-{run}", "--yes", *at, cwd=tmp_path
            )
            assert purged.returncode == 0, purged.stderr
        left = " ".join(e.when for e in (await memory.load()).active)
        assert "apples" not in left
        assert "grass" in left, "the control: others' words stay"


async def test_the_same_episodes_can_be_taken_again_while_newer_ones_come(
    valkey: Server,
    namespace: str,
    models: str,
    at: list[str],
    nothing_proposed: list[str],
    tmp_path: Path,
) -> None:
    distill = [
        "distill",
        "--from-traffic",
        *model_options(models),
        *at,
        "--max-calls",
        "1",
        "--json",
    ]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await complain(memory, "one", "two", "three")
        archive(nothing_proposed, at, tmp_path)
    newest = run_cli(*distill, "--limit", "1", cwd=tmp_path)
    assert (
        "learning from 1 archived episode of 1 principal; "
        "to take the same ones again: --up-to three" in newest.stderr
    )
    earlier = run_cli(*distill, "--up-to", "two", cwd=tmp_path)
    assert "learning from 2 archived episodes of 2 principals\n" in earlier.stderr
    unknown = run_cli(*distill, "--up-to", "four", cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "run 'four' is not in the archive" in unknown.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from-traffic"], "no graded episode of"),
        ([], "give one data set: a FILE, or --from-traffic"),
        (["FILE", "--from-traffic"], "give one data set: a FILE, or --from-traffic"),
        (["FILE", "--up-to", "one"], "--up-to is for --from-traffic"),
        (["--from-traffic", "--split", "test"], "--split and --mapping are for a FILE"),
        (["--from-traffic", "--mapping", "ted"], "--split and --mapping are for a FILE"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(
    models: str, data: Path, at: list[str], tmp_path: Path, options: list[str], words: str
) -> None:
    given = [str(data) if option == "FILE" else option for option in options]
    done = run_cli("distill", *given, *model_options(models), *at, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert words in line
