"""ACE, agentic context engineering (Zhang et al. 2025, arXiv 2510.04618).

A reflector and a curator grow a playbook. For each sample in turn the student answers with the
whole playbook; a reflector looks at the attempt and the right answer, says what was missed, and
marks bullets that helped or harmed; a curator turns that into additions, which are appended, never
rewritten. Ours makes one pass, reflects only on attempts that were not right, drops repetitions by
their words, and cuts the playbook to its budget by helpful minus harmful marks, latest first.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from examples.rivals.replies import read_json
from ted_memory import Sample
from ted_memory.experience.rendering import count_tokens
from ted_memory.llm.messages import place_block, sample_messages
from ted_memory.llm.spend import Spend

BUDGET = 2000  # tokens of the playbook
REFLECTOR = (
    "You review a student's attempt at a task. You see the playbook that the student had read, "
    "the task, the attempt and the right answer. "
    'Answer with JSON: {"error": "what went wrong", '
    '"insight": "what the student should know or do next time, on other tasks of this kind", '
    '"helpful": [numbers of bullets that helped], "harmful": [numbers]}.'
)
CURATOR = (
    "You keep a playbook of short bullets that a student reads before each task. "
    "You see the playbook and a reflection on one attempt. "
    "Add what is missing, and nothing that is there. "
    'Answer with JSON: {"operations": [{"op": "ADD", '
    '"section": "strategies" or "facts" or "mistakes", "content": "one bullet"}]}; '
    "an empty list is a good answer."
)


@dataclass
class Bullet:
    """One entry of the playbook, and the reflector's marks."""

    section: str
    content: str
    helpful: int = 0
    harmful: int = 0


@dataclass
class Ace:
    """``score(sample, text)`` is in [0, 1]; an attempt with 1 is not reflected on."""

    student: Runnable[Any, Any]
    teacher: Runnable[Any, Any]
    score: Callable[[Sample, str], float]
    playbook: list[Bullet] = field(default_factory=list)
    spend: Spend = field(default_factory=Spend)
    lost: int = 0
    """Answers that were no usable JSON."""

    @property
    def lessons(self) -> list[str]:
        """What the playbook says."""
        return [bullet.content for bullet in self.playbook]

    async def run(self, samples: Sequence[Sample]) -> None:
        """Learn from the samples, one after the other."""
        for sample in samples:
            messages = place_block(
                sample_messages(sample), render_playbook(self.playbook), "system"
            )
            attempt = await self._ask("student", *messages)
            if self.score(sample, attempt) < 1:
                await self._learn(sample, attempt)

    async def _learn(self, sample: Sample, attempt: str) -> None:
        known = f"Playbook:\n{self._numbered()}"
        seen = (
            f"{known}\n\nTask: {sample.text}\n\nAttempt: {attempt}\n\n"
            f"Right answer: {sample.reference}"
        )
        reflection = read_json(
            await self._ask("teacher", SystemMessage(REFLECTOR), HumanMessage(seen))
        )
        if not isinstance(reflection, dict) or not isinstance(reflection.get("insight"), str):
            self.lost += 1
            return
        self._mark(reflection)
        told = f"{known}\n\nTask: {sample.text}\n\nReflection: {reflection['insight']}"
        curated = read_json(await self._ask("teacher", SystemMessage(CURATOR), HumanMessage(told)))
        operations = curated.get("operations") if isinstance(curated, dict) else curated
        if not isinstance(operations, list):
            self.lost += 1
            return
        for operation in operations:
            self._add(operation)
        self._cut()

    def _mark(self, reflection: dict[str, Any]) -> None:
        for field_name, change in (("helpful", 1), ("harmful", -1)):
            numbers = reflection.get(field_name)
            for number in numbers if isinstance(numbers, list) else []:
                if isinstance(number, int) and 0 <= number < len(self.playbook):
                    bullet = self.playbook[number]
                    bullet.helpful += change > 0
                    bullet.harmful += change < 0

    def _add(self, operation: Any) -> None:
        content = operation.get("content") if isinstance(operation, dict) else None
        if not isinstance(content, str) or not content.strip():
            return
        content = " ".join(content.split())
        known = {_words(bullet.content) for bullet in self.playbook}
        if _words(content) not in known:
            self.playbook.append(Bullet(str(operation.get("section") or "strategies"), content))

    def _cut(self) -> None:
        while count_tokens(render_playbook(self.playbook)) > BUDGET:
            latest_first = reversed(range(len(self.playbook)))
            worst = min(
                latest_first, key=lambda i: self.playbook[i].helpful - self.playbook[i].harmful
            )
            del self.playbook[worst]

    def _numbered(self) -> str:
        return (
            "\n".join(f"[{i}] {bullet.content}" for i, bullet in enumerate(self.playbook))
            or "(empty)"
        )

    async def _ask(self, role: str, *messages: BaseMessage) -> str:
        model = self.student if role == "student" else self.teacher
        answer = await model.ainvoke(list(messages))
        self.spend = self.spend + Spend.of(role, messages, answer)
        return str(answer.text)


def render_playbook(playbook: Sequence[Bullet]) -> str:
    """The playbook as a prompt shows it, by section; nothing where it is empty."""
    sections: dict[str, list[str]] = {}
    for bullet in playbook:
        sections.setdefault(bullet.section, []).append(f"- {bullet.content}")
    parts = [f"## {section}\n" + "\n".join(bullets) for section, bullets in sections.items()]
    return "\n\n".join(["# Playbook", *parts]) if parts else ""


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
