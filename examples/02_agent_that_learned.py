"""Learn from a few samples with reference answers, then give the lessons to an agent: two lines for each.

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
    prompt, asked = " ".join(str(m.content) for m in messages), str(messages[-1].content)
    return next(
        (city for land, city in CAPITALS.items() if land in asked and f"say {city}" in prompt),
        "I don't know",
    )


def teacher(messages: list[BaseMessage]) -> str:
    """Know all capitals; as critic, write the lesson in the JSON that is asked for."""
    land, city = next(
        (land, city) for land, city in CAPITALS.items() if f"of {land}?" in str(messages[1].content)
    )
    edit = {
        "op": "add",
        "ids": [],
        "when": f"asked for the capital of {land}",
        "text": f"say {city}",
    }
    lesson = {"reason": f"It did not know {city}.", "edits": [edit], "helped": [], "hurt": []}
    return json.dumps(lesson) if asked_for_edits(messages) else city


async def main() -> None:
    samples = [
        Sample(
            id=f"{land}-{i}", input=f"{ask} the capital of {land}?", reference=city, category=land
        )
        for land, city in CAPITALS.items()
        for i, ask in enumerate(("What is", "Please tell me:", "Do you know"))
    ]
    pupil, master = ScriptedChatModel(script=student), ScriptedChatModel(script=teacher)
    async with open_memory(namespace="capitals") as memory:
        report = await distill(samples, student=pupil, teacher=master, memory=memory)
        print(f"{report.learned} lessons; {report.gate}")
        agent = create_agent(pupil, [], middleware=[TedMemoryMiddleware(memory)])
        answer = await agent.ainvoke({"messages": [HumanMessage("Quick: the capital of Ostland?")]})
        print(answer["messages"][-1].content)


asyncio.run(main())
