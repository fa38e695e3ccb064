"""What the graph's nodes work with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.runnables import Runnable

from ted_memory.distill.profiles import DEFAULT, Profile
from ted_memory.distill.state import Evidence
from ted_memory.grading.graders import Grader
from ted_memory.llm.calls import Calls
from ted_memory.llm.structured import StructuredModel
from ted_memory.memory.client import TedMemory
from ted_memory.models import Sample
from ted_memory.settings import Settings

KeepEvidence = Callable[[str, Sequence[Evidence]], Awaitable[None]]
"""From the name of a pass and its round, and what was found."""


@dataclass(frozen=True)
class AnswerContext:
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
class DistillContext(AnswerContext):
    """Models, memory and rules of one graph."""

    teacher: Runnable[Any, Any]
    critic: StructuredModel
    author: str
    profile: Profile = DEFAULT
    judged: bool = False
    """Whether a model grades the answers: then the teacher's solution may stand for a missing reference."""
    fresh: bool = True
    """Whether the student attempts the sample anew; else only what was recorded of it is learned from."""
    samples: Mapping[str, Sample] = field(default_factory=dict)
    """By source, such as ``dataset:name#id``: what lessons came from, for verifying what becomes of them."""

    lossy: set[object] = field(default_factory=set)
    """Joins and other changes to a set that this process tested and refused, with the prompts that it asked for."""

    keep_evidence: KeepEvidence | None = None
    """Called with what a verification found, before anything is committed because of it."""

    @property
    def verifies(self) -> bool:
        """Whether edits are put to the test on the student."""
        return self.fresh and self.profile.verification.pairs > 0

    @property
    def examples(self) -> Literal["none", "written", "own"]:
        """What a lesson may carry as its example: other people's words are no example for everybody."""
        if not self.settings.examples:
            return "none"
        return (
            "written" if self.profile.examples == "own" and self.evidence else self.profile.examples
        )

    @property
    def revisions(self) -> int:
        """How often the critic is asked again after an edit did not pass."""
        return self.settings.max_revisions if self.verifies else 0

    @property
    def evidence(self) -> bool:
        """Whether a lesson needs evidence and several principals before anybody is shown it."""
        return self.settings.trust != "operator"

    @property
    def new_state(self) -> Literal["active", "proposed"]:
        """Where a new lesson begins: only what an operator chose to learn from is active at once."""
        return "active" if self.settings.trust == "operator" else "proposed"
