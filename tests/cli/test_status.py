"""`ted-memory status` and `explain`: how far learning has come, and where one lesson stands."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.episodes import Episode
from ted_memory.experience.evidence import voice_of
from ted_memory.models import Add, Merge, Message, Remove, Restore, SetState, Trial
from ted_memory.protocols import Pair
from tests.cli.helpdesk import COLOURS, model_options
from tests.command_line import run_cli
from tests.conftest import Server
from tests.learner.worlds import fill_archive

USERS = 6
LEARN = ["--rollouts", "1", "--at-once", "1", "--until-empty", "--json"]
ONE_IS_ENOUGH = {"TED_MEMORY_MIN_PRINCIPALS": "1"}


def where(server: Server, namespace: str) -> list[str]:
    return ["-n", namespace, "--url", server.url]


def told(args: list[str], tmp_path: Path, **env: str) -> str:
    done = run_cli(*args, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(args: list[str], tmp_path: Path, **env: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told([*args, "--json"], tmp_path, **env))
    return found


async def complain(memory: TedMemory, *users: str) -> None:
    """Let each user ask, get no answer, and say what would have been right."""
    for user in users:
        asked = Message(role="user", content="Tell me: the colour of apples?")
        said = Message(role="assistant", content="no idea")
        await memory.record(
            Episode(run_id=f"run-{user}", principal=user, input=(asked,), output=(said,))
        )
    await memory.flush()
    for user in users:
        correction = COLOURS["apples"]
        await memory.give_feedback(f"run-{user}", score=0.0, correction=correction, principal=user)


async def lesson(memory: TedMemory, *, state: Any = "proposed", **fields: Any) -> str:
    given = {
        "text": "say red",
        "when": "asked about apples",
        "sources": ("principal:anna",),
        **fields,
    }
    commit = await memory.commit([Add(state="proposed", **given)], author="test")
    id = commit.applied[0].id
    if state != "proposed":
        await memory.commit([SetState(id=id, state=state)], author="test")
    return id


async def on_trial(memory: TedMemory, scores: list[tuple[bool, float]], *, days: float) -> str:
    """Put a lesson on trial so long ago; an outcome says whether it was shown, and the score."""
    id = await lesson(memory)
    for i, seq in enumerate(await fill_archive(memory, [f"user-{i}" for i in range(8)])):
        pair = Pair(id=id, since=99, seq=seq, speaker=f"user-{i}", score_with=1, score_without=0)
        assert await memory.store.episodes.replayed(memory.namespace, pair) == "counted"
    trial = Trial(bet=0.4, began_at=datetime.now(UTC) - timedelta(days=days))
    commit = await memory.commit([SetState(id=id, state="trial", trial=trial)], author="test")
    for i, (shown, score) in enumerate(scores):
        sides = {"seen": (id,)} if shown else {"withheld": (id,)}
        run = Episode(run_id=f"r{i}", principal=f"user-{i}", version=commit.version, **sides)
        await memory.record(run)
        await memory.flush()
        assert await memory.give_feedback(f"r{i}", score=score, principal=f"user-{i}") == "credited"
    return id


async def test_status_tells_the_way_from_episodes_to_a_lesson_on_trial(
    valkey: Server, namespace: str, models: str, tmp_path: Path
) -> None:
    at = where(valkey, namespace)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        await complain(memory, *(f"user-{i}" for i in range(USERS)))
        before = as_json(["status", *at], tmp_path)["funnel"]
        assert (before["recorded"], before["learned_from"], before["archived"]) == (USERS, 0, 0)
        report = json.loads(
            told(["learn", *model_options(models), *at, *LEARN], tmp_path, **ONE_IS_ENOUGH)
        )
        assert report["replayed"] == USERS - 1, "every episode but the one that it came from"

    status = as_json(["status", *at, "--prices", "1,1,1,1"], tmp_path, **ONE_IS_ENOUGH)
    way = status["funnel"]
    assert (way["learned_from"], way["taught"], way["archived"]) == (USERS, 1, USERS)
    assert (way["proposed"], way["trial"], way["active"]) == (0, 1, 0)
    assert (before["trials_begun"], way["trials_begun"], way["activated"], way["retired"]) == (
        0,
        1,
        0,
        0,
    )
    assert way["pairs"] == USERS - 1
    assert way["replay_calls"] >= 4 * way["pairs"]
    assert way["learning"]["student"]["calls"] > 0
    spent = status["traffic"]["today"]
    roles = ("student_tokens", "teacher_tokens")
    tokens = sum(number for name, number in spent.items() if name.startswith(roles))
    assert abs(sum(status["cost_today"].values()) - tokens / 1e6) < 1e-5
    assert status["cost_today"]["replays"] > 0
    [one] = status["waiting_for"]
    assert (one["state"], one["pairs"], one["outcomes"]) == ("trial", USERS - 1, 0)
    assert one["helps"] >= 10
    assert one["for"].startswith("live outcomes: wealth 1 of 7.7 after 0, "), (
        "its few pairs have shown less than 20"
    )

    words = told(["status", *at, "--prices", "1,1,1,1"], tmp_path)
    assert "from traffic to lessons:" in words
    stages = {
        line[2:15].strip(): line[15:].split()
        for line in words.splitlines()
        if line.startswith("  ")
    }
    assert stages["recorded"][:2] == [str(USERS), "episodes"]
    assert stages["replayed"][:2] == [str(USERS - 1), "pairs"]
    assert stages["replayed"][-1] == "USD"
    assert stages["on trial"][:2] == ["1", "lessons"]
    assert "lessons today: 1 put on trial\n" in words
    assert "USD" not in told(["status", *at], tmp_path)
    assert as_json(["status", *at], tmp_path)["cost_today"] is None


async def test_explain_tells_a_trials_evidence_and_its_pace(
    valkey: Server,
    namespace: str,
    tmp_path: Path,
) -> None:
    at = where(valkey, namespace)
    scores = [(True, 1.0), (False, 0.0)] * 4
    async with open_memory(valkey.url, namespace=namespace) as memory:
        id = await on_trial(memory, scores, days=4)
    one = as_json(["explain", id, *at], tmp_path, TED_MEMORY_MIN_PRINCIPALS="2")
    assert (one["experience"]["id"], one["outcomes"]) == (id, 8)
    assert one["principals"] == len({voice_of(f"user-{i}") for i in range(8)})
    assert one["without_the_loudest"] == 1
    assert one["needed"] == {"helps": 20, "useless": 20, "harms": 20, "live": 5, "turned": 1000}
    assert 1 < one["live"] < 5
    assert one["left"] > 0
    assert 1.99 < one["a_day"] < 2.01
    assert abs(one["days"] - one["left"] / one["a_day"]) < 1e-9

    words = told(["explain", id, *at], tmp_path, TED_MEMORY_MIN_PRINCIPALS="2")
    assert f"; about {one['left']} graded requests that it applies to more" in words
    assert "live (strict): 8 outcomes; wealth " in words
    assert "; 2 outcomes a day" in words
    assert "at this rate about " in words
    assert f"principals heard: {one['principals']}; wealths are without the 1 loudest" in words
    assert "comes from: principal:anna" in words


async def test_explain_of_a_trial_that_gets_nowhere_promises_nothing(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    """The control: the test above sees a promise."""
    at = where(valkey, namespace)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        id = await on_trial(memory, [(True, 0.0), (False, 1.0)] * 4, days=4)
    one = as_json(["explain", id, *at], tmp_path)
    assert (one["left"], one["days"]) == (None, None)
    assert one["harms"] >= 1 > one["live"]
    words = told(["explain", id, *at], tmp_path)
    assert "more" not in words
    assert "wealths are without the 2 loudest" in words


async def test_explain_tells_what_lessons_wait_for_that_are_not_on_trial(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    at = where(valkey, namespace)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        proposed = await lesson(memory)
        by_hand = await lesson(memory, text="say green", sources=("dataset:x#1",))
        active = await lesson(memory, text="say blue", state="active")
        ended = await lesson(memory, text="say pink")
        trial = Trial(ended="no result in 600 outcomes")
        await memory.commit([SetState(id=ended, state="proposed", trial=trial)], author="test")
    for id, words in {
        proposed: "waits for replays on others' graded episodes: wealth 1 of 20",
        by_hand: "waits for a person's approval",
        active: "waits for nothing: it is active",
        ended: "waits for a person's word: no result in 600 outcomes",
    }.items():
        said = told(["explain", id, *at], tmp_path)
        assert words in said
        assert "on trial since" not in said
    way = as_json(["status", *at], tmp_path)["funnel"]
    assert (way["proposed"], way["for_a_person"], way["active"]) == (1, 2, 1)


async def replayed(
    memory: TedMemory, id: str, scores: list[tuple[int, int]], *, users: int = 8
) -> None:
    """Count pairs for a proposed lesson, each on another question: scores with it and without."""
    seqs = await fill_archive(memory, [f"user-{i % users}" for i in range(len(scores))])
    for i, (seq, (right, before)) in enumerate(zip(seqs, scores, strict=True)):
        pair = Pair(
            id=id,
            since=99,
            seq=seq,
            speaker=f"user-{i % users}",
            score_with=right,
            score_without=before,
        )
        assert await memory.store.episodes.replayed(memory.namespace, pair) == "counted"


@pytest.mark.parametrize("helps", [True, False])
async def test_explain_tells_how_fast_pairs_come_and_how_many_more_where_a_lift_is_seen(
    valkey: Server, namespace: str, tmp_path: Path, *, helps: bool
) -> None:
    at = where(valkey, namespace)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        id = await lesson(memory)
        days_ago = datetime.now(UTC) - timedelta(days=3)
        old = (await memory.load()).by_id[id].model_copy(update={"created_at": days_ago})
        await memory.commit([Remove(id=id)], author="test")
        await memory.commit([Restore(experience=old)], author="test")
        await replayed(
            memory, id, [(1, 0), (1, 1), (0, 0)] * 2 if helps else [(0, 1), (1, 1), (0, 0)] * 2
        )
    one = as_json(["explain", id, *at], tmp_path)
    words = told(["explain", id, *at], tmp_path)
    assert (one["pairs"], round(one["a_day"], 1)) == (6, 2.0)
    assert f"so far 2 pairs a day since {days_ago:%Y-%m-%d}" in words
    if helps:
        assert one["left"] > 5
        assert abs(one["days"] - one["left"] / one["a_day"]) < 1e-9
        assert f"; about {one['left']} pairs more" in words
        assert "at this rate about " in words
    else:
        assert (one["left"], one["days"]) == (None, None)
        assert "more" not in words


async def test_explain_of_a_lesson_that_is_gone_tells_when_by_whom_and_why(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    at = where(valkey, namespace)
    why = "of no use: lift -0.20 in 40 pairs"
    async with open_memory(valkey.url, namespace=namespace) as memory:
        useless, unwanted, half, other = [
            await lesson(memory, text=f"say {n}") for n in ("a", "b", "c", "d")
        ]
        gone = await memory.commit(
            [SetState(id=useless, state="retired")], author="trials", why=why
        )
        await memory.commit([Remove(id=unwanted)], author="anna")
        both = Merge(ids=(half, other), text="say c, then d", sources=("principal:anna",))
        merged = (await memory.commit([both], author="distill")).applied[0].id
        at_last = (await memory.log(1))[0].at
        kept = as_json(["explain", useless, *at], tmp_path)
        words = {id: told(["explain", id, *at], tmp_path) for id in (useless, unwanted, half)}
    assert (kept["author"], kept["why"], kept["version"]) == ("trials", why, gone.version)
    assert kept["experience"]["text"] == "say a"
    assert f"taken out of the set by trials at {at_last:%Y-%m-%d}" in words[useless]
    assert f"(version {gone.version}): {why}\n" in words[useless]
    assert "came from: principal:anna" in words[useless]
    assert "taken out of the set by anna at " in words[unwanted]
    assert ": no reason is kept\n" in words[unwanted]
    assert f"merged into {merged} by distill at " in words[half]


async def test_a_lesson_that_came_back_is_explained_as_it_is_and_one_that_was_purged_without_words(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    at = where(valkey, namespace)
    async with open_memory(valkey.url, namespace=namespace) as memory:
        back, secret = (
            await lesson(memory),
            await lesson(memory, text="call Zoe", sources=("principal:zoe",)),
        )
        before = (await memory.load()).version
        await memory.commit([Remove(id=back)], author="anna", why="by mistake")
        await memory.rollback(before)
        await memory.purge("principal:zoe")
        assert "waits for replays" in told(["explain", back, *at], tmp_path)
        words = told(["explain", secret, *at], tmp_path)
    assert words.startswith(secret)
    assert "taken out of the set by " in words
    assert "oe" not in words


def test_explaining_what_is_not_there_is_one_line(
    valkey: Server, namespace: str, tmp_path: Path
) -> None:
    done = run_cli("explain", "nosuch", *where(valkey, namespace), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ted-memory: there is no experience 'nosuch' in '{namespace}'; "
        "`ted-memory show` lists them\n"
    )
