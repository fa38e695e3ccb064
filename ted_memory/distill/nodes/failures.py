"""Which failures a node answers for with data, so that routing decides how the pass goes on."""

from langgraph.errors import GraphBubbleUp

from ted_memory.distill.state import Json
from ted_memory.llm.calls import is_final, is_transient, one_line


def ends_the_run(error: Exception) -> bool:
    """Tell whether a failure is for whoever runs the graph: it is no result of this one sample.

    An interrupt is no failure at all. Nodes ask this themselves, and not by LangGraph's
    ``error_handler``: when one of those raises beside other tasks, LangGraph (1.2) first goes on to
    the end, commits included, and raises then.
    """
    return isinstance(error, GraphBubbleUp) or is_final(error)


def set_aside(error: Exception, what: str) -> Json:
    """Say that nothing is kept of this sample, and why. ``what`` could not be done."""
    return {
        "status": "set_aside",
        "lost": is_transient(error),
        "note": f"{what}: {one_line(error)}",
    }
