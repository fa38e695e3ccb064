"""What people and lessons say is in no span, event or metric, unless somebody asks for it."""

import json

import pytest

from ted_memory import TedMemory
from ted_memory.models import Add
from ted_memory.settings import shows_content
from ted_memory.telemetry import provider
from tests.telemetry.conftest import CONTENT, Probe, attributes, set_providers
from tests.telemetry.worlds import (
    COMMENT,
    CONDITION,
    CORRECTION,
    LESSON,
    QUESTION,
    WORDS,
    learner,
    one_run,
    with_lessons,
)


async def all_that_happens(memory: TedMemory, probe: Probe) -> None:
    """A request, feedback with words, a learner that learns, and an operator's edits."""
    [id] = await with_lessons(memory)
    with probe.tracer.start_as_current_span("request"):
        run = await one_run(memory)
    await memory.give_feedback(
        run, score=0.0, comment=COMMENT, correction=CORRECTION, principal="anna"
    )
    report = await learner(memory).run(until_empty=True)
    assert report.outcomes["learned"] == 1
    await memory.reject(id, author="anna")
    await memory.forget("principal", "anna")


def words_in(probe: Probe) -> set[str]:
    told = probe.everything().lower()
    return {word for word in WORDS if word in told}


async def test_nobody_finds_words_in_what_is_exported(probe: Probe, memory: TedMemory) -> None:
    await all_that_happens(memory, probe)
    assert len(probe.spans()) > 5
    assert probe.events()
    assert words_in(probe) == set()


async def test_words_would_be_found(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: asked for, they are there, and the search for them finds them."""
    monkeypatch.setenv(CONTENT, "SPAN_AND_EVENT")
    set_providers(monkeypatch, probe.traces, probe.meters, probe.logs, anew=True)
    await all_that_happens(memory, probe)
    assert {"quokka", "zeppelin", "marmalade", "pelican", "walrus"} <= words_in(probe)


async def test_who_asks_for_it_finds_the_question_and_the_lessons(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT, "true")
    set_providers(monkeypatch, probe.traces, probe.meters, probe.logs, anew=True)
    [id] = await with_lessons(memory)
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, comment=COMMENT)
    search = attributes(probe.span("search_memory"))
    assert search["gen_ai.memory.query.text"] == QUESTION
    content = f"When {CONDITION}: {LESSON}"
    assert json.loads(search["gen_ai.memory.records"]) == [
        {"id": id, "content": content, "metadata": {"state": "active"}}
    ]
    [created] = json.loads(attributes(probe.span("create_memory"))["gen_ai.memory.records"])
    assert created == {"id": id, "content": content}
    [event] = probe.events()
    assert event.attributes["gen_ai.evaluation.explanation"] == COMMENT


@pytest.mark.parametrize(
    ("asked", "spans", "events"),
    [
        ("", False, False),
        ("NO_CONTENT", False, False),
        ("false", False, False),
        ("span_only", True, False),
        ("EVENT_ONLY", False, True),
        ("SPAN_AND_EVENT", True, True),
        ("true", True, True),
    ],
)
def test_the_variable_of_the_conventions_says_where(
    monkeypatch: pytest.MonkeyPatch, asked: str, spans: bool, events: bool
) -> None:
    monkeypatch.setenv(CONTENT, asked)
    assert shows_content() == (spans, events)


async def test_a_long_commit_lists_no_more_than_a_span_can_hold(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "MOST", 3)
    await memory.commit([Add(text=f"Lesson {i}") for i in range(5)], author="test")
    told = attributes(probe.span("create_memory"))
    assert len(told["ted_memory.lessons.changed"]) == 3
    assert told["gen_ai.memory.record.count"] == 5
