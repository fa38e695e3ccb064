"""An agent, a learner and what they are asked, in words that stand nowhere else."""

import json
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from ted_memory import TedMemory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.learner import Learner
from ted_memory.models import Add, SetState, Trial
from ted_memory.testing import asked_for_edits
from tests.integrations.agents import Scripted

LESSON, CONDITION = "Quokkas belong to dock seven.", "zeppelins are mentioned"
QUESTION = "Where do marmalade zeppelins land?"
COMMENT, CORRECTION = "The pelican was rude.", "dock walrus"
WORDS = ("quokka", "zeppelin", "marmalade", "pelican", "walrus", "anna", "perhaps")
"""Words of people and lessons: no span, event or metric may hold one of them."""


def student(messages: list[BaseMessage]) -> AIMessage:
    """Guess, where no lesson says it."""
    prompt = "\n".join(message.text for message in messages)
    said = "dock walrus" if "say dock walrus" in prompt else "Perhaps dock one."
    return AIMessage(said, response_metadata={"id": "chatcmpl-7"})


def teacher(messages: list[BaseMessage]) -> str:
    edit = {"op": "add", "when": "asked where zeppelins land", "text": "say dock walrus"}
    told = {"reason": "It guessed at walruses.", "edits": [edit]}
    return json.dumps(told) if asked_for_edits(messages) else "I am not sure."


async def with_lessons(memory: TedMemory, count: int = 1, *, on_trial: bool = False) -> list[str]:
    """Commit lessons that are active, or on trial."""
    texts = [f"{LESSON}{' And so on.' * i}" for i in range(count)]
    state: Any = "proposed" if on_trial else "active"
    done = await memory.commit(
        [Add(text=text, when=CONDITION, state=state, everywhere=True) for text in texts],
        author="test",
    )
    ids = [one.id for one in done.applied]
    if on_trial:
        tried = [SetState(id=id, state="trial", trial=Trial(bet=0.5)) for id in ids]
        await memory.commit(tried, author="test")
    return ids


def agent(memory: TedMemory, *, record: bool = True) -> Any:
    recording = TedMemoryMiddleware(memory, record=record)
    return create_agent(Scripted(script=student), tools=[], middleware=[recording])


ASKED: Any = {"messages": [HumanMessage(QUESTION)]}


async def one_run(memory: TedMemory, **config: Any) -> str:
    """Have an agent answer, and return the id of the recorded run."""
    configurable = {"principal": "anna", **config}
    done = await agent(memory).ainvoke(ASKED, {"configurable": configurable})
    await memory.flush()
    return str(find_run_id(done))


def learner(memory: TedMemory, **more: Any) -> Learner:
    return Learner(
        memory, student=Scripted(script=student), teacher=Scripted(script=teacher), **more
    )
