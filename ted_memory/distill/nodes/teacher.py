"""The teacher: solves the sample itself, before it sees what the student did."""

from langchain_core.messages import SystemMessage
from langgraph.runtime import Runtime

from ted_memory.distill.context import DistillContext
from ted_memory.distill.nodes.failures import ends_the_run
from ted_memory.distill.state import DistillState, Json, dump_spend, read_sample
from ted_memory.llm.calls import is_transient, one_line
from ted_memory.llm.messages import sample_messages, text_of
from ted_memory.llm.spend import Spend
from ted_memory.models import Sample


async def solve(state: DistillState, runtime: Runtime[DistillContext]) -> Json:
    """Solve the sample. Where that fails the pass goes on: the reference may be enough."""
    try:
        solution, spend = await solution_of(read_sample(state), runtime.context)
    except Exception as error:
        if ends_the_run(error):
            raise
        note = f"the teacher gave no solution: {one_line(error)}"
        return {"solution": "", "note": note, "lost": is_transient(error)}
    return {"solution": solution, "spend": dump_spend(spend)}


async def solution_of(sample: Sample, context: DistillContext) -> tuple[str, Spend]:
    """Return the worked solution that a sample brings, else the teacher's, and what that cost."""
    if sample.solution:
        return sample.solution, Spend()
    messages = [
        SystemMessage(content=context.profile.prompts["teacher"].variable),
        *sample_messages(sample),
    ]
    message, spend = await context.calls.invoke("teacher", context.teacher, messages)
    return text_of(message).encode("utf-8", "replace").decode(), spend
