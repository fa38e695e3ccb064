"""A teacher that is a rule book: it looks tickets up in the made-up company's handbook.

It sees only what any teacher sees, the messages, and answers in the same JSON that a real critic
must give. It makes tests repeatable and shows the ceiling: how much the student gains from lessons
that are simply right.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from ted_memory.distill.profiles import PROFILES
from ted_memory.llm.prompts import Prompt
from ted_memory.retrieval.selection import match

HANDBOOK = Path(__file__).parent / "data" / "helpdesk" / "handbook.md"
_ROW = re.compile(r"^\| (?P<name>\w+) \| (?P<ticket>[^|]+) \| (?P<team>[^|]+) \|$", re.MULTILINE)
_TICKET = re.compile(r"Ticket: (.*?)\n\n", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """One row of the handbook."""

    name: str
    ticket: str
    team: str


def read_handbook(path: Path = HANDBOOK) -> tuple[Rule, ...]:
    """The rules of the handbook's table."""
    rows = [row.groupdict() for row in _ROW.finditer(path.read_text(encoding="utf-8"))]
    return tuple(
        Rule(row["name"], row["ticket"], row["team"]) for row in rows if row["name"] != "rule"
    )


class RulebookTeacher(BaseChatModel):
    """Solves by the handbook, and as critic names the rule that wrong attempts missed.

    As compactor it changes nothing.
    """

    rules: tuple[Rule, ...]
    model_name: str = "rulebook"

    @property
    def _llm_type(self) -> str:
        return "rulebook"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(content=self._answer(messages)))]
        )

    def _answer(self, messages: list[BaseMessage]) -> str:
        role = str(messages[0].content)
        if role.startswith(
            tuple(profile.prompts["compactor"].fixed for profile in PROFILES.values())
        ):
            return json.dumps(
                {"reason": "Every rule of the handbook stands for itself.", "edits": []}
            )
        for profile in PROFILES.values():
            if role.startswith(profile.prompts["critic"].fixed):
                tries = sum(isinstance(message, AIMessage) for message in messages)
                return self._criticise(
                    _read_back(profile.prompts["critic"], str(messages[1].content)), tries
                )
        return self._candidates(str(messages[-1].content), self.rules)[0].team

    def _criticise(self, fields: Mapping[str, str], tries: int) -> str:
        rules = [rule for rule in self.rules if rule.team == fields["reference"]]
        if not rules:
            return json.dumps(
                {"reason": "The handbook has no such team.", "edits": [], "helped": [], "hurt": []}
            )
        candidates = self._candidates(fields["task"], rules)
        # asked again: the first one did not help, so the other one
        rule = candidates[tries % len(candidates)]
        when = rule.ticket[0].lower() + rule.ticket[1:].rstrip(".")
        edit = {"op": "add", "ids": [], "when": when, "text": f"answer {rule.team}."}
        reason = f"The attempts missed the rule '{rule.name}'."
        return json.dumps({"reason": reason, "edits": [edit], "helped": [], "hurt": []})

    @staticmethod
    def _candidates(task: str, rules: list[Rule] | tuple[Rule, ...]) -> list[Rule]:
        found = _TICKET.search(task)
        scores = match([rule.ticket for rule in rules], found.group(1) if found else task)
        return [rules[i] for i in sorted(range(len(rules)), key=lambda i: -scores[i])]


def _read_back(prompt: Prompt, filled: str) -> dict[str, str]:
    """What a prompt's placeholders were filled with."""
    pattern = re.sub(r"\\\{([a-z]+)\\\}", r"(?P<\1>.*?)", re.escape(prompt.variable))
    found = re.fullmatch(pattern, filled, re.DOTALL)
    return found.groupdict() if found else {"task": filled, "reference": ""}
