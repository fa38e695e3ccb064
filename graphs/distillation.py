"""``distillation``: what one sample teaches, step by step, to be looked at in Studio.

``{"sample": {"id": "1", "input": "...", "reference": "..."}}``. Lessons go where the setting
``trust`` says, by default to the proposals.
"""

from graphs.deployed import make_model, memory
from ted_memory.distill import Graph, build_distillation_graph


def make_distillation() -> Graph:
    """Make the graph that a learner has each episode go through."""
    return build_distillation_graph(
        student=make_model("STUDENT"), teacher=make_model("TEACHER"), memory=memory
    )
