"""What a run was worth, as events of the conventions: feedback, and the grades of a learner."""

from typing import Any

import pytest
from opentelemetry import trace

from ted_memory import TedMemory, telemetry
from ted_memory.grading.judge import Judge
from ted_memory.telemetry import runs
from tests.integrations.agents import Scripted
from tests.telemetry.conftest import Probe, set_providers
from tests.telemetry.worlds import COMMENT, learner, one_run

EVENT = "gen_ai.evaluation.result"


async def test_feedback_is_an_event_in_the_trace_of_the_run(
    probe: Probe, memory: TedMemory
) -> None:
    with probe.tracer.start_as_current_span("request") as request:
        run = await one_run(memory)
    with probe.tracer.start_as_current_span("later"):
        await memory.give_feedback(run, score=0.25, comment=COMMENT, principal="anna")
    [event] = probe.events()
    assert event.event_name == EVENT
    assert dict(event.attributes) == {
        "gen_ai.evaluation.name": "feedback",
        "gen_ai.evaluation.score.value": 0.25,
        "gen_ai.evaluation.score.label": "partial",
        "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.memory.store.id": memory.namespace,
        "ted_memory.run.id": run,
        "ted_memory.feedback.verdict": "credited",
    }
    of_the_run = request.get_span_context()
    assert (event.trace_id, event.span_id) == (of_the_run.trace_id, of_the_run.span_id)


async def test_of_a_run_that_began_elsewhere_it_is_in_the_trace_of_whoever_speaks(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_RUNS", 0)  # forgotten at once
    with probe.tracer.start_as_current_span("request"):
        run = await one_run(memory)
    with probe.tracer.start_as_current_span("later") as later:
        await memory.give_feedback(run, score=1.0)
    [event] = probe.events()
    assert event.span_id == later.get_span_context().span_id
    assert "gen_ai.response.id" not in event.attributes


async def test_no_more_than_the_latest_runs_are_remembered(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_RUNS", 3)
    kept = runs.Runs()
    for i in range(5):
        kept.begin(f"r{i}")
    assert [kept.find(f"r{i}") is not None for i in range(5)] == [False, False, True, True, True]


async def test_a_program_that_keeps_no_events_has_it_on_its_current_span(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_providers(monkeypatch, probe.traces, probe.meters, None)
    run = await one_run(memory)
    with probe.tracer.start_as_current_span("later"):
        await memory.give_feedback(run, score=1.0)
    [event] = probe.span("later").events
    assert event.name == EVENT
    assert event.attributes is not None
    assert event.attributes["gen_ai.evaluation.score.label"] == "pass"
    assert not probe.events()


async def test_words_without_a_score_and_strangers_words_are_no_result(
    probe: Probe, memory: TedMemory
) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, comment="Hm.", principal="anna")
    await memory.give_feedback(run, score=1.0, principal="bruno")
    assert not probe.events()
    assert probe.points("ted_memory.feedback") == {
        (("ted_memory.feedback.verdict", "kept"),): 1,
        (("ted_memory.feedback.verdict", "foreign"),): 1,
    }


def judge() -> Judge:
    return Judge(Scripted(script=lambda _: '{"score": 0.0, "reason": "It guessed."}'))


async def graded(memory: TedMemory, **feedback: Any) -> None:
    run = await one_run(memory)
    if feedback:
        await memory.give_feedback(run, **feedback)
    await learner(memory, grader=judge()).run(until_empty=True)


async def test_a_learners_grade_of_a_live_run_is_an_event(probe: Probe, memory: TedMemory) -> None:
    await graded(memory)
    names = [event.attributes["gen_ai.evaluation.name"] for event in probe.events()]
    assert names == ["grade"]
    [event] = probe.events()
    assert event.attributes["gen_ai.evaluation.score.value"] in {0.0, 1.0}


async def test_where_somebody_has_said_it_there_is_no_grade_beside(
    probe: Probe, memory: TedMemory
) -> None:
    await graded(memory, score=0.0)
    names = [event.attributes["gen_ai.evaluation.name"] for event in probe.events()]
    assert names == ["feedback"]


def test_a_score_has_a_word(probe: Probe) -> None:
    labels = [telemetry.Evaluation("grade", "n", "r", s).label for s in (1.0, 0.5, 0.0)]
    assert labels == ["pass", "partial", "fail"]
    assert trace.get_tracer_provider() is probe.traces
