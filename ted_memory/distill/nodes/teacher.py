"""The teacher: solves the sample itself, before it sees what the student did."""

from langchain_core.messages import SystemMessage
from langgraph.errors import NodeError
from langgraph.types import Command

from ted_memory.distill.context import DistillContext
from ted_memory.distill.state import DistillState, Json, dump_spend, read_sample
from ted_memory.llm.calls import is_final, is_transient, one_line
from ted_memory.llm.messages import sample_messages, text_of


async def solve(state: DistillState, *, context: DistillContext) -> Json:
    """Solve the sample, unless it brings a worked solution."""
    sample = read_sample(state)
    if sample.solution:
        return {"solution": sample.solution}
    messages = [
        SystemMessage(content=context.profile.prompts["teacher"].variable),
        *sample_messages(sample),
    ]
    message, spend = await context.calls.invoke("teacher", context.teacher, messages)
    solution = text_of(message).encode("utf-8", "replace").decode()
    return {"solution": solution, "spend": dump_spend(spend)}


def solve_failed(_state: DistillState, error: NodeError) -> Command[str]:
    """Go on without a solution: the reference may be enough."""
    if is_final(error.error):
        raise error.error
    note = f"the teacher gave no solution: {one_line(error.error)}"
    return Command(
        update={"solution": "", "note": note, "lost": is_transient(error.error)}, goto="grade"
    )
