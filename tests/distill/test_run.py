"""The data set loop: staging, gate, going on after an interruption."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
import redis.asyncio
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ted_memory import Sample, TedMemory, open_memory
from ted_memory.distill import Report, distill
from ted_memory.distill.run import split
from ted_memory.errors import InvalidInput, ModelError
from ted_memory.testing import Reply, ScriptedServer, in_memory
from tests.conftest import Server
from tests.distill.scripts import (
    CODES,
    SlowChatModel,
    add,
    calls_of,
    critique,
    follows,
    knows,
    prompt_of,
    role,
    sample,
    samples,
    student,
    teacher,
    thing_in,
)


async def test_the_report_says_what_the_run_did(memory: TedMemory) -> None:
    told: list[Any] = []
    report = await distill(
        samples(),
        student=student(),
        teacher=teacher(),
        memory=memory,
        name="codes",
        on_progress=told.append,
    )
    now = await memory.load()
    assert (report.namespace, report.version) == (memory.namespace, now.version)
    assert report.samples == 12
    assert report.learned >= 4
    assert report.set_aside == 0
    assert report.experiences.active == len(now.active)
    assert report.experiences.tokens > sum(e.tokens for e in now.active)
    assert report.gate is not None
    gate = report.gate
    assert (gate.before, gate.passed, gate.verdict) == (0.0, True, "helps")
    assert gate.after >= 0.5, (
        "a lesson does not judge itself: of four things one has only its own sample left"
    )
    assert gate.samples <= gate.pairs, "each sample judges, some of them again"
    assert all(lesson.kept for lesson in gate.lessons)
    assert report.promoted
    fields = report.model_dump(mode="json")
    assert {
        "namespace",
        "version",
        "samples",
        "learned",
        "set_aside",
        "experiences",
        "spend",
        "seconds",
    } <= set(fields)
    assert set(fields["experiences"]) == {"active", "tokens"}
    assert {"calls", "tokens_in", "tokens_out"} <= set(fields["spend"]["student"])
    assert (told[0].phase, told[0].done, told[0].total) == ("distil", 0, 12)
    assert (told[-1].phase, told[-1].done) == ("validate", gate.pairs)


async def test_every_lesson_names_the_sample_that_it_comes_from(scratch: TedMemory) -> None:
    await distill(samples(), student=student(), teacher=teacher(), memory=scratch, name="codes")
    for lesson in await scratch.load():
        [source] = lesson.sources
        name, _, id = source.partition("#")
        assert name == "dataset:codes"
        assert id.split("-")[0] in lesson.when


async def test_agents_see_nothing_until_one_commit_brings_it_all(
    valkey: Server, memory: TedMemory
) -> None:
    async with open_memory(valkey.url, namespace=memory.namespace) as agent:
        seen: list[int] = []
        over = asyncio.Event()

        async def watch() -> None:
            while not over.is_set():
                seen.append((await agent.load()).version)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        try:
            await distill(
                samples(), student=student(), teacher=teacher(), memory=memory, name="codes"
            )
        finally:
            # not cancel(): on Python 3.11 one that meets a sent command gets lost in
            # asyncio.wait_for
            over.set()
            await watching
        assert len(seen) > 10
        assert set(seen) <= {0, 1}
        [entry] = await agent.log()
        assert entry.author == "distill:codes"
        assert len(entry.changes) == len(await agent.load()) >= 4


async def test_without_a_gate_what_was_learned_goes_live(namespace: str) -> None:
    memory = in_memory(namespace=namespace, validation=0.0)
    report = await distill(samples(), student=student(), teacher=teacher(), memory=memory)
    assert report.gate is None
    assert report.samples == 12
    assert report.promoted


async def test_nothing_of_the_run_is_left_behind(valkey: Server, memory: TedMemory) -> None:
    await distill(samples(), student=student(), teacher=teacher(), memory=memory)
    async with redis.asyncio.Redis.from_url(valkey.url, decode_responses=True) as client:
        left = [key async for key in client.scan_iter(match=f"ted:{{{memory.namespace}~*")]
        assert all([await client.ttl(key) > 0 for key in left])
        # what a token answered ends by itself; a late repeat must still find it
        ends = (":applied:", ":credited:")
        assert [
            key for key in left if not any(e in key for e in ends) or await client.ttl(key) < 0
        ] == []
        assert not [
            n
            for n in await client.smembers("ted:namespaces")
            if n.startswith(f"{memory.namespace}~")
        ]


# Interrupted and started again.


def _paid(*models: SlowChatModel) -> Counter[tuple[str, str]]:
    """Count the calls that were asked, by role and task."""
    return Counter(
        (role(m), str(m[-1].text if role(m) == "teacher" else m[1].text))
        for x in models
        for m in x.asked
    )


def _slow_models() -> tuple[SlowChatModel, SlowChatModel]:
    slow = random.Random(1)
    pause = lambda _: slow.uniform(0.001, 0.004)  # noqa: E731
    return (
        SlowChatModel(script=follows, name_told="student", pause=pause),
        SlowChatModel(script=teacher().script, name_told="teacher", pause=pause),
    )


async def _interrupted(
    memory: TedMemory, models: tuple[SlowChatModel, SlowChatModel], seed: int
) -> tuple[Report, int]:
    """Cancel the run at random moments until it gets through.

    Return its report and the number of cancellations.
    """
    moments, cancelled = random.Random(seed), 0
    while True:
        run = asyncio.create_task(
            distill(samples(), student=models[0], teacher=models[1], memory=memory)
        )
        done, _ = await asyncio.wait(
            [run], timeout=moments.uniform(0.02, 0.06) * (1 + cancelled / 10)
        )
        if done:
            return await run, cancelled
        run.cancel()
        cancelled += 1
        await asyncio.wait([run])
        # Python 3.11 loses a cancellation now and then: it got through all the same
        if not run.cancelled():
            return await run, cancelled
        assert cancelled < 200, "it never gets anywhere"


@pytest.mark.parametrize("seed", range(3))
async def test_a_run_that_is_cancelled_again_and_again_ends_like_one_that_is_not(
    memory: TedMemory, seed: int
) -> None:
    calm = in_memory(namespace="calm", concurrency=2)
    models = _slow_models()
    straight = await distill(samples(), student=models[0], teacher=models[1], memory=calm)
    for_one = max(_calls_per_sample(models).values())

    torn = memory.for_namespace(f"{memory.namespace}-torn")
    torn.settings = torn.settings.model_copy(update={"concurrency": 2})
    again = _slow_models()
    report, cancelled = await _interrupted(torn, again, seed)
    assert cancelled
    assert (report.samples, report.set_aside) == (straight.samples, 0)
    assert {(e.when, e.text) for e in await torn.load()} == {
        (e.when, e.text) for e in await calm.load()
    }
    assert (await torn.load()).version == 1, "one commit, whatever happened on the way"
    spent, most = (sum(len(m.asked) for m in pair) for pair in (again, models))
    # two samples were in flight at each cancellation; a sample of which a sibling taught the lesson
    # costs less
    assert spent <= most + cancelled * 2 * for_one + len(samples()) * for_one * (
        report.resumed == 0
    )


def _calls_per_sample(models: tuple[SlowChatModel, SlowChatModel]) -> Counter[str]:
    return Counter(_task(messages) for model in models for messages in model.asked)


def _task(messages: list[BaseMessage]) -> str:
    line = prompt_of(messages[1:] if role(messages) != "teacher" else messages[-1:])
    return next(s.text for s in samples(12) if s.text in line)


async def test_samples_that_are_done_are_not_asked_about_again(namespace: str) -> None:
    memory = in_memory(namespace=namespace, concurrency=1)
    enough = asyncio.Event()

    def stop_after_five(progress: Any) -> None:
        if progress.done == 5:
            enough.set()

    first, answering, teaching = teacher(), student(), teacher()
    run = asyncio.create_task(
        distill(
            samples(), student=student(), teacher=first, memory=memory, on_progress=stop_after_five
        )
    )
    await enough.wait()
    run.cancel()
    await asyncio.wait([run])
    report = await distill(samples(), student=answering, teacher=teaching, memory=memory)
    assert report.resumed == 5
    asked_again = {str(m[-1].text) for m in teaching.asked if role(m) == "teacher"}
    asked_before = {str(m[-1].text) for m in first.asked if role(m) == "teacher"}
    assert len(asked_again) == 7
    assert len(asked_again & asked_before) <= 1, "only what was in flight"
    assert report.spend.teacher.calls > len(teaching.asked), "the spend is of the whole run"


async def test_a_finished_run_started_again_is_a_new_run(scratch: TedMemory) -> None:
    first = await distill(samples(), student=student(), teacher=teacher(), memory=scratch)
    [entry] = await scratch.log()
    teaching = teacher()
    second = await distill(samples(), student=student(), teacher=teaching, memory=scratch)
    assert second.resumed == 0
    assert calls_of(teaching, "teacher") == second.samples == first.samples
    later = [e for e in await scratch.log() if e.version > entry.version]
    assert len(later) <= 1
    assert all(e.token != entry.token for e in later)


# What must not stop it.


async def test_a_teacher_that_writes_nonsense_ends_with_reasons(scratch: TedMemory) -> None:
    report = await distill(
        samples(), student=student(), teacher=teacher(lambda _: "Be good!"), memory=scratch
    )
    assert (report.learned, report.set_aside, report.promoted) == (0, 12, False)
    assert len(report.reasons) == 12
    assert all("it is not JSON" in r.reason and "Be good!" in r.reason for r in report.reasons)
    assert len(await scratch.load()) == 0


async def test_one_bad_sample_never_stops_a_run(scratch: TedMemory) -> None:
    train, _ = split(samples(), 0.2)
    bad = train[0]

    def chokes(messages: list[BaseMessage]) -> str:
        if str(messages[-1].text) == bad.text:
            raise RuntimeError("I choke on this")
        return follows(messages)

    report = await distill(samples(), student=student(chokes), teacher=teacher(), memory=scratch)
    assert bad.id in [r.sample for r in report.reasons]
    assert all("I choke on this" in r.reason for r in report.reasons)
    assert report.learned > 0
    assert report.promoted


async def test_a_sample_on_which_the_student_fails_does_not_spoil_its_neighbours_tries(
    scratch: TedMemory,
) -> None:
    train, _ = split(samples(), 0.2)
    bad = train[0]

    def chokes(messages: list[BaseMessage]) -> str:
        if str(messages[-1].text) == bad.text:
            raise RuntimeError("I choke on this")
        return follows(messages)

    report = await distill(samples(), student=student(chokes), teacher=teacher(), memory=scratch)
    assert [r.sample for r in report.reasons] == [bad.id]


async def test_a_sample_that_cannot_be_asked_at_the_gate_does_not_stop_a_run(
    scratch: TedMemory,
) -> None:
    def chokes(messages: list[BaseMessage]) -> str:
        if str(messages[-1].text) == samples()[5].text and at_the_gate:
            raise RuntimeError("I choke on this")
        return follows(messages)

    def watch(step: Any) -> None:
        if step.phase == "validate":
            at_the_gate.append(1)

    at_the_gate: list[int] = []
    report = await distill(
        samples(), student=student(chokes), teacher=teacher(), memory=scratch, on_progress=watch
    )
    assert report.promoted
    assert report.gate is not None
    assert {f.sample for f in report.gate.failures} <= {samples()[5].id}


async def test_no_samples_and_ids_that_stand_twice_are_told_at_once(scratch: TedMemory) -> None:
    with pytest.raises(InvalidInput, match="no samples"):
        await distill([], student=student(), teacher=teacher(), memory=scratch)
    with pytest.raises(InvalidInput, match="two samples have the id 'apples-0'"):
        await distill(
            [sample("apples"), sample("apples")],
            student=student(),
            teacher=teacher(),
            memory=scratch,
        )


async def test_no_more_calls_are_in_flight_than_the_setting_says(namespace: str) -> None:
    memory = in_memory(namespace=namespace, concurrency=3)
    flight: list[int] = []
    gauge = {"now": 0}
    models = [
        SlowChatModel(
            script=script, name_told=name, pause=lambda _: 0.002, flight=flight, gauge=gauge
        )
        for name, script in (("student", follows), ("teacher", teacher().script))
    ]
    for model in models:
        model.flight, model.gauge = flight, gauge  # pydantic copies containers
    await distill(samples(), student=models[0], teacher=models[1], memory=memory)
    assert max(flight) == 3
    assert len(flight) > 50


async def test_groups_that_always_say_the_same_are_counted(scratch: TedMemory) -> None:
    report = await distill(samples(), student=student(knows), teacher=teacher(), memory=scratch)
    assert report.collapsed == 12


# Splitting.


def test_the_split_is_the_same_every_time_and_takes_from_every_kind() -> None:
    many = [
        Sample(id=f"{c}{i}", input="?", reference=c, category=c) for c in "abcd" for i in range(50)
    ]
    train, held_out = split(many, 0.2)
    assert Counter(s.category for s in held_out) == dict.fromkeys("abcd", 10)
    assert {s.id for s in train} | {s.id for s in held_out} == {s.id for s in many}
    assert {s.id for s in split(many[::-1], 0.2)[1]} == {s.id for s in held_out}


@pytest.mark.parametrize("count", [1, 2, 199, 200, 300])
@pytest.mark.parametrize("validation", [0.0, 0.01, 0.2, 0.99])
def test_of_few_samples_none_is_held_out_and_of_many_something_is_left_to_learn_from(
    count: int, validation: float
) -> None:
    given = [sample("apples", i) for i in range(count)]
    train, held_out = split(given, validation)
    assert train
    assert len(train) + len(held_out) == count
    assert bool(held_out) == (validation > 0 and count >= 200)


# Over the wire.


def _client(base_url: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=base_url, api_key=SecretStr("none"), max_retries=0, timeout=5
    )


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "API key"), (403, "API key"), (404, "model's name")]
)
async def test_a_model_that_cannot_be_used_stops_the_run_with_one_line(
    scratch: TedMemory, status: int, advice: str
) -> None:
    async with ScriptedServer(
        lambda _: Reply(status=status, text="No.\nNot you.")
    ).serve() as server:
        with pytest.raises(ModelError) as failure:
            await distill(
                samples(), student=_client(server.base_url, "s"), teacher=teacher(), memory=scratch
            )
    assert "\n" not in str(failure.value)
    assert advice in str(failure.value)
    assert "the student cannot be used" in str(failure.value)
    assert "call again to go on" in str(failure.value)


async def test_a_server_that_is_not_there_stops_the_run_with_one_line(scratch: TedMemory) -> None:
    async with ScriptedServer(lambda _: "").serve() as server:
        gone = _client(server.base_url, "t")
    with pytest.raises(ModelError, match="Is its server running") as failure:
        await distill(samples(), student=student(), teacher=gone, memory=scratch)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_for_a_moment_costs_nothing_but_a_moment(
    scratch: TedMemory, status: int
) -> None:
    hits: list[int] = []

    def busy(request: dict[str, Any]) -> Reply | str:
        hits.append(1)
        if len(hits) % 3 == 1:
            return Reply(status=status)
        prompt = "\n".join(str(m["content"]) for m in request["messages"])
        if '"edits"' not in prompt:
            return CODES[thing_in(prompt)]
        return critique(add(f"say {CODES[thing_in(prompt)]}", f"asked about {thing_in(prompt)}"))

    async with ScriptedServer(busy).serve() as server:
        report = await distill(
            samples(2, 1), student=student(), teacher=_client(server.base_url, "t"), memory=scratch
        )
    assert (report.learned, report.set_aside) == (2, 0)


async def test_images_reach_the_models_as_content_blocks(scratch: TedMemory) -> None:
    png = "data:image/png;base64,iVBORw0KGgo="
    given = [sample("apples", i, images=(png, "https://example.org/a.png")) for i in range(2)]
    async with ScriptedServer(lambda _: "no idea").serve() as server:
        client = _client(server.base_url, "m")
        await distill(given, student=client, teacher=client, memory=scratch)
        solving = [r for r in server.requests if isinstance(r["messages"][-1]["content"], list)]
    assert solving
    for request in solving:
        content = request["messages"][-1]["content"]
        assert [block["type"] for block in content] == ["text", "image_url", "image_url"]
        assert [block["image_url"]["url"] for block in content[1:]] == [
            png,
            "https://example.org/a.png",
        ]
