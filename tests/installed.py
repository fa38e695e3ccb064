"""``python tests/installed.py EXTRA``: what is installed works, in an environment of its own.

Run by ``make wheel`` where nothing but a wheel, with one extra or none, is installed. It uses no
other file of this folder.
"""

import asyncio
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import ted_memory
from ted_memory import Add, Sample, open_memory
from ted_memory.distill import distill
from ted_memory.evaluation import evaluate
from ted_memory.testing import ScriptedChatModel, in_memory

OF_EXTRAS = {
    "data": "pyarrow",
    "embeddings": "ted_memory.retrieval.local",
    "langchain": "ted_memory.integrations.middleware",
    "local": "xllamacpp",
    "math": "math_verify",
    "otel": "opentelemetry",
    "plots": "matplotlib",
    "web": "starlette",
}
"""What an extra is for: a module that can be imported with it."""


async def learn_and_measure() -> None:
    """Learn from a script, and measure."""
    memory, model = in_memory(trust="always"), ScriptedChatModel(script=lambda _: "yes")
    samples = [Sample(id=str(i), input=f"Is it {i}?", reference="yes") for i in range(4)]
    await distill(samples, student=model, teacher=model, memory=memory)
    result = await evaluate(samples, student=model, memory=memory)
    assert result.difference.mean == 0


async def keep(home: Path) -> None:
    """Commit on the server that comes along, and read it again."""
    async with open_memory(home=str(home)) as memory:
        await memory.commit([Add(text="Be brief.")], author="me")
    async with open_memory(home=str(home)) as memory:
        assert [lesson.text for lesson in await memory.load()] == ["Be brief."]


def main(extra: str, home: Path) -> None:
    """See that it is the installed package, that it works, and what the extra brings."""
    assert "site-packages" in str(ted_memory.__file__), "not the wheel's"
    assert (Path(str(ted_memory.__file__)).parent / "py.typed").is_file()
    asyncio.run(learn_and_measure())
    asyncio.run(keep(home))
    command = [str(Path(sys.executable).parent / "ted-memory"), "show", "--home", str(home)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Be brief." in shown
    if extra:
        importlib.import_module(OF_EXTRAS[extra])
    print(f"works, {f'with the extra {extra}' if extra else 'with no extra'}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main("".join(sys.argv[1:]), Path(folder))
