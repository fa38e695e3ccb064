"""Learning from live traffic on the command line: a process of its own, models behind a server."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.models import Message
from ted_memory.testing import Reply, wait_until
from tests.cli.helpdesk import COLOURS, answer, model_options, serve_in_thread
from tests.command_line import INTERRUPTIBLE, run_cli
from tests.conftest import Server

QUICK = ["--trust", "always", "--rollouts", "1"]


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    """The base URL of a server with a student and a teacher."""
    with serve_in_thread() as url:
        yield url


async def record(
    memory: TedMemory, *runs: str, asked: str = "Tell me: the colour of apples?"
) -> None:
    for run in runs:
        asks = (Message(role="user", content=asked),) if asked else ()
        says = (Message(role="assistant", content="no idea"),)
        await memory.record(Episode(run_id=run, principal=f"user-{run}", input=asks, output=says))
    await memory.flush()


async def places(memory: TedMemory) -> tuple[int, int, int]:
    traffic = await memory.store.episodes.traffic(memory.namespace)
    return traffic.waiting, traffic.claimed, traffic.dead


def run(where: list[str], tmp_path: Path, *args: str, **env: str) -> str:
    done = run_cli(*args, *where, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def learning(where: list[str], url: str) -> "Iterator[subprocess.Popen[str]]":
    """Run ``ted-memory learn`` until it is told to stop."""
    command = [*INTERRUPTIBLE, "learn", *model_options(url), *QUICK, *where, "--json"]
    env = {**os.environ, "TED_MEMORY_VERIFY_CALLS": "0"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_learner_that_is_told_to_stop_finishes_its_work_and_ends_well(
    valkey: Server, namespace: str, name: str
) -> None:
    calls, go_on = [], threading.Event()

    def slow(request: dict[str, Any]) -> Reply | str:
        calls.append(request["model"])
        return Reply(text=str(answer(request)), delay=0.0 if go_on.is_set() else 1.0)

    where = ["-n", namespace, "--url", valkey.url]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, *(f"run-{i}" for i in range(20)))
        with serve_in_thread(slow) as url, learning(where, url) as process:
            await wait_until(lambda: len(calls) >= 4, timeout=60, what="calls")
            process.send_signal(getattr(signal, name))
            go_on.set()
            out, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        outcomes = json.loads(out)["outcomes"]
        assert set(outcomes) == {"learned"}, "what was under way came to its end"
        assert await places(memory) == (20 - outcomes["learned"], 0, 0)
        assert 0 < outcomes["learned"] < 20


async def test_a_learner_that_is_killed_leaves_what_it_held(valkey: Server, namespace: str) -> None:
    """The control: the test above would see it."""
    calls: list[str] = []

    def slow(request: dict[str, Any]) -> Reply | str:
        calls.append(request["model"])
        return Reply(text=str(answer(request)), delay=600)

    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, "one")
        with (
            serve_in_thread(slow) as url,
            learning(["-n", namespace, "--url", valkey.url], url) as process,
        ):
            await wait_until(lambda: bool(calls), timeout=60, what="a call")
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert await places(memory) == (0, 1, 0)


async def test_status_feedback_and_learn_tell_how_it_goes(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    where = ["-n", namespace, "--url", valkey.url]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, "one", "two")
        said = run(where, tmp_path, "status")
        assert "waiting: 2, the oldest for" in said
        assert "nobody learns from it: run ted-memory learn" in said

        right = ["--score", "0", "--correction", COLOURS["apples"], "--principal", "user-one"]
        assert run(where, tmp_path, "feedback", "one", *right) == "credited\n"
        told = json.loads(run(where, tmp_path, "feedback", "three", "--comment", "wrong", "--json"))
        assert told == {"run_id": "three", "verdict": "unknown"}

        none = [
            "--teacher",
            "teacher",
            "--teacher-base-url",
            models,
            "--attempts",
            "none",
            "--until-empty",
            "--json",
        ]
        report = json.loads(run(where, tmp_path, "learn", *none))
        assert (sum(report["outcomes"].values()), report["steps"], report["last_error"]) == (
            2,
            [],
            "",
        )
        assert await places(memory) == (0, 0, 0)
        status = json.loads(run(where, tmp_path, "status", "--json"))
        assert status["experiences"] == {"active": 0, "trial": 0, "proposed": 1}
        assert [one["for"][:33] for one in status["waiting_for"]] == [
            "replays on others' graded episode"
        ]
        assert status["traffic"]["counts"]["learned"] >= 1
        assert status["traffic"]["today"]["teacher_calls"] == 4
        assert "teacher today: 4 calls" in run(where, tmp_path, "status")


async def test_replays_bring_a_lesson_on_trial_before_the_command_ends(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    where, runs = ["-n", namespace, "--url", valkey.url], [f"run-{i}" for i in range(14)]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, *runs)
        for one in runs:
            await memory.give_feedback(
                one, score=0.0, correction=COLOURS["apples"], principal=f"user-{one}"
            )
        report = json.loads(
            run(
                where,
                tmp_path,
                "learn",
                *model_options(models),
                "--rollouts",
                "1",
                "--until-empty",
                "--json",
            )
        )
        [step] = report["steps"]
        assert ": trial: replays show it: lift +1.00 in " in step, (
            "what came of it is done before it ends"
        )
        status = json.loads(run(where, tmp_path, "status", "--json"))
        assert status["experiences"] == {"active": 0, "trial": 1, "proposed": 0}
        way = report["funnel"]
        assert (way["learned_from"], way["taught"] > 0, way["archived"], way["trial"]) == (
            14,
            True,
            14,
            1,
        )
        assert way["pairs"] == report["replayed"] > 0
        assert [one["for"][:13] for one in status["waiting_for"]] == ["live outcomes"]
        assert status["traffic"]["today"]["replay_calls"] >= 8 * 4


async def test_dead_letters_are_listed_taken_up_again_and_dropped(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    where = ["-n", namespace, "--url", valkey.url]
    learn = ["learn", *model_options(models), *QUICK, "--until-empty"]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, "one", "two", asked="")
        assert "dead 2" in run(where, tmp_path, *learn, TED_MEMORY_MAX_DELIVERIES="1")
        assert await places(memory) == (0, 0, 2)
        listed = json.loads(run(where, tmp_path, "dead", "list", "--json"))["dead"]
        assert [letter["run_id"] for letter in listed] == ["two", "one"]

        assert (
            run(where, tmp_path, "dead", "retry", str(listed[0]["seq"]))
            == "1 dead letters wait again\n"
        )
        assert await places(memory) == (1, 0, 1)
        said = run(where, tmp_path, "dead", "list")
        assert "run one" in said
        assert "input" in said, "the reason"
        assert json.loads(run(where, tmp_path, "dead", "drop", "--all", "--json")) == {"dropped": 1}
        assert await places(memory) == (1, 0, 0)


async def test_a_budget_of_a_day_is_kept_and_told(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    where = ["-n", namespace, "--url", valkey.url]
    learn = ["learn", *model_options(models), *QUICK, "--until-empty", "--at-once", "1", "--json"]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, *(f"run-{i}" for i in range(5)))
        report = json.loads(
            run(where, tmp_path, *learn, "--max-calls", "7", TED_MEMORY_VERIFY_CALLS="0")
        )
        assert (
            "has used up its budget of 7 calls for today; its episodes wait" in report["last_error"]
        )
        today = (await memory.store.episodes.traffic(namespace)).today
        assert today["student_calls"] + today["teacher_calls"] <= 7
        assert await places(memory) == (5 - sum(report["outcomes"].values()), 0, 0)
        assert 0 < sum(report["outcomes"].values()) < 5

        report = json.loads(run(where, tmp_path, *learn, TED_MEMORY_VERIFY_CALLS="0"))
        assert await places(memory) == (0, 0, 0), "the control: it is the budget that held it up"
        assert report["last_error"] == ""


async def test_a_learner_of_all_namespaces_tells_of_no_single_one(
    own_server: Server, models: str, tmp_path: Path
) -> None:
    of_all = [*model_options(models), "--until-empty", "--json", "--all-namespaces"]
    said = json.loads(run(["--url", own_server.url], tmp_path, "learn", *of_all))
    assert (said["funnels"], said["outcomes"]) == ({}, {})
    assert "funnel" not in said


async def test_a_learner_ends_with_the_way_so_far_and_its_cost(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    where = ["-n", namespace, "--url", valkey.url]
    learn = ["learn", *model_options(models), *QUICK, "--until-empty"]
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await record(memory, "one", "two")
        said = run(where, tmp_path, *learn, "--prices", "100,100,100,100")
        status = run(where, tmp_path, "status", "--prices", "100,100,100,100")
        free = run(where, tmp_path, *learn)
    first, *way = said.splitlines()
    assert first.startswith("2 episodes: learned 2")
    assert way == status.splitlines()[-len(way) :], "stage by stage, as status tells it"
    assert way[0] == "from traffic to lessons:"
    assert sum("USD" in line for line in way) == 2
    assert "from traffic to lessons:" in free
    assert "USD" not in free


async def test_a_learner_of_all_namespaces_ends_with_a_line_for_each(
    own_server: Server, models: str, tmp_path: Path
) -> None:
    at, learn = (
        ["--url", own_server.url],
        ["learn", *model_options(models), *QUICK, "--until-empty"],
    )
    async with open_memory(own_server.url, namespace="one") as memory:
        await record(memory, "a", "b")
        other = memory.for_namespace("two")
        await record(other, "c")
        said = run(at, tmp_path, *learn, "--all-namespaces", "--prices", "100,100,100,100")
        as_json = json.loads(run(at, tmp_path, *learn, "--all-namespaces", "--json"))
        alone = json.loads(run([*at, "-n", "one"], tmp_path, "status", "--json"))
    assert set(as_json["funnels"]) == {"one", "two"}
    assert as_json["funnels"]["one"] == alone["funnel"], "as status tells it"
    first, *lines = said.splitlines()
    assert first.startswith("3 episodes: learned 3")
    assert [line.split(";")[0] for line in lines] == [
        "one: 2 recorded, 2 learned from",
        "two: 1 recorded, 1 learned from",
    ]
    assert all(line.endswith(" USD today") and " 0.0000 USD" not in line for line in lines)
