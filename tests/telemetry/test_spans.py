"""Spans of a memory: as the conventions call them, in the trace of whoever asks."""

import asyncio
import threading

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from ted_memory import TedMemory, open_memory, open_memory_sync
from ted_memory.errors import StoreUnavailable
from ted_memory.experience import assignment
from ted_memory.integrations.plain_run import PlainRun
from ted_memory.models import Add, Merge, Remove, Restore, Rewrite, SetState
from ted_memory.telemetry import operations, provider
from tests.conftest import Server
from tests.telemetry.conftest import Probe, attributes
from tests.telemetry.worlds import ASKED, LESSON, agent, learner, one_run, with_lessons


async def test_a_request_says_which_lessons_it_has_seen(probe: Probe, memory: TedMemory) -> None:
    ids = await with_lessons(memory, 2)
    await memory.load()
    await memory.present("What now?")
    span = probe.span("search_memory")
    assert span.kind == SpanKind.INTERNAL
    assert attributes(span) == {
        "gen_ai.operation.name": "search_memory",
        "gen_ai.memory.store.id": memory.namespace,
        "gen_ai.memory.record.count": 2,
        "ted_memory.lessons.seen": tuple(ids),
        "ted_memory.set.version": 1,
    }


@pytest.mark.parametrize("way", ["present", "render", "expose"])
async def test_each_way_to_be_shown_lessons_is_a_search(
    probe: Probe, memory: TedMemory, way: str
) -> None:
    [id] = await with_lessons(memory)
    await memory.load()
    for _ in range(2):  # the second one is answered from what was worked out
        await (memory.expose("", unit="u") if way == "expose" else getattr(memory, way)())
    seen = [attributes(span)["ted_memory.lessons.seen"] for span in probe.spans("search_memory")]
    assert seen == [(id,), (id,)]


async def test_the_agents_span_says_what_was_seen_and_what_the_coin_withheld(
    probe: Probe, valkey: Server, namespace: str
) -> None:
    async with open_memory(valkey.url, namespace=namespace, read_timeout=5) as memory:
        shown = await with_lessons(memory)
        tried = await with_lessons(memory, 3, on_trial=True)
        await memory.load()
        for i in range(12):
            with probe.tracer.start_as_current_span("request") as request:
                await one_run(memory, thread_id=f"t{i}")
            [search] = [
                span
                for span in probe.spans("search_memory")
                if span.context.trace_id == request.get_span_context().trace_id
            ]
            assert search.parent is not None
            assert search.parent.span_id == request.get_span_context().span_id
    sides = set()
    for span in (*probe.spans("request"), *probe.spans("search_memory")):
        told = attributes(span)
        seen, withheld = (
            set(told.get(f"ted_memory.lessons.{name}", ())) for name in ("seen", "withheld")
        )
        assert seen | withheld == {*shown, *tried}
        assert not seen & withheld
        sides |= {("seen", id) for id in seen} | {("withheld", id) for id in withheld}
    assert {("seen", id) for id in tried} & sides, "a coin falls on both sides"
    assert {("withheld", id) for id in tried} & sides


