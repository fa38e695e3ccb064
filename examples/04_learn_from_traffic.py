"""An agent gets better by what its users say: a learner beside it finds out what helps.

All settings are the defaults. A lesson is first replayed on others' recorded questions, with it and
without it; what helps there is shown to half of the conversations, by a coin, until outcomes show
it, too. The models follow a script. With real ones: `python -m examples.results --only traffic`.
"""

import asyncio
import json
import random

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.integrations.run_ids import find_run_id
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, asked_for_edits

DOCKS = {"tea": "dock 7", "rice": "dock 3", "silk": "dock 9", "salt": "dock 4"}  # told to nobody


def student(messages: list[BaseMessage]) -> str:
    prompt = " ".join(str(m.text) for m in messages)
    dock = next(dock for goods, dock in DOCKS.items() if f"of {goods}?" in prompt)
    return dock if f"answer {dock}" in prompt else "dock 1"


def teacher(messages: list[BaseMessage]) -> str:
    if not asked_for_edits(messages):
        return "I am not sure."
    goods = next(goods for goods in DOCKS if f"of {goods}?" in messages[1].text)
    edit = {"op": "add", "when": goods, "text": f"answer {DOCKS[goods]}."}
    return json.dumps({"reason": goods, "edits": [edit]})


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
            done = await agent.ainvoke({"messages": [asked]}, {"configurable": {"principal": user}})
            right.append(done["messages"][-1].text == DOCKS[goods])
            run_id, score = find_run_id(done) or "", float(right[-1])
            await memory.give_feedback(run_id, score=score, correction=DOCKS[goods], principal=user)
            if i % 50 == 49:
                print(f"requests {i - 48:3} to {i + 1:3}: {sum(right[-50:]) / 50:.0%} right")
        learner.stop()
        await learning
        print(*learner.report.steps, await memory.render(), sep="\n")


asyncio.run(main())
