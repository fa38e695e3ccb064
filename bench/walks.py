"""``make walks``: the way of four things through the functions and files of the package.

An agent's request, a sample to its commit, an episode to its settled commit, a person who is
forgotten: each is done once, on a store in memory and with models that follow a script, and every
function of ours is noted when it first begins, as somebody reads who follows the way. A *return* is
a step from one file to another that was seen before.

    python -m bench.walks               # the table
    python -m bench.walks --path sample # one way, file by file
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from rich.console import Console
from rich.table import Table

from ted_memory import Add, Sample, TedMemory
from ted_memory.distill import build_distillation_graph
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, asked_for_edits, in_memory

PACKAGE = str(Path(__file__).parent.parent / "ted_memory")
# what everything uses is no step of a way
BESIDE = ("testing", "telemetry", "models.py", "settings.py", "errors.py", "fields.py")
QUESTION, RIGHT = "Which form is for a move? Forms: form 1, form 7.", "form 7"
AIMS = {"request": 20, "sample": 20, "episode": 40, "forget": 10}


@dataclass
class Walk:
    """The functions in the order in which they first began: file and name."""

    steps: dict[tuple[str, str], None] = field(default_factory=dict)

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Take a step, as a profile function: a coroutine that goes on has not begun."""
        code = frame.f_code
        if (
            event != "call"
            or not code.co_filename.startswith(PACKAGE)
            or frame.f_lineno != code.co_firstlineno
        ):
            return
        name = code.co_filename.removeprefix(PACKAGE + "/")
        if not name.startswith(BESIDE) and not code.co_name.startswith("<"):
            self.steps.setdefault((name, code.co_qualname))

    @property
    def files(self) -> list[str]:
        """The files in the order of the way, without repetitions in a row."""
        return [name for name, _ in groupby(name for name, _ in self.steps)]

    @property
    def returns(self) -> int:
        """How often the way goes to a file where it was before."""
        seen, count = set[str](), 0
        for name in self.files:
            count += name in seen
            seen.add(name)
        return count

    def row(self) -> tuple[str, str, str, str]:
        """Functions, files, changes of file, and returns."""
        files = self.files
        return str(len(self.steps)), str(len({*files})), str(len(files) - 1), str(self.returns)


def _answers(messages: list[BaseMessage]) -> str:
    return (
        RIGHT if any(f"answer {RIGHT}" in str(message.text) for message in messages) else "form 1"
    )


def _teaches(messages: list[BaseMessage]) -> str:
    if not asked_for_edits(messages):
        return RIGHT
    edit = {"op": "add", "ids": [], "when": "a move", "text": f"answer {RIGHT}"}
    return json.dumps({"reason": "It did not know.", "edits": [edit]})


def _student() -> ScriptedChatModel:
    return ScriptedChatModel(script=_answers)


def _teacher() -> ScriptedChatModel:
    return ScriptedChatModel(script=_teaches)


async def _request() -> Callable[[], Awaitable[Any]]:
    """An agent's first request, recorded."""
    memory = in_memory()
    await memory.commit([Add(text=f"answer {RIGHT}", when="a move")], author="bench")
    agent = create_agent(_student(), [], middleware=[TedMemoryMiddleware(memory, record=True)])

    async def walk() -> None:
        await agent.ainvoke({"messages": [HumanMessage(QUESTION)]})
        await memory.flush()

    return walk


async def _sample() -> Callable[[], Awaitable[Any]]:
    """One sample through the graph."""
    memory = in_memory(trust="always", rollouts=1)
    graph = build_distillation_graph(
        student=_student(), teacher=_teacher(), memory=memory, grader="exact"
    )
    sample = Sample(id="s1", input=QUESTION, reference=RIGHT)

    async def walk() -> None:
        await graph.ainvoke({"sample": sample.model_dump(mode="json")})

    return walk


async def _episode() -> Callable[[], Awaitable[Any]]:
    """One corrected episode through a learner."""
    memory = await _with_an_episode()
    learner = Learner(memory, student=_student(), teacher=_teacher(), grader="exact")

    async def walk() -> None:
        await learner.run(until_empty=True)

    return walk


async def _forget() -> Callable[[], Awaitable[Any]]:
    """A person who is forgotten."""
    memory = await _with_an_episode()
    await Learner(memory, student=_student(), teacher=_teacher(), grader="exact").run(
        until_empty=True
    )

    async def walk() -> None:
        await memory.forget("principal", "anna")

    return walk


async def _with_an_episode() -> TedMemory:
    memory = in_memory(rollouts=1)
    agent = create_agent(_student(), [], middleware=[TedMemoryMiddleware(memory, record=True)])
    answer = await agent.ainvoke(
        {"messages": [HumanMessage(QUESTION)]}, config={"configurable": {"user_id": "anna"}}
    )
    run_id = answer["messages"][-1].response_metadata["ted_memory"]["run_id"]
    await memory.give_feedback(run_id, score=0.0, correction=RIGHT)
    return memory


WALKS = {"request": _request, "sample": _sample, "episode": _episode, "forget": _forget}


async def walked(name: str) -> Walk:
    """The way of one of the four."""
    walk, taken = Walk(), await WALKS[name]()
    sys.setprofile(walk.note)
    try:
        await taken()
    finally:
        sys.setprofile(None)
    return walk


def main(args: Sequence[str]) -> None:
    """Print the table, or one way."""
    parser = argparse.ArgumentParser(prog="python -m bench.walks")
    parser.add_argument(
        "--path",
        choices=[*WALKS],
        help="print this way, with the functions that begin in each file",
    )
    path, out = parser.parse_args(args).path, Console()
    if path:
        walk, before = asyncio.run(walked(path)), ""
        for name, function in walk.steps:
            out.print(f"{name if name != before else '':45} {function}", highlight=False)
            before = name
        return
    table = Table("the way of", "functions", "files", "changes of file", "returns", "aim")
    for name, aim in AIMS.items():
        table.add_row(
            (WALKS[name].__doc__ or "").rstrip("."), *asyncio.run(walked(name)).row(), str(aim)
        )
    out.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
