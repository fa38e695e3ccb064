"""The distillation graph: one pass over one sample.

::

              +-> student (x N, Send) --+
    recall ---|                         +-> grade -+-> critic <-> verify -> commit -+-> credit -+->
              END +-> teacher --------------+          |                             |           |
                                                   +-----------------------------+           +->
                                                   compactor -> commit
"""

import inspect
from functools import partial
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.errors import GraphBubbleUp, NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send

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
from ted_memory.distill.state import DistillState
from ted_memory.grading.graders import Grader
from ted_memory.grading.judge import bind_grader
from ted_memory.llm.calls import Calls, with_temperature
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory.client import TedMemory

Graph = CompiledStateGraph[DistillState, Any, DistillState, DistillState]


def build_distillation_graph(
    *,
    student: Runnable[Any, Any],
    teacher: Runnable[Any, Any],
    memory: TedMemory,
    grader: str | Grader = "auto",
    calls: Calls | None = None,
    author: str = "distillation",
    profile: Profile | None = None,
) -> Graph:
    """Return the graph that distils one sample into a memory: a `CompiledStateGraph`, without a checkpointer.

    Invoke it with ``{"sample": sample.model_dump(mode="json")}``; see
    `ted_memory.distill.state.DistillState` for what comes out. With trust ``operator`` new lessons
    are active at once, else they are proposed.

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
    )
    return compile_graph(context)


def compile_graph(context: DistillContext) -> Graph:
    """Return the graph of a run over a data set."""
    return _wire(context).compile(name="distillation")


def build_live_graph(context: DistillContext) -> Graph:
    """Return the graph of a learner: its commits settle the episode that the state's ``settle`` names."""
    return _wire(context, live=True).compile(name="live_distillation")


def _wire(
    context: DistillContext, *, live: bool = False
) -> StateGraph[DistillState, Any, DistillState, DistillState]:
    builder = StateGraph(DistillState)

    def add(name: str, node: Any, failed: Any = None) -> None:
        # no retry policy: `Calls` asks models again by itself, so that what was paid for in a node
        # is not paid twice
        bound = partial(node, context=context)
        builder.add_node(
            name, partial(_handled, name=name, node=bound, failed=failed) if failed else bound
        )

    add("recall", recall.recall)
    add("student", student.attempt, student.attempt_failed)
    add("teacher", teacher.solve, teacher.solve_failed)
    add("grade", grade.grade_all)
    add("critic", critic.critique, critic.critique_failed)
    add("verify", verify.verify, verify.verification_failed)
    if live:
        # one step ends an episode, whichever way the pass came to its end
        add("commit", commit.settle)
        add("credit", commit.settle)
    else:
        add("commit", commit.commit)
        add("credit", commit.credit)
        add("compactor", compactor.compact, partial(compactor.compact_failed, context=context))

    builder.add_edge(START, "recall")
    builder.add_conditional_edges("recall", _fan_out, ["student", "teacher"])
    builder.add_edge("student", "grade")
    builder.add_edge("teacher", "grade")
    builder.add_conditional_edges("grade", _after_grade, ["critic", "credit"])
    builder.add_conditional_edges(
        "critic", partial(_after_critic, context=context), ["verify", "commit", "credit"]
    )
    builder.add_conditional_edges(
        "verify", partial(_after_verify, context=context), ["critic", "commit"]
    )
    if live:
        builder.add_edge("commit", END)
        builder.add_edge("credit", END)
        return builder
    builder.add_conditional_edges("commit", _after_commit, ["credit", END])
    builder.add_conditional_edges(
        "credit", partial(_after_credit, context=context), ["compactor", END]
    )
    builder.add_edge("compactor", "commit")
    return builder


async def _handled(state: Any, *, name: str, node: Any, failed: Any) -> Any:
    """Run a node, and let `failed` answer for it or raise.

    Not as the graph's ``error_handler``: when one of these raises beside other tasks, LangGraph
    (1.2) first goes on to the end, commits included, and raises then.
    """
    try:
        return await node(state)
    except GraphBubbleUp:  # an interrupt is no failure
        raise
    except Exception as error:  # noqa: BLE001 - `failed` knows which failures end the run
        answer = failed(state, NodeError(node=name, error=error))
        return await answer if inspect.isawaitable(answer) else answer


def _fan_out(state: DistillState) -> list[Send | str]:
    return [*(Send("student", attempt) for attempt in state["attempts"]), "teacher"]


def _after_grade(state: DistillState) -> str:
    return "critic" if critic.worth_a_critique(state) else "credit"


def _after_critic(state: DistillState, *, context: DistillContext) -> str:
    if not state["proposal"]:
        return "credit"
    return "verify" if context.verifies else "commit"


def _after_verify(state: DistillState, *, context: DistillContext) -> str:
    asked_enough = state["round"] > context.revisions or state["status"] == "set_aside"
    # what was left out is said already: there is nothing to revise
    nothing_failed = not state["feedback"][-1]["told"]
    return "commit" if state["accepted"] or nothing_failed or asked_enough else "critic"


def _after_commit(state: DistillState) -> str:
    return END if state["compacting"] else "credit"


def _after_credit(state: DistillState, *, context: DistillContext) -> str:
    return "compactor" if commit.compaction_due(state, context=context) else END
