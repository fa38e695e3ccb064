"""The method: a graph that distils one sample, and the loop that runs it over a data set."""

from ted_memory.distill.graph import build_distillation_graph
from ted_memory.distill.report import Report
from ted_memory.distill.run import distill
from ted_memory.grading.judge import Judge
from ted_memory.llm.spend import Budget, Prices

__all__ = ["Budget", "Judge", "Prices", "Report", "build_distillation_graph", "distill"]
