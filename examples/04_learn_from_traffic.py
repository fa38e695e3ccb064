"""An agent gets better by itself: its users say what was wrong, a learner beside it finds out what helps.

All settings are the defaults. A lesson is first replayed on others' recorded questions, with it and
without it; what helps there is shown to half of the conversations, by a coin, until outcomes show
it, too. The models follow a script, so that this runs in seconds. With real models: `python -m
examples.results --only traffic`, a hundred minutes.
"""

import asyncio
import json
import random

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from ted_memory import open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, asked_for_edits

# what nobody told the agent
DOCKS = {"tea": "dock 7", "rice": "dock 3", "silk": "dock 9", "salt": "dock 4"}


def student(messages: list[BaseMessage]) -> str:
    prompt = " ".join(str(m.text) for m in messages)
    dock = next(dock for goods, dock in DOCKS.items() if f"of {goods}?" in prompt)
    return dock if f"answer {dock}" in prompt else "dock 1"


def teacher(messages: list[BaseMessage]) -> str:
    if not asked_for_edits(messages):
        return "I am not sure."
    goods, dock = next(
        (goods, dock) for goods, dock in DOCKS.items() if f"of {goods}?" in messages[1].text
    )
    return json.dumps(
        {"reason": goods, "edits": [{"op": "add", "when": goods, "text": f"answer {dock}."}]}
    )


async def main() -> None:
    async with open_memory(namespace="depot") as memory:
        await memory.rollback(0)  # so that this example may be run again
        model = ScriptedChatModel(script=student)
        agent = create_agent(model, tools=[], middleware=[TedMemoryMiddleware(memory, record=True)])
        learner = Learner(memory, student=model, teacher=ScriptedChatModel(script=teacher))
        learning, right = asyncio.create_task(learner.run()), list[bool]()
        for i in range(300):
            goods, user = random.choice(list(DOCKS)), f"user-{random.randrange(12)}"
            asked = HumanMessage(f"Which dock takes a load of {goods}?")
            done = await agent.ainvoke(
                {"messages": [asked]}, config=RunnableConfig(configurable={"principal": user})
            )
            said = done["messages"][-1]
            right.append(said.text == DOCKS[goods])
            run_id = said.response_metadata["ted_memory"]["run_id"]
            await memory.give_feedback(
                run_id, score=float(right[-1]), correction=DOCKS[goods], principal=user
            )
            if i % 50 == 49:
                print(f"requests {i - 48:3} to {i + 1:3}: {sum(right[-50:]) / 50:.0%} right")
        learner.stop()
        await learning
        print(*learner.report.steps, await memory.render(), sep="\n")


asyncio.run(main())
