"""What a pass keeps in its state: the sample once, others by id, the set by its version."""

import base64
import contextlib
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import before_model
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Overwrite

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import build_distillation_graph, distill
from ted_memory.distill import graph as graph_module
from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes import recall
from ted_memory.episodes import Claim, Episode
from ted_memory.errors import InvalidInput
from ted_memory.learner.samples import to_state
from ted_memory.models import Message
from ted_memory.testing import in_memory
from tests.distill.scripts import (
    CODES,
    critique,
    one_pass,
    sample,
    samples,
    student,
    teacher,
    texts_of,
)

PICTURE = 200_000  # bytes, as it is written in a sample
MOST = 1.5 * PICTURE
LABELS = {code: code for code in CODES.values()}


def picture(seed: int) -> str:
    drawn = random.Random(seed).randbytes(PICTURE * 3 // 4)
    return f"data:image/png;base64,{base64.b64encode(drawn).decode()}"


APPLES = sample("apples", images=(picture(0),))
OTHERS = [sample(thing, 1, images=(picture(i),)) for i, thing in enumerate(CODES, 1)]


def size(value: Any) -> int:
    """The bytes of a part of the state."""
    return len(json.dumps(value, default=lambda reset: reset.value))


async def written(memory: TedMemory, *, carried: bool = False) -> int:
    """Send a sample with a picture through the graph, and count the bytes that are written.

    Its peers have pictures, too.

    ``carried``: the peers stand in the state with their samples, as they once did.
    """
    graph = build_distillation_graph(
        student=student(), teacher=teacher(), memory=memory, peers=OTHERS
    )
    peers: list[dict[str, Any]] = [{"id": other.id, "score": None} for other in OTHERS]
    if carried:
        for peer, other in zip(peers, OTHERS, strict=True):
            peer["sample"] = other.model_dump(mode="json")
    given: Any = {"sample": APPLES.model_dump(mode="json"), "labels": LABELS, "peers": peers}
    count = size(given)
    async for update in graph.astream(given, stream_mode="updates"):
        count += size(update)
    assert await texts_of(memory) == ["say c000"], "the control: it was a whole pass"
    return count


async def test_one_picture_is_in_the_state_once(scratch: TedMemory) -> None:
    assert PICTURE <= await written(scratch) <= MOST


async def test_peers_that_carry_their_samples_would_be_seen(scratch: TedMemory) -> None:
    """The control of it."""
    assert await written(scratch, carried=True) > 10 * PICTURE


async def test_attempts_that_carry_the_sample_would_be_seen(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of it."""
    deal = recall.deal

    def carrying(given: Sample, *others: Any, **more: Any) -> list[Any]:
        whole = given.model_dump(mode="json")
        return [{**attempt, "sample": whole} for attempt in deal(given, *others, **more)]

    monkeypatch.setattr(recall, "deal", carrying)
    assert await written(scratch) > 5 * PICTURE


def test_a_learner_begins_a_pass_with_one_picture() -> None:
    episode = Episode(run_id="run", principal="anna", input=(Message(role="user", content="?"),))
    claim = Claim(seq=1, fence=1, deliveries=1, episode=episode)
    recent = [(other, None) for other in OTHERS]
    state = to_state(claim, APPLES, recent, judged=False, language="en")
    assert state["peers"], "the control: it has peers"
    assert PICTURE <= size(state) <= MOST


async def test_a_peer_that_the_graph_does_not_know_is_refused_without_its_picture(
    scratch: TedMemory,
) -> None:
    carried = {"sample": OTHERS[0].model_dump(mode="json"), "score": None}
    graph = build_distillation_graph(
        student=student(), teacher=teacher(), memory=scratch, peers=OTHERS[:1]
    )
    for peer in (carried, {"id": "nobody", "score": None}, {"id": OTHERS[0].id}):
        given: Any = {"sample": APPLES.model_dump(mode="json"), "peers": [peer]}
        with pytest.raises(InvalidInput, match="build the graph with `peers`") as refused:
            await graph.ainvoke(given)
        assert len(str(refused.value)) < 300


async def test_the_output_does_not_say_the_input_again(scratch: TedMemory) -> None:
    out = await one_pass(scratch, APPLES, student=student(), teacher=teacher())
    assert out["status"] == "learned"
    assert {"sample", "peers", "attempts", "set_version"}.isdisjoint(out)
    assert size(out) < PICTURE / 10


# --- the set


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Overwrite):
        yield from strings_in(value.value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from strings_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings_in(part)


@pytest.mark.parametrize("lessons", [4, 40])
async def test_a_set_is_in_no_state_however_large_it_is(scratch: TedMemory, lessons: int) -> None:
    await scratch.commit(
        [Add(text=f"Lesson {i} is long.", when=f"about {i}") for i in range(lessons)], author="me"
    )
    ids = {e.id for e in await scratch.load()}
    graph = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    given: Any = {"sample": sample("apples").model_dump(mode="json"), "labels": LABELS}
    said = set[str]()
    async for update in graph.astream(given, stream_mode="updates"):
        said |= {*strings_in(update)}
    assert said & ids, "the control: what was shown is named"
    assert not any(text.startswith("Lesson ") for text in said)


async def test_the_nodes_of_a_pass_read_the_set_once(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counted(scratch, monkeypatch)
    await one_pass(scratch, sample("apples"), student=student(), teacher=teacher())
    assert read == [], "it is at hand"


async def test_a_pass_that_another_process_takes_up_reads_its_version_from_the_log(
    scratch: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of it is the test before: the same pass, in one process."""
    await scratch.commit([Add(text="Be brief.")], author="me")
    read = counted(scratch, monkeypatch)
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    begun: Any = {"sample": sample("apples").model_dump(mode="json"), "labels": LABELS}
    for given, stop in ((begun, ["critic"]), (None, [])):
        built = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
        graph = built.builder.compile(checkpointer=saver, interrupt_before=stop)
        out = await graph.ainvoke(given, config)
        await scratch.commit([Add(text=f"Added meanwhile: {bool(stop)}.")], author="another")
    assert read == [1], "the version that the pass began with"
    assert out["status"] == "learned"
    assert "say c000" in await texts_of(scratch)


async def test_what_a_pass_taken_up_before_its_commit_rewrites_is_no_conflict(
    scratch: TedMemory,
) -> None:
    """Its edits are made on the version that it began with, which nobody has contradicted."""
    [told] = (
        await scratch.commit([Add(text="Guess.", when="asked about apples")], author="me")
    ).applied
    rewrite = {"op": "rewrite", "ids": [told.id], "when": "asked about apples", "text": "say c000"}
    expert = teacher(lambda _: critique(rewrite))
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    begun: Any = {"sample": sample("apples").model_dump(mode="json"), "labels": LABELS}
    for given, stop in ((begun, ["commit"]), (None, [])):
        built = build_distillation_graph(student=student(), teacher=expert, memory=scratch)
        graph = built.builder.compile(checkpointer=saver, interrupt_before=stop)
        out = await graph.ainvoke(given, config)
        await scratch.commit([Add(text=f"Added meanwhile: {bool(stop)}.")], author="another")
    assert (out["status"], out["refused"]) == ("learned", [])
    assert "say c000" in await texts_of(scratch)
    assert "Guess." not in await texts_of(scratch)


@pytest.mark.parametrize("own", [True, False], ids=["", "control"])
async def test_a_pass_keeps_its_set_however_many_others_begin_meanwhile(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Else it would be read from the log, which may no longer reach back to it."""
    read, at = list[int](), TedMemory.at

    async def noted(memory: TedMemory, version: int) -> Any:
        read.append(version)
        return await at(memory, version)

    monkeypatch.setattr(TedMemory, "at", noted)
    monkeypatch.setattr("ted_memory.distill.context._MOST_SETS", 1)
    if not own:
        monkeypatch.setattr(DistillContext, "for_one_pass", lambda context: context)
    memory = in_memory(validation=0, concurrency=4)
    slow = student().model_copy(update={"delay": 0.002})  # so that passes come between others
    report = await distill(samples(12), student=slow, teacher=teacher(), memory=memory)
    assert report.learned >= 4, "several at once"
    assert bool(read) is not own


def counted(memory: TedMemory, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note which versions are read from the log."""
    read, at = list[int](), memory.at

    async def noted(version: int) -> Any:
        read.append(version)
        return await at(version)

    monkeypatch.setattr(memory, "at", noted)
    return read


# --- what it works with


@pytest.mark.parametrize("kept", [True, False], ids=["", "control"])
async def test_an_agent_that_is_the_student_sees_nothing_of_what_the_graph_works_with(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """LangGraph hands the context of a run on to graphs that run inside it."""
    if not kept:
        monkeypatch.setattr(graph_module, "_kept_from_inner_graphs", contextlib.nullcontext)
    seen = set[str]()

    @before_model  # type: ignore[arg-type]
    def note(_state: Any, runtime: Any) -> None:
        seen.add(type(runtime.context).__name__)

    agent: Any = create_agent(student(), [], middleware=[note])
    messages = RunnableLambda(lambda asked: {"messages": asked})
    memory = in_memory(validation=0)
    await distill(samples(2), student=messages | agent, teacher=teacher(), memory=memory)
    assert seen == ({"NoneType"} if kept else {"DistillContext"})


async def test_a_run_of_the_built_graph_cannot_bring_models_or_a_memory_of_its_own(
    scratch: TedMemory,
) -> None:
    graph = build_distillation_graph(student=student(), teacher=teacher(), memory=scratch)
    given: Any = {"sample": sample("apples").model_dump(mode="json"), "labels": LABELS}
    out = await graph.ainvoke(given, context={"memory": "another", "student": "another"})
    assert out["status"] == "learned"
    assert await texts_of(scratch) == ["say c000"]
    assert graph.get_context_jsonschema() is None, "Studio asks for nothing"
