"""The drawn graph is the one that runs: passes take its edges, failures too, and none is idle."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.types import Command

from ted_memory import Add, TedMemory
from ted_memory.distill import build_distillation_graph
from ted_memory.distill.graph import build_live_graph
from ted_memory.distill.nodes import critic, verify
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, in_memory
from tests.distill.scripts import (
    CODES,
    add,
    critique,
    follows,
    knows,
    sample,
    student,
    teacher,
    thing_in,
)
from tests.learner.worlds import complain, episode

Edges = set[tuple[str, str]]
START, END = "__start__", "__end__"


def boom(_: list[BaseMessage]) -> str:
    raise RuntimeError("the model fell over")


def useless(messages: list[BaseMessage]) -> str:
    more = "er" * sum(message.type == "ai" for message in messages)
    return critique(add(f"think hard{more}", f"asked about {thing_in(str(messages[1].text))}"))


@dataclass
class Watched:
    """A compiled graph, and the edges that its passes took.

    They lead from each node of a step to each one of the next step.
    """

    graph: Any
    taken: Edges = field(default_factory=set)
    out: Any = None

    async def ainvoke(self, given: Any, config: Any = None, **options: Any) -> Any:
        steps: dict[int, list[str]] = defaultdict(list)
        async for mode, told in self.graph.astream(
            given, config, stream_mode=["debug", "values"], **options
        ):
            if mode == "values":
                self.out = told
            elif told["type"] == "task":
                steps[told["step"]].append(told["payload"]["name"])
        ways = [[START], *(steps[number] for number in sorted(steps)), [END]]
        for before, after in pairwise(ways):
            self.taken |= {(source, target) for source in before for target in after}
        return self.out

    @property
    def drawn(self) -> Edges:
        return {(edge.source, edge.target) for edge in self.graph.get_graph().edges}


async def passes(
    *,
    answers: ScriptedChatModel | None = None,
    teaches: ScriptedChatModel | None = None,
    lessons: int = 0,
    **settings: Any,
) -> Watched:
    """Send one sample through the graph of a data set."""
    memory = in_memory(trust="always", **settings)
    if lessons:
        await memory.commit([Add(text=f"Lesson {i}.") for i in range(lessons)], author="me")
    watched = Watched(
        build_distillation_graph(
            student=answers or student(), teacher=teaches or teacher(), memory=memory
        )
    )
    labels = {code: code for code in CODES.values()}
    await watched.ainvoke({"sample": sample("apples").model_dump(mode="json"), "labels": labels})
    return watched


Way = Callable[[], Awaitable[Watched]]
WAYS: dict[str, Way] = {
    "learned": passes,
    "all right": lambda: passes(answers=student(knows)),
    "asked again": lambda: passes(teaches=teacher(useless)),
    "not verified": lambda: passes(verify_calls=0),
    "no proposal": lambda: passes(teaches=teacher(lambda _: critique())),
    "compaction": lambda: passes(lessons=8, compact_every=1),
    "student fails": lambda: passes(answers=student(boom)),
    "teacher fails": lambda: passes(teaches=teacher(solves=boom)),
    "critic fails": lambda: passes(teaches=teacher(boom)),
    "compactor fails": lambda: passes(lessons=8, compact_every=1, teaches=teacher(compactor=boom)),
}


async def fails(*_: Any) -> None:
    raise RuntimeError("it fell over")


async def when_verification_fails(monkeypatch: pytest.MonkeyPatch) -> Watched:
    with monkeypatch.context() as patched:
        patched.setattr(verify, "_found", fails)
        watched = await passes()
    assert "could not be verified" in watched.out["note"], "the control: it failed"
    return watched


async def test_all_passes_together_take_the_edges_that_are_drawn_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: Edges = set()
    drawn = (await WAYS["learned"]()).drawn
    for name, way in WAYS.items():
        watched = await way()
        assert watched.taken <= drawn, name
        taken |= watched.taken
    failed = await when_verification_fails(monkeypatch)
    assert failed.taken <= drawn
    assert taken | failed.taken == drawn


async def test_an_edge_that_nothing_takes_would_be_seen() -> None:
    """The control of it: without the passes whose critic cannot be believed at once one is idle."""
    watched = await WAYS["learned"]()
    assert watched.drawn - watched.taken >= {("critic", "commit"), ("verify", "critic")}


async def test_a_failure_that_jumps_where_no_edge_is_drawn_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of it."""

    async def jumps(*_: Any) -> Command[str]:
        return Command(update={"proposal": []}, goto="compactor")

    monkeypatch.setattr(critic, "critique", jumps)
    watched = await passes()
    assert watched.taken - watched.drawn >= {("critic", "compactor")}


# --- a learner's graph


async def learns(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch, thing: str, **options: Any
) -> Watched:
    """Have a learner settle one complaint; without options, praise of what its student knows."""
    watched = Watched(build_live_graph())
    monkeypatch.setattr("ted_memory.learner.spaces.build_live_graph", lambda: watched)
    if options:
        await complain(memory, [episode(thing, principal="dora")])
    else:
        one = episode(thing, principal="dora", answer=CODES[thing])
        await memory.record(one)
        await memory.flush()
        await memory.give_feedback(one.run_id, score=1.0, principal="dora")
    models = {"student": student(follows if options else knows), "teacher": teacher(), **options}
    report = await Learner(memory, **models).run(until_empty=True)
    assert sum(report.outcomes.values()) == 1, report
    return watched


async def test_each_way_of_a_learners_pass_ends_in_settle_and_is_drawn(
    memory: TedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[dict[str, Any]] = [
        {"teacher": teacher()},
        {"teacher": teacher(useless)},
        {"teacher": teacher(boom)},
        {"replay": "none"},
        {},
    ]
    taken: Edges = set()
    for thing, options in zip(CODES, ways, strict=False):
        watched = await learns(memory, monkeypatch, thing, **options)
        assert watched.taken <= watched.drawn, options
        taken |= watched.taken
    assert taken == watched.drawn
    assert {source for source, target in watched.drawn if target == END} == {"settle"}