async def test_without_the_coin_nothing_would_be_withheld(
    probe: Probe, valkey: Server, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(assignment, "COIN", 1.0)
    with pytest.raises(AssertionError):
        await test_the_agents_span_says_what_was_seen_and_what_the_coin_withheld(
            probe, valkey, namespace
        )


def test_a_synchronous_program_finds_it_in_its_trace(
    probe: Probe, valkey: Server, namespace: str
) -> None:
    with open_memory_sync(valkey.url, namespace=namespace, read_timeout=5) as memory:
        with probe.tracer.start_as_current_span("job"):
            memory.commit([Add(text=LESSON)], author="test")
            memory.present("?")
            agent(memory.memory).invoke(ASKED)
        memory.flush()
    job = probe.span("job")
    assert len(probe.spans("search_memory")) == 2
    for name in ("search_memory", "create_memory"):
        for span in probe.spans(name):
            assert span.parent is not None
            assert span.parent.span_id == job.context.span_id
    assert len(attributes(job)["ted_memory.lessons.seen"]) == 1


async def test_requests_side_by_side_stay_apart(probe: Probe, memory: TedMemory) -> None:
    await with_lessons(memory)
    await memory.load()

    async def request(number: int) -> None:
        with probe.tracer.start_as_current_span(f"request {number}"):
            await asyncio.sleep(0)
            await memory.present("?")

    await asyncio.gather(*(request(i) for i in range(8)))

    def in_a_thread() -> None:
        asyncio.run(request(8))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    await asyncio.to_thread(thread.join)
    parents = {span.parent.span_id for span in probe.spans("search_memory") if span.parent}
    assert parents == {probe.span(f"request {i}").context.span_id for i in range(9)}


async def test_a_commit_is_a_span_for_each_kind_of_edit(probe: Probe, memory: TedMemory) -> None:
    a, b, c, d = [
        one.id
        for one in (
            await memory.commit([Add(text=f"Lesson {i}") for i in range(4)], author="test")
        ).applied
    ]
    assert attributes(probe.span("create_memory")) == {
        "gen_ai.operation.name": "create_memory",
        "gen_ai.memory.store.id": memory.namespace,
        "gen_ai.memory.record.count": 4,
        "ted_memory.lessons.changed": (a, b, c, d),
        "ted_memory.set.version": 1,
    }
    assert probe.span("create_memory").kind == SpanKind.CLIENT
    with probe.tracer.start_as_current_span("request") as request:
        await memory.commit(
            [
                Rewrite(id=a, text="Another"),
                Remove(id=b),
                Remove(id="gone"),
                Merge(ids=(c, d), text="One"),
            ],
            author="test",
        )
    mixed = {span.name: attributes(span) for span in probe.spans() if span.name != "request"}
    assert mixed["update_memory"]["gen_ai.memory.record.id"] == a
    assert mixed["delete_memory"]["gen_ai.memory.record.id"] == b
    assert mixed["delete_memory"]["gen_ai.memory.record.count"] == 2
    assert mixed["delete_memory"]["ted_memory.edits.refused"] == ("unknown",)
    assert mixed["upsert_memory"]["ted_memory.set.version"] == 2
    of_it = [probe.span(name) for name in ("update_memory", "delete_memory", "upsert_memory")]
    assert {s.parent.span_id for s in of_it if s.parent} == {request.get_span_context().span_id}
    assert len({s.start_time for s in of_it}) == 1, "they are one step"


@pytest.mark.parametrize(
    ("edit", "operation"),
    [
        (SetState(id="a", state="active"), "update_memory"),
        (SetState(id="a", state="retired"), "delete_memory"),
    ],
)
def test_a_lesson_that_is_retired_is_deleted(edit: SetState, operation: str) -> None:
    assert operations.operation_of(edit) == operation


def test_each_kind_of_edit_has_an_operation() -> None:
    kinds = {Add, Rewrite, Merge, Remove, SetState, Restore}
    assert kinds == {*operations._OPERATIONS, SetState}


async def test_what_people_do_with_a_set_is_there_too(probe: Probe, memory: TedMemory) -> None:
    [id] = await with_lessons(memory, on_trial=True)
    await memory.approve(id, author="bruno")
    await memory.reject(id, author="bruno")
    await memory.rollback(2)
    await memory.purge("author:test")
    await memory.repository.drop()
    names = [span.name for span in probe.spans()]
    assert names == [
        *("create_memory", "update_memory", "update_memory", "delete_memory"),
        *("upsert_memory", "delete_memory", "delete_memory_store"),
    ]
    dropped = probe.span("delete_memory_store")
    assert attributes(dropped)["gen_ai.memory.store.id"] == memory.namespace


async def test_a_commit_that_fails_says_so_without_the_message(
    probe: Probe, own_server: Server, namespace: str
) -> None:
    async with open_memory(own_server.url, namespace=namespace) as memory:
        await memory.commit([Add(text="First")], author="test")
        await memory.load()
        own_server.stop()
        with pytest.raises(StoreUnavailable):
            await memory.commit([Add(text=LESSON)], author="test")
    span = probe.spans("create_memory")[-1]
    assert attributes(span)["error.type"] == "StoreUnavailable"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert not span.events


async def test_a_plain_run_is_told_as_well(probe: Probe, memory: TedMemory) -> None:
    [id] = await with_lessons(memory)
    await memory.load()
    async with PlainRun(memory, "Where to?") as run:
        run.answer("There.")
    assert attributes(probe.span("search_memory"))["ted_memory.lessons.seen"] == (id,)


async def test_an_episode_is_a_span_with_what_came_of_it(probe: Probe, memory: TedMemory) -> None:
    run = await one_run(memory)
    await memory.give_feedback(run, score=0.0, correction="dock walrus")
    await learner(memory).run(until_empty=True)
    span = probe.span("ted_memory.learn")
    assert attributes(span) == {
        "gen_ai.memory.store.id": memory.namespace,
        "ted_memory.run.id": run,
        "ted_memory.outcome": "learned",
    }
    [created] = probe.spans("create_memory")
    assert created.parent is not None
    assert created.parent.span_id == span.context.span_id


async def test_what_is_set_on_the_current_span_alone_is_found_by_these_tests(
    probe: Probe, memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without it the request's span says nothing."""
    monkeypatch.setattr(provider.trace, "get_current_span", lambda *_: provider.trace.INVALID_SPAN)
    await with_lessons(memory)
    with probe.tracer.start_as_current_span("request"):
        await memory.present("?")
    assert not attributes(probe.span("request"))
