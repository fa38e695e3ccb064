"""A memory that makes LangGraph and LangChain agents better at their own job, without training."""

from typing import Any

from ted_memory.episodes import Episode, Feedback
from ted_memory.errors import TedMemoryError
from ted_memory.memory import Health, SyncTedMemory, TedMemory
from ted_memory.models import Add, Commit, Experience, ExperienceSet, Merge, Remove, Rewrite, Sample
from ted_memory.wiring import open_memory, open_memory_sync


def __getattr__(name: str) -> Any:
    if name == "__version__":  # looked up when it is asked for: nobody waits for it else
        from importlib.metadata import version

        return version("ted-memory")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Add",
    "Commit",
    "Episode",
    "Experience",
    "ExperienceSet",
    "Feedback",
    "Health",
    "Merge",
    "Remove",
    "Rewrite",
    "Sample",
    "SyncTedMemory",
    "TedMemory",
    "TedMemoryError",
    "open_memory",
    "open_memory_sync",
]
