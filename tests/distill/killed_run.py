"""A process that is killed: runs a data set, and writes down every call before it is answered."""

import asyncio
import sys
from pathlib import Path

from langchain_core.messages import BaseMessage

from ted_memory import open_memory
from ted_memory.distill import distill
from ted_memory.testing import Script
from tests.distill.scripts import SlowChatModel, follows, prompt_of, role, samples, teacher


def noted(journal: Path, name: str, script: Script) -> SlowChatModel:
    def answer(messages: list[BaseMessage]) -> str:
        asked = prompt_of(messages[1:] if role(messages) != "teacher" else messages[-1:])
        id = next(s.id for s in samples() if s.text in asked)
        with journal.open("a", encoding="utf-8") as file:
            file.write(f"{role(messages) if name == 'teacher' else name} {id}\n")
        return script(messages)

    return SlowChatModel(script=answer, name_told=name, pause=lambda _: 0.005)


async def main(url: str, namespace: str, journal: Path) -> None:
    async with open_memory(url, namespace=namespace, concurrency=2) as memory:
        report = await distill(
            samples(),
            student=noted(journal, "student", follows),
            teacher=noted(journal, "teacher", teacher().script),
            memory=memory,
        )
        print(report.model_dump_json())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
