"""An agent gets better by itself: its users say what was wrong, a learner beside it finds out what helps.

Trust is ``evidence``: two users must stand behind a lesson, then attempts that no user sees, then half of the requests
(`canary_share`; 0.05 is the default where many users ask), and 20 outcomes with it and without it decide (default 200:
what is bad gets through less often). The models follow a script, so that this runs anywhere in seconds.
"""

import asyncio
import json
import random

from langchain.agents import create_agent

from ted_memory import open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, asked_for_edits

DOCKS = {"tea": "dock 7", "rice": "dock 3", "silk": "dock 9", "salt": "dock 4"}  # what nobody told the agent


def student(messages) -> str:
    """Follow a lesson about these goods; without one say the first dock that comes to mind."""
    prompt = " ".join(str(m.text) for m in messages)
    dock = next(dock for goods, dock in DOCKS.items() if f"of {goods}?" in prompt)
    return dock if f"answer {dock}" in prompt else "dock 1"


def teacher(messages) -> str:
    if not asked_for_edits(messages):
        return "I am not sure."
    goods, dock = next((goods, dock) for goods, dock in DOCKS.items() if f"of {goods}?" in messages[1].text)
    lesson = {"op": "add", "when": goods, "text": f"answer {dock}."}
    return json.dumps({"reason": goods, "edits": [lesson], "helped": [], "hurt": []})


async def main() -> None:
    settings = {"canary_share": 0.5, "trial_outcomes": 20, "rollouts": 4}
    async with open_memory(namespace="depot", **settings) as memory:
        await memory.rollback(0)  # so that this example may be run again
        model = ScriptedChatModel(script=student)
        agent = create_agent(model, tools=[], middleware=[TedMemoryMiddleware(memory, learn=True)])
        learner = Learner(memory, student=model, teacher=ScriptedChatModel(script=teacher))
        learning, right = asyncio.create_task(learner.run()), []
        for i in range(600):
            goods, user = random.choice(list(DOCKS)), f"user-{random.randrange(12)}"
            asked = {"messages": [("user", f"Which dock takes a load of {goods}?")]}
            said = (await agent.ainvoke(asked, config={"configurable": {"principal": user}}))["messages"][-1]
            right.append(said.text == DOCKS[goods])
            run_id = said.response_metadata["ted_memory"]["run_id"]
            fix = "" if right[-1] else DOCKS[goods]
            await memory.give_feedback(run_id, score=float(right[-1]), correction=fix, principal=user)
            if len(right) % 50 == 0:
                print(f"requests {i - 48:3} to {i + 1:3}: {sum(right[-50:]) / 50:.0%} right")
        learner.stop()
        await learning
        print(*learner.report.steps, await memory.render(), sep="\n")


asyncio.run(main())
