"""Runs of learner and graph in LangSmith: their names, tags and metadata are for people."""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables.config import var_child_runnable_config

from ted_memory import Sample, TedMemory, open_memory
from ted_memory.distill import distill
from ted_memory.learner import Learner
from ted_memory.llm.work import WORK, Work, call_config
from ted_memory.testing import in_memory
from tests.conftest import Server
from tests.integrations.agents import Scripted
from tests.telemetry.worlds import one_run, student, teacher


class Runs(BaseCallbackHandler):
    """Notes each run that begins: what it is called, its tags and metadata."""

    run_inline = True

    def __init__(self) -> None:
        self.graphs: dict[str, dict[str, Any]] = {}
        self.nodes: set[str] = set()
        self.calls: list[dict[str, Any]] = []

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, parent_run_id: Any = None, **more: Any
    ) -> None:
        told = {"tags": set(more.get("tags") or ()), **(more.get("metadata") or {})}
        if parent_run_id is None:
            self.graphs[more["name"]] = told
        else:
            self.nodes.add(more["name"])

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        told = {"tags": set(more.get("tags") or ()), **(more.get("metadata") or {})}
        self.calls.append({"name": more["name"], **told})


def models(runs: Runs) -> dict[str, Any]:
    """Student and teacher, whose calls are noted wherever they are made."""
    return {
        "student": Scripted(script=student, callbacks=[runs]),
        "teacher": Scripted(script=teacher, callbacks=[runs]),
    }


def watched(learner: Learner, runs: Runs) -> Learner:
    """Have all graphs of a learner tell these runs, as LangSmith's tracer is told."""
    make = learner._spaces._make

    def with_runs(memory: TedMemory) -> Any:
        space = make(memory)
        space.graph = space.graph.with_config(callbacks=[runs])
        return space

    learner._spaces._make = with_runs
    return learner


async def test_a_learners_runs_say_which_episode_they_are_about(
    valkey: Server, namespace: str
) -> None:
    runs = Runs()
    async with open_memory(valkey.url, namespace=namespace) as memory:
        for who in ("anna", "bruno"):
            run = await one_run(memory, principal=who)
            await memory.give_feedback(run, score=0.0, correction="dock walrus", principal=who)
        report = await watched(Learner(memory, **models(runs)), runs).run(until_empty=True)
    assert report.replayed > 0
    graph = runs.graphs[f"learn from run {run}"]
    assert graph["ted_memory_namespace"] == namespace
    assert graph["ted_memory_episode"] == run
    assert (graph["ted_memory_stage"], graph["ted_memory_profile"]) == ("learn", "default")
    assert {"ted_memory", "ted_memory:learn"} <= graph["tags"]
    assert {"recall", "student", "teacher", "grade", "critic", "settle"} <= runs.nodes

    learned = [call for call in runs.calls if call["ted_memory_stage"] == "learn"]
    assert {call["name"] for call in learned} == {"student", "teacher"}
    assert {call["ted_memory_role"] for call in learned} == {"student", "teacher"}
    replayed = [call for call in runs.calls if call["ted_memory_stage"] == "replay"]
    assert {call["name"] for call in replayed} <= {
        f"student, replay run {call['ted_memory_episode']}" for call in replayed
    }
    replays = {call["ted_memory_lesson"] for call in replayed}
    assert replays & {e.id for e in await _lessons(memory)}, "one said twice is gone by now"
    assert all("nostream" in call["tags"] for call in runs.calls)


async def _lessons(memory: TedMemory) -> Any:
    async with open_memory(memory.settings.url, namespace=memory.namespace) as again:
        return await again.load()


async def test_a_distillations_runs_say_which_sample_they_are_about() -> None:
    runs = Runs()
    token = var_child_runnable_config.set({"callbacks": [runs]})
    try:
        memory = in_memory(trust="always", rollouts=1, validation=0)
        samples = [Sample(id=f"s{i}", input=f"Dock {i}?", reference="one") for i in range(2)]
        await distill(samples, memory=memory, **models(Runs()))
    finally:
        var_child_runnable_config.reset(token)
    for i in range(2):
        graph = runs.graphs[f"distill sample s{i}"]
        assert graph["ted_memory_sample"] == f"s{i}"
        assert graph["ted_memory_namespace"] == memory.namespace
        assert "ted_memory:distill" in graph["tags"]


def test_a_call_that_is_made_for_nothing_of_these_has_its_role_alone() -> None:
    config = call_config("teacher")
    assert config["run_name"] == "teacher"
    assert "metadata" not in config
    token = WORK.set(Work("learn", "support", "r1", "small"))
    try:
        assert call_config("teacher")["metadata"]["ted_memory_profile"] == "small"
    finally:
        WORK.reset(token)
