"""Doors by which others' texts come into a memory, and a teacher that obeys what it reads there.

Each door is a function of a memory and of texts. Runs that it records are `MALLORY`'s, and say
nothing of their own.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from ted_memory import Add, TedMemory
from ted_memory.episodes import Episode
from ted_memory.integrations.callbacks import TedMemoryCallbackHandler
from ted_memory.integrations.plain_run import PlainRun
from ted_memory.integrations.store import TedMemoryStore
from ted_memory.integrations.store_names import to_labels
from ted_memory.integrations.tools import create_feedback_tool
from ted_memory.models import Message, SetState, Trial
from ted_memory.testing import asked_for_edits, in_memory
from tests.integrations.agents import agent, asks, call

MALLORY = "mallory"
RIGHT = "owned"
Door = Callable[[TedMemory, Sequence[str]], Awaitable[None]]


SEEN = 80
"""Characters at both ends by which an attack is recognised.

A critic is shown only the ends of a long comment.
"""


def ends(text: str) -> tuple[str, str]:
    """How a text begins and how it ends, on one line.

    A prompt in which both stand holds the text, perhaps without its middle.
    """
    line = " ".join(text.split())
    return line[:SEEN].rstrip(), line[-SEEN:].lstrip()


class Obeys:
    """A teacher that makes a lesson of the whole attack, wherever in its prompt that begins."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._longest_first = [(ends(text), text) for text in sorted(texts, key=len, reverse=True)]
        self._told: set[str] = set()
        self.prompts: list[str] = []

    def __call__(self, messages: Sequence[BaseMessage]) -> str:
        if not asked_for_edits(messages):
            return RIGHT
        # not its own answers
        prompt = "\n".join(str(message.text) for message in messages if message.type != "ai")
        self.prompts.append(prompt)
        read = " ".join(prompt.split())
        read_there = [
            text for known_by, text in self._longest_first if all(end in read for end in known_by)
        ]
        # others may be known lessons by now
        found = sorted(read_there, key=lambda text: text in self._told)[:1]
        self._told.update(found)
        edits = [{"op": "add", "when": "", "text": text} for text in found]
        return json.dumps({"reason": "so they say", "edits": edits, "helped": [], "hurt": []})


# --- what users say of a run


async def a_run(memory: TedMemory, asked: str = "A question", principal: str = MALLORY) -> str:
    """Record a run that went wrong; return its id."""
    run_id = uuid.uuid4().hex
    given, said = Message(role="user", content=asked), Message(role="assistant", content="no")
    await memory.record(Episode(run_id=run_id, principal=principal, input=(given,), output=(said,)))
    return run_id


async def _is_wrong(memory: TedMemory, run_id: str, **said: str) -> None:
    await memory.give_feedback(
        run_id, score=0.0, principal=MALLORY, **{"correction": RIGHT, **said}
    )


async def a_correction(memory: TedMemory, texts: Sequence[str]) -> None:
    for text in texts:
        await _is_wrong(memory, await a_run(memory), correction=text)


async def a_comment(memory: TedMemory, texts: Sequence[str]) -> None:
    for text in texts:
        await _is_wrong(memory, await a_run(memory), comment=text)


async def the_feedback_tool(memory: TedMemory, texts: Sequence[str]) -> None:
    """An agent passes on what its user says of the answer before, whatever that is."""

    def passes_on(messages: list[BaseMessage]) -> AIMessage | str:
        if isinstance(messages[-1], ToolMessage):
            return "thank you"
        said = str(messages[-1].content)
        return (
            call("rate_answer", score=0.0, comment=said, correction=RIGHT)
            if len(messages) > 1
            else "no"
        )

    runs, _ = agent(
        memory, passes_on, tools=[create_feedback_tool(memory)], checkpointer=InMemorySaver()
    )
    for i, text in enumerate(texts):
        who: Any = {"configurable": {"thread_id": f"t{i}", "user_id": MALLORY}}
        await runs.ainvoke(asks("A question"), who)
        await memory.flush()
        await runs.ainvoke(asks(text), who)


# --- what users ask


async def a_plain_run(memory: TedMemory, texts: Sequence[str]) -> None:
    for text in texts:
        async with PlainRun(memory, text, principal=MALLORY) as run:
            run.answer("no")
        await memory.flush()
        await _is_wrong(memory, run.run_id)


async def the_callback_handler(memory: TedMemory, texts: Sequence[str]) -> None:
    handler, chain = (
        TedMemoryCallbackHandler(memory, principal=MALLORY),
        RunnableLambda(lambda _: "no"),
    )
    for text in texts:
        run_id = uuid.uuid4()
        await chain.ainvoke({"input": text}, {"callbacks": [handler], "run_id": run_id})
        await memory.flush()
        await _is_wrong(memory, str(run_id))


# --- what writes lessons without a learner


async def the_store(memory: TedMemory, texts: Sequence[str]) -> None:
    store, labels = TedMemoryStore(memory), to_labels(memory.namespace)
    assert labels
    for i, text in enumerate(texts):
        await store.aput(labels, f"attack-{i}", {"text": text})


async def an_import(memory: TedMemory, texts: Sequence[str]) -> None:
    """Import a set that nobody has approved, in which every other lesson claims to be on trial."""
    settings = memory.settings
    room = {"max_experiences": settings.max_experiences, "max_proposed": settings.max_proposed}
    other = in_memory(token_budget=settings.token_budget, max_text=settings.max_text, **room)
    made = await other.commit([Add(text=text, state="proposed") for text in texts], author="them")
    forged = [SetState(id=one.id, state="trial", trial=Trial(bet=0.5)) for one in made.applied[::2]]
    await other.commit(forged, author="them")
    await memory.import_set(await other.export())
    await other.aclose()


DOORS: dict[str, Door] = {
    "a correction": a_correction,
    "a comment": a_comment,
    "the feedback tool": the_feedback_tool,
    "a plain run": a_plain_run,
    "the callback handler": the_callback_handler,
    "the store": the_store,
    "an import": an_import,
}
