"""What runs with the base alone: a user never lacks a package that only the tests install."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement

# Learn from a script, measure, write the report; all modules but those of an extra are imported.
A_USER = """
import asyncio, importlib, pkgutil, sys

others = set(sys.argv[1].split())

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in others:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())

import ted_memory
from ted_memory import Sample
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.testing import ScriptedChatModel, in_memory

for module in pkgutil.walk_packages(ted_memory.__path__, "ted_memory."):
    if not module.name.startswith(("ted_memory.__main__", *sys.argv[2].split())):
        importlib.import_module(module.name)

async def main():
    memory, model = in_memory(trust="always"), ScriptedChatModel(script=lambda _: "yes")
    samples = [Sample(id=str(i), input=f"Is it {i}?", reference="yes") for i in range(4)]
    await distill(samples, student=model, teacher=model, memory=memory)
    result = await evaluate(samples, student=model, memory=memory)
    print(result.difference.mean, result.difference.low)

asyncio.run(main())
"""
OF_AN_EXTRA = (
    "ted_memory.retrieval.local",  # embeddings
    "ted_memory.web.",  # web
    *(f"ted_memory.telemetry.{name}" for name in ("metrics", "provider", "runs")),  # otel
)


def _needed(extras: tuple[str, ...]) -> set[str]:
    """Return the distributions that an installation with these extras brings, by their names."""
    found: set[str] = set()
    todo = [("ted-memory", extras)]
    while todo:
        name, asked = todo.pop()
        name = name.lower().replace("_", "-")
        if name in found and not asked:
            continue
        found.add(name)
        for line in distribution(name).requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": e}) for e in ("", *asked)
            ):
                todo.append((requirement.name, tuple(requirement.extras)))
    return found


def test_only_embeddings_bring_numpy() -> None:
    assert "numpy" not in _needed(("langchain",))
    if _is_installed("wordllama"):
        assert "numpy" in _needed(("embeddings",)), "the control: what an extra brings is found"


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


@pytest.mark.parametrize("extras", [("langchain",), ("local",)])
def test_what_most_people_install_learns_and_measures(extras: tuple[str, ...]) -> None:
    if extras == ("local",) and not _is_installed("xllamacpp"):
        pytest.skip("the extra local is not installed")
    needed = _needed(extras)
    brings = {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in packages_distributions().items()
    }
    others = {module for module, names in brings.items() if names.isdisjoint(needed)}
    assert "pytest" in others, "the control: it would be missing"
    assert "numpy" in others or not _is_installed("numpy")
    command = [sys.executable, "-c", A_USER, " ".join(others), " ".join(OF_AN_EXTRA)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == "0.0 0.0\n", done.stderr
