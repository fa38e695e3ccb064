"""The distillation graph: one pass over one sample.

::

    recall -> student and teacher, side by side -> grade
    grade  -> critic; or credit, where there is nothing to learn
    critic -> verify; or commit, where edits are not verified; or credit, without a proposal
    verify -> commit; or the critic once more, with what failed
    commit -> credit -> END, or compactor -> commit -> END

A learner's graph ends otherwise: wherever it says commit or credit here, its `settle` ends the
episode in one step. A node that fails answers with data (`nodes.failures`), and routing goes on
from that, so the drawn graph is the one that runs.
"""

import contextlib
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Any, TypeAlias

from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes import (
    commit,
    compactor,
    critic,
    grade,
    recall,
    student,
    teacher,
    verify,
)
from ted_memory.distill.profiles import Profile, profile_of
from ted_memory.distill.state import DistillInput, DistillOutput, DistillState, Json
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import bind_grader
from ted_memory.llm.calls import Calls, with_temperature
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample

Graph: TypeAlias = CompiledStateGraph[DistillState, DistillContext, DistillInput, DistillOutput]
_Builder = StateGraph[DistillState, DistillContext, DistillInput, DistillOutput]
_Node = Callable[[DistillState, Runtime[DistillContext]], Awaitable[Json]]
_Router = Callable[[DistillState, DistillContext], str]


def build_distillation_graph(
    *,
    student: Runnable[Any, Any],
    teacher: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    calls: Calls | None = None,
    author: str = "distillation",
    profile: Profile | None = None,
    peers: Sequence[Sample] = (),
) -> Graph:
    """Build the graph that distils one sample into a memory: a `CompiledStateGraph`.

    Invoke it with ``{"sample": sample.model_dump(mode="json")}``; `ted_memory.distill.state` says
    what else may go in (`DistillInput`) and what comes out (`DistillOutput`). With trust
    ``always`` new lessons are active at once, else they are proposed. It has no checkpointer;
    ``graph.builder.compile(checkpointer=...)`` gives it one. What it works with is built in: a run
    cannot change that by a ``context`` of its own.

    Args:
        student: chat model or Runnable from messages to a message, text, messages or an agent's
            state.
        teacher: chat model; also critic and compactor.
        memory: the set to read and to write.
        grader: a name of `ted_memory.grading.graders.GRADERS`, or a callable
            ``(*, inputs, outputs, reference_outputs) -> score`` in [0, 1], sync or async.
        calls: shared by graphs that must share one cap on model calls in flight.
        author: who stands in the log.
        profile: how these models are taught; default: what the memory's settings name.
        peers: other samples that lessons may be tested on. A run names those it wants by their id:
            ``{"sample": ..., "peers": [{"id": "2", "score": None}]}``.

    Raises:
        SettingsError: there is no grader of this name, or a prompt of the user's cannot be used.
    """
    calls = calls or Calls(memory.settings.concurrency)
    context = DistillContext(
        student=with_temperature(student, memory.settings.temperature),
        teacher=teacher,
        critic=StructuredModel(teacher, calls),
        memory=memory,
        grader=bind_grader(grader, calls),
        calls=calls,
        author=author,
        profile=profile or profile_of(memory.settings),
        peers={sample.id: sample for sample in peers},
    )
    return _wire(context).compile(name="distillation")


def compile_graph() -> Graph:
    """Compile the graph of a run over a data set; each pass brings its own ``context``."""
    return _wire().compile(name="distillation")


def build_live_graph() -> Graph:
    """Compile the graph of a learner; each pass brings its own ``context``.

    All its ways end in `settle`, which ends the episode that the state's ``settle`` names.
    """
    return _wire(live=True).compile(name="live_distillation")


def _wire(built_with: DistillContext | None = None, *, live: bool = False) -> _Builder:
    """Wire the nodes. What routing needs to know of a failure is in the state like all else."""
    apart = _kept_from_inner_graphs if built_with is None else contextlib.nullcontext

    def given(runtime: Runtime[DistillContext]) -> Runtime[DistillContext]:
        # whatever a run brings: on a server that comes from a client
        return runtime if built_with is None else runtime.override(context=built_with)

    def add(name: str, node: _Node) -> None:
        # no retry policy: `Calls` asks models again by itself, so that what was paid for in a node
        # is not paid twice
        async def run(state: Any, runtime: Runtime[DistillContext]) -> Json:
            with apart():
                return await node(state, given(runtime))

        builder.add_node(name, run)

    def route(source: str, choose: _Router, ends: dict[Hashable, str]) -> None:
        def after(state: Any, runtime: Runtime[DistillContext]) -> str:
            return choose(state, given(runtime).context)

        builder.add_conditional_edges(source, after, ends)

    builder: _Builder = StateGraph(
        DistillState,
        # what a graph was built with no run can change: then there is nothing to ask for in a form
        context_schema=DistillContext if built_with is None else None,
        input_schema=DistillInput,
        output_schema=DistillOutput,
    )
    add("recall", recall.recall)
    add("student", student.answer_all)
    add("teacher", teacher.solve)
    add("grade", grade.grade_all)
    add("critic", critic.critique)
    add("verify", verify.verify)
    builder.add_edge(START, "recall")
    builder.add_edge("recall", "student")
    builder.add_edge("recall", "teacher")
    builder.add_edge("student", "grade")
    builder.add_edge("teacher", "grade")

    kept, nothing = ("settle", "settle") if live else ("commit", "credit")
    route("grade", _after_grade, {"criticise": "critic", "nothing": nothing})
    route("critic", _after_critic, {"verify": "verify", "keep": kept, "nothing": nothing})
    route("verify", _after_verify, {"revise": "critic", "keep": kept})
    if live:
        add("settle", commit.settle)
        builder.add_edge("settle", END)
        return builder
    add("commit", commit.commit)
    add("credit", commit.credit)
    add("compactor", compactor.compact)
    route("commit", _after_commit, {"credit": "credit", "end": END})
    route("credit", _after_credit, {"compact": "compactor", "end": END})
    builder.add_edge("compactor", "commit")
    return builder


@contextlib.contextmanager
def _kept_from_inner_graphs() -> Iterator[None]:
    """Keep our context from graphs that run inside a node, such as an agent that is the student.

    LangGraph hands the context of a run on to them. They have their own, or none.
    """
    config = get_config()
    inner = {
        key: value.override(context=None) if isinstance(value, Runtime) else value
        for key, value in config["configurable"].items()
    }
    token = var_child_runnable_config.set({**config, "configurable": inner})
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _after_grade(state: DistillState, _context: DistillContext) -> str:
    return "criticise" if critic.worth_a_critique(state) else "nothing"


def _after_critic(state: DistillState, context: DistillContext) -> str:
    if not state["proposal"]:
        return "nothing"
    return "verify" if context.verifies else "keep"


def _after_verify(state: DistillState, context: DistillContext) -> str:
    asked_enough = state["round"] > context.revisions or state["status"] == "set_aside"
    # what was left out is said already: there is nothing to revise
    nothing_failed = not state["feedback"][-1]["told"]
    return "keep" if state["accepted"] or nothing_failed or asked_enough else "revise"


def _after_commit(state: DistillState, _context: DistillContext) -> str:
    return "end" if state["compacting"] else "credit"


def _after_credit(state: DistillState, context: DistillContext) -> str:
    return "compact" if commit.compaction_due(state, context) else "end"
