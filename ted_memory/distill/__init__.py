"""The method: a graph that distils one sample, and the loop that runs it over a data set."""

from ted_memory.distill.graph import Graph, build_distillation_graph
from ted_memory.distill.profiles import PROFILES, Profile
from ted_memory.distill.report import (
    Carried,
    Gate,
    JoinedLessons,
    LessonVerdict,
    Point,
    RejectedLesson,
    Report,
    SetAside,
    SetSize,
    Shown,
    SolvedTasks,
)
from ted_memory.distill.run import distill
from ted_memory.distill.scoring import Progress
from ted_memory.distill.state import DistillInput, DistillOutput
from ted_memory.experience.betting import Rule
from ted_memory.grading.judge import Judge
from ted_memory.llm.calls import Calls
from ted_memory.llm.prompts import Prompt
from ted_memory.llm.spend import Budget, Prices, RoleSpend, Spend

__all__ = [
    "PROFILES",
    "Budget",
    "Calls",
    "Carried",
    "DistillInput",
    "DistillOutput",
    "Gate",
    "Graph",
    "JoinedLessons",
    "Judge",
    "LessonVerdict",
    "Point",
    "Prices",
    "Profile",
    "Progress",
    "Prompt",
    "RejectedLesson",
    "Report",
    "RoleSpend",
    "Rule",
    "SetAside",
    "SetSize",
    "Shown",
    "SolvedTasks",
    "Spend",
    "build_distillation_graph",
    "distill",
]
