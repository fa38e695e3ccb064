"""Students and teachers that follow a script.

In their world each thing has a code that nobody can guess.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import Field

from ted_memory import Sample, TedMemory
from ted_memory.distill import build_distillation_graph
from ted_memory.distill.profiles import PROFILES
from ted_memory.testing import Script, ScriptedChatModel

_THINGS = (
    *("apples", "bananas", "cherries", "dates", "elderberries", "figs"),
    *("grapes", "hazelnuts", "icebergs", "jackets", "kettles", "lanterns"),
)
CODES = {thing: f"c{i:03d}" for i, thing in enumerate(_THINGS)}


def sample(thing: str, i: int = 0, **fields: Any) -> Sample:
    asks = ("What is", "Tell me:", "Do you know")
    # listed, so that a lesson may name one: it is no answer of this task's own
    codes = ", ".join(CODES.values())
    given = {
        "input": f"There are {codes}. {asks[i % 3]} the code of {thing}?",
        "reference": CODES[thing],
        "category": thing,
        **fields,
    }
    return Sample(id=f"{thing}-{i}", **given)


def samples(things: int = 4, each: int = 3) -> list[Sample]:
    return [sample(thing, i) for thing in list(CODES)[:things] for i in range(each)]


def prompt_of(messages: Sequence[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in messages)


def thing_in(text: str) -> str:
    return next(thing for thing in CODES if f"code of {thing}?" in text)


def follows(messages: list[BaseMessage]) -> str:
    """Know nothing, but follow a lesson about the very thing that is asked for."""
    thing = thing_in(str(messages[-1].text))
    return (
        CODES[thing] if f"about {thing}: say {CODES[thing]}" in prompt_of(messages) else "no idea"
    )


def knows(messages: list[BaseMessage]) -> str:
    return CODES[thing_in(prompt_of(messages))]


def add(text: str, when: str = "") -> dict[str, Any]:
    return {"op": "add", "ids": [], "when": when, "text": text}


def critique(*edits: dict[str, Any], helped: Sequence[str] = (), hurt: Sequence[str] = ()) -> str:
    return json.dumps(
        {"reason": "It did not know.", "edits": edits, "helped": list(helped), "hurt": list(hurt)}
    )


def right_lesson(messages: Sequence[BaseMessage]) -> str:
    """Answer a critic's prompt with the lesson that `follows` follows."""
    thing = thing_in(str(messages[1].text))
    return critique(add(f"say {CODES[thing]}", f"asked about {thing}"))


def role(messages: Sequence[BaseMessage]) -> str:
    """Tell which of the teacher's three clothes a call is for."""
    said = str(messages[0].content)
    for profile in PROFILES.values():
        for name in ("critic", "compactor"):
            if said.startswith(profile.prompts[name].fixed):
                return name
    return "teacher"


def teacher(
    critic: Script = right_lesson,
    *,
    solves: Script = knows,
    compactor: Script = lambda _: "nothing to say",
) -> ScriptedChatModel:
    scripts = {"critic": critic, "teacher": solves, "compactor": compactor}
    return ScriptedChatModel(
        script=lambda messages: scripts[role(messages)](messages), name_told="teacher"
    )


def student(script: Script = follows) -> ScriptedChatModel:
    return ScriptedChatModel(script=script, name_told="student")


def calls_of(model: ScriptedChatModel, wanted: str) -> int:
    return sum(role(messages) == wanted for messages in model.asked)


class SlowChatModel(ScriptedChatModel):
    """Takes its time, and watches how many calls are in flight."""

    pause: Callable[[list[BaseMessage]], float] = Field(default=lambda _: 0.0)
    flight: list[int] = Field(default_factory=list)
    """The calls in flight as each one began. Share the list to watch several models."""
    gauge: dict[str, int] = Field(default_factory=lambda: {"now": 0})

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.gauge["now"] += 1
        self.flight.append(self.gauge["now"])
        try:
            await asyncio.sleep(self.pause(messages))
            return self._generate(messages, stop, None, **kwargs)
        finally:
            self.gauge["now"] -= 1


async def one_pass(
    memory: TedMemory,
    given: Sample,
    *,
    student: ScriptedChatModel,
    teacher: ScriptedChatModel,
    grader: Any = "auto",
    peers: Sequence[tuple[Sample, float | None]] = (),
    **state: Any,
) -> dict[str, Any]:
    """Send one sample through the graph; return what comes out.

    ``peers`` are other samples, each with its score.
    """
    graph = build_distillation_graph(
        student=student,
        teacher=teacher,
        memory=memory,
        grader=grader,
        peers=[sample for sample, _ in peers],
    )
    given_state: Any = {
        "sample": given.model_dump(mode="json"),
        "labels": {code: code for code in CODES.values()},
        "peers": [{"id": sample.id, "score": score} for sample, score in peers],
        **state,
    }
    return await graph.ainvoke(given_state)


async def texts_of(memory: TedMemory) -> list[str]:
    return [e.text for e in (await memory.load()).active]
