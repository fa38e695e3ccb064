"""Learn from a few samples with reference answers, then give the lessons to an agent.

Student and teacher are scripted here so that it runs anywhere; put your own models in their place.
"""

import asyncio
import json

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage

from ted_memory import Sample, open_memory
from ted_memory.distill import distill
from ted_memory.integrations.middleware import TedMemoryMiddleware
from ted_memory.testing import ScriptedChatModel, asked_for_edits

CAPITALS = {"Norland": "Fjordby", "Sudland": "Palmas", "Westland": "Grovetown", "Ostland": "Ambra"}


def student(messages: list[BaseMessage]) -> str:
    """Know no capitals, but follow lessons."""
    prompt = " ".join(message.text for message in messages)
    for land, city in CAPITALS.items():
        if land in messages[-1].text and f"say {city}" in prompt:
            return city
    return "I don't know"


def teacher(messages: list[BaseMessage]) -> str:
    """Know all capitals; as critic, write the lesson in the JSON that is asked for."""
    land = next(land for land in CAPITALS if f"of {land}?" in messages[1].text)
    if not asked_for_edits(messages):
        return CAPITALS[land]
    when, text = f"asked for the capital of {land}", f"say {CAPITALS[land]}"
    edit = {"op": "add", "ids": [], "when": when, "text": text}
    reason = f"It did not know the capital of {land}."
    return json.dumps({"reason": reason, "edits": [edit], "helped": [], "hurt": []})


async def main() -> None:
    samples = []
    for land, city in CAPITALS.items():
        for ask in ("What is", "Please tell me:", "Do you know"):
            question = f"{ask} the capital of {land}?"
            samples.append(Sample(id=question, input=question, reference=city, category=land))
    pupil, master = ScriptedChatModel(script=student), ScriptedChatModel(script=teacher)
    async with open_memory(namespace="capitals") as memory:
        report = await distill(samples, student=pupil, teacher=master, memory=memory)
        print(f"{report.learned} lessons; {report.gate}")
        agent = create_agent(pupil, [], middleware=[TedMemoryMiddleware(memory)])
        answer = await agent.ainvoke({"messages": [HumanMessage("Quick: the capital of Ostland?")]})
        print(answer["messages"][-1].content)


asyncio.run(main())
