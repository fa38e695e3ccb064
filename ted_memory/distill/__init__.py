"""The method: a graph that distils one sample, and the loop that runs it over a data set."""

from ted_memory.distill.graph import build_distillation_graph
from ted_memory.distill.report import Report
from ted_memory.distill.run import distill

__all__ = ["Report", "build_distillation_graph", "distill"]
