"""Metrics of a memory: what is counted, in which units, and that no label tells of anybody."""

import asyncio
import re
from typing import Any

import pytest

from ted_memory import TedMemory, open_memory
from ted_memory.learner import trials
from ted_memory.models import Remove
from ted_memory.telemetry.metrics import REASONS
from tests.conftest import Server
from tests.telemetry.conftest import Probe
from tests.telemetry.worlds import learner, one_run, with_lessons

UNIT = re.compile(r"s|\{[a-z]+\}")


def total(points: dict[Any, float], **labels: str) -> float:
    """Add up the points that have these labels, of ours."""
    wanted = {(f"ted_memory.{name}", value) for name, value in labels.items()}
    return sum(value for of, value in points.items() if wanted <= set(of))


async def test_reads_runs_commits_and_feedback_are_counted(probe: Probe, memory: TedMemory) -> None:
    [id] = await with_lessons(memory)
    await memory.commit([Remove(id="gone"), Remove(id=id)], author="test")
    await memory.present("?")
    run = await one_run(memory)
    await memory.give_feedback(run, score=1.0, principal="anna")
    assert probe.points("ted_memory.searches") == {(): 2}
    assert total(probe.points("ted_memory.read.duration")) >= 1
    assert probe.points("ted_memory.commit.duration") == {(): 2}
    edits = probe.points("ted_memory.edits")
    assert total(edits, outcome="applied") == 2
    assert total(edits, outcome="unknown") == 1
    assert total(probe.points("ted_memory.runs"), outcome="recorded") == 1
    assert probe.points("ted_memory.feedback") == {
        (("ted_memory.feedback.verdict", "credited"),): 1
    }


async def test_a_learner_counts_claims_calls_tokens_and_outcomes(
    probe: Probe, memory: TedMemory
) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, correction="dock walrus", principal="anna")
    report = await learner(memory).run(until_empty=True)
    assert probe.points("ted_memory.claims") == {(): 1}
    assert total(probe.points("ted_memory.episode.duration"), outcome="learned") == 1
    assert report.outcomes["learned"] == 1
    calls, tokens = probe.points("ted_memory.model.calls"), probe.points("ted_memory.model.tokens")
    today = (await memory.traffic()).today
    for role in ("student", "teacher"):
        assert total(calls, role=role, stage="learn") == today[f"{role}_calls"] > 0
        told = total(tokens, role=role, stage="learn")
        assert told == today[f"{role}_tokens_in"] + today[f"{role}_tokens_out"] > 0


async def test_replays_are_counted_and_paid_for_as_such(
    probe: Probe, valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace) as memory:
        for who in ("anna", "bruno"):
            run = await one_run(memory, principal=who)
            await memory.give_feedback(run, score=0.0, correction="dock walrus", principal=who)
        report = await learner(memory).run(until_empty=True)
    assert report.replayed > 0
    assert total(probe.points("ted_memory.pairs"), outcome="counted") == report.replayed
    assert total(probe.points("ted_memory.model.calls"), stage="replay") > 0


async def test_lessons_that_a_learner_moves_are_counted(probe: Probe, memory: TedMemory) -> None:
    ids = await with_lessons(memory, 2, on_trial=True)
    snapshot = await memory.load()
    moved = [
        trials.SetState(id=ids[0], state="active"),
        trials.SetState(id=ids[1], state="retired"),
    ]
    await trials._count(moved, snapshot, memory)
    moves = probe.points("ted_memory.lesson.moves")
    assert total(moves, **{"lesson.move": "activated"}) == 1
    assert total(moves, **{"lesson.move": "retired"}) == 1


async def test_runs_that_find_no_place_are_counted_as_dropped(
    probe: Probe, valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, buffer_episodes=1) as memory:
        await asyncio.gather(*(one_run(memory, thread_id=str(i)) for i in range(6)))
    counted = memory.health()  # closed, it has counted those that were begun as well
    assert counted.dropped > 0
    runs = probe.points("ted_memory.runs")
    assert total(runs, outcome="dropped") == counted.dropped
    assert total(runs, outcome="recorded") == counted.recorded


async def test_a_look_that_fails_is_counted_with_the_class_of_its_error(
    probe: Probe, own_server: Server, namespace: str
) -> None:
    async with open_memory(own_server.url, namespace=namespace, refresh=0) as memory:
        await memory.load()
        own_server.stop()
        await memory._snapshots._refreshing()
        reads = probe.points("ted_memory.read.duration")
        failed = [value for of, value in reads.items() if dict(of).get("error.type")]
        assert sum(failed) >= memory.health().failed_reads > 0


async def test_each_metric_has_a_name_and_a_unit_as_the_conventions_write_them(
    probe: Probe, memory: TedMemory
) -> None:
    await test_a_learner_counts_claims_calls_tokens_and_outcomes(probe, memory)
    await with_lessons(memory)
    assert len(probe.units()) >= 9
    for name, unit in probe.units().items():
        assert re.fullmatch(r"ted_memory(\.[a-z]+)+", name)
        assert not name.endswith((".total", ".count"))
        assert UNIT.fullmatch(unit), f"{name} in {unit!r}"
        assert (unit == "s") == name.endswith(".duration")


async def test_labels_are_a_few_words_of_ours(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No namespace, run, lesson or person is one: their number has no bound."""
    for i in range(3):
        other = memory.for_namespace(f"{memory.namespace}-{i}")
        await with_lessons(other, i + 1)
        run = await one_run(other, principal=f"anna {i}")
        await other.give_feedback(run, score=0.0, correction="dock walrus", principal=f"anna {i}")
        await learner(other).run(until_empty=True)
    allowed = {
        "gen_ai.operation.name": {
            f"{op}_memory" for op in ("create", "update", "upsert", "delete")
        },
        "ted_memory.outcome": {
            *("applied", "other", "recorded", "dropped", "broken", *REASONS),
            *("learned", "nothing", "set_aside", "settled", "released", "failed", "dead", "fenced"),
            *("counted", "repeated", "changed"),
        },
        "ted_memory.feedback.verdict": {"credited", "corrected", "unknown", "limited", "kept"},
        "ted_memory.role": {"student", "teacher"},
        "ted_memory.stage": {"distill", "learn", "replay", "other"},
        "gen_ai.token.type": {"input", "output"},
    }
    labels = probe.labels()
    assert labels
    assert {name for name, _ in labels} <= {*allowed}
    assert all(value in allowed[name] for name, value in labels)
