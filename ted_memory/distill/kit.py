"""What the graph's nodes work with."""

from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import Runnable

from ted_memory.grading.graders import Grader
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory import TedMemory
from ted_memory.settings import Settings


@dataclass(frozen=True)
class StudentKit:
    """What it takes to let a student answer and to score it."""

    student: Runnable[Any, Any]
    memory: TedMemory
    grader: Grader
    calls: Calls

    @property
    def settings(self) -> Settings:
        """The memory's settings."""
        return self.memory.settings


@dataclass(frozen=True)
class Kit(StudentKit):
    """Models, memory and rules of one graph."""

    teacher: Runnable[Any, Any]
    critic: StructuredModel
    author: str
    fresh: bool = True
    """Whether the student attempts the sample anew; else only what was recorded of it is learned from."""

    @property
    def tries(self) -> int:
        """How often the critic is asked again; 0 where edits are not tried."""
        return self.settings.max_tries if self.fresh else 0

    @property
    def evidence(self) -> bool:
        """Whether a lesson needs evidence and several principals before anybody is shown it."""
        return self.settings.trust != "operator"

    @property
    def new_state(self) -> Literal["active", "proposed"]:
        """Where a new lesson begins: only what an operator chose to learn from is active at once."""
        return "active" if self.settings.trust == "operator" else "proposed"
