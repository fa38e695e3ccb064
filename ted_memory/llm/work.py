"""What model calls are made for, as people find it in their traces, and as it is paid for."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig

Stage = Literal["distill", "learn", "replay"]

TAG = "ted_memory"


@dataclass(frozen=True)
class Work:
    """One piece of work.

    Attributes:
        stage: a sample of a data set, an episode of live traffic, or a replay of a lesson.
        namespace: of the set that learns from it.
        subject: the sample's id, or that of the run.
        profile: how the models are taught.
        lesson: the id of the one that is replayed.
    """

    stage: Stage
    namespace: str
    subject: str
    profile: str
    lesson: str = ""

    @property
    def name(self) -> str:
        """What the run of a graph is called that does this work."""
        verb = {"distill": "distill sample", "learn": "learn from run", "replay": "replay run"}
        return f"{verb[self.stage]} {self.subject}"

    def config(self) -> RunnableConfig:
        """Give the name, tags and metadata of that run."""
        return {"run_name": self.name, "tags": [TAG, f"{TAG}:{self.stage}"], "metadata": self.told}

    @property
    def told(self) -> dict[str, Any]:
        """What the metadata of each of its model calls say."""
        of = "ted_memory_sample" if self.stage == "distill" else "ted_memory_episode"
        told = {
            "ted_memory_stage": self.stage,
            "ted_memory_namespace": self.namespace,
            "ted_memory_profile": self.profile,
            of: self.subject,
        }
        return {**told, "ted_memory_lesson": self.lesson} if self.lesson else told


WORK: ContextVar[Work | None] = ContextVar("ted_memory_work", default=None)
"""What the calls of this context are made for; None where it is none of these, as in an eval."""


def call_config(role: str) -> RunnableConfig:
    """Say of one model call whose it is.

    ``nostream``: a run inside someone's graph must not leak its tokens into their stream.
    """
    config: RunnableConfig = {"run_name": role, "tags": ["nostream", f"{TAG}:{role}"]}
    if (work := WORK.get()) is None:
        return config
    if work.stage == "replay":  # no graph stands around it
        config["run_name"] = f"{role}, {work.name}"
    return {**config, "metadata": {**work.told, "ted_memory_role": role}}


def stage() -> str:
    """Name the stage that the calls of this context are paid for; ``other`` for none."""
    work = WORK.get()
    return "other" if work is None else work.stage
