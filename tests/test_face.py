"""The public face: names that users write."""

import subprocess
import sys

import ted_memory
from ted_memory import TedMemory, open_memory


def test_the_face_is_what_the_documentation_says() -> None:
    assert set(ted_memory.__all__) == {
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
    }
    assert all(hasattr(ted_memory, name) for name in ted_memory.__all__)


def test_opening_a_memory_does_no_io() -> None:
    memory = open_memory("redis://127.0.0.1:1/0")
    assert isinstance(memory, TedMemory)
    assert memory.health().reads == 0


def test_importing_the_face_brings_no_optional_or_heavy_package() -> None:
    heavy = [
        "langchain",
        "langchain_openai",
        "langgraph",
        "numpy",
        "stop_words",
        "wordllama",
        "typer",
    ]
    code = f"import sys, ted_memory; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
