"""A depot whose docks nobody told the agent: scripts of a student, a teacher and users.

``python -m tests.chaos.live_world URL NAMESPACE REQUESTS SEED FILE`` is one agent under live
traffic; it writes one JSON line for each request. ``... learn URL NAMESPACE`` is a learner until it
is told to stop.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage

from ted_memory import TedMemory, open_memory
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.learner import Learner
from ted_memory.testing import ScriptedChatModel, asked_for_edits

DOCKS = {"tea": "dock 7", "rice": "dock 3", "silk": "dock 9", "salt": "dock 4"}


def goods_of(messages: Sequence[BaseMessage]) -> str:
    prompt = " ".join(str(m.text) for m in messages)
    return next(goods for goods in DOCKS if f"of {goods}?" in prompt)


def follows(messages: list[BaseMessage]) -> str:
    dock = DOCKS[goods_of(messages)]
    return dock if f"answer {dock}" in " ".join(str(m.text) for m in messages) else "dock 1"


def teaches(messages: list[BaseMessage]) -> str:
    if not asked_for_edits(messages):
        return "I am not sure."
    goods = goods_of(messages[1:2])
    edit = {"op": "add", "when": goods, "text": f"answer {DOCKS[goods]}."}
    return json.dumps({"reason": goods, "edits": [edit], "helped": [], "hurt": []})


def learner(memory: TedMemory) -> Learner:
    return Learner(
        memory, student=ScriptedChatModel(script=follows), teacher=ScriptedChatModel(script=teaches)
    )


async def serve(memory: TedMemory, requests: int, seed: int, path: Path) -> None:
    """Answer so many requests of a dozen users, who say what was wrong."""
    luck = random.Random(seed)
    agent: Any = create_agent(
        ScriptedChatModel(script=follows),
        tools=[],
        middleware=[TedMemoryMiddleware(memory, record=True)],
    )
    with path.open("w", encoding="utf-8") as out:
        for _ in range(requests):
            goods, user = luck.choice(list(DOCKS)), f"user-{luck.randrange(12)}"
            asked = {"messages": [("user", f"Which dock takes a load of {goods}?")]}
            said = (await agent.ainvoke(asked, config={"configurable": {"principal": user}}))[
                "messages"
            ][-1]
            right, told = said.text == DOCKS[goods], said.response_metadata["ted_memory"]
            fix = "" if right else DOCKS[goods]
            await memory.give_feedback(
                told["run_id"], score=float(right), correction=fix, principal=user
            )
            line = {
                "at": time.time(),
                "version": told["version"],
                "right": right,
                "block": await memory.render(),
            }
            out.write(json.dumps(line) + "\n")
            out.flush()
            await asyncio.sleep(0.02)


async def main(args: list[str]) -> None:
    if args[0] == "learn":
        async with open_memory(args[1], namespace=args[2]) as memory:
            worker = learner(memory)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
            await worker.run()
        return
    async with open_memory(args[0], namespace=args[1]) as memory:
        await serve(memory, int(args[2]), int(args[3]), Path(args[4]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
